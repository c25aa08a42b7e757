//! Tasks run for the driver, and shards read by driver and workers.

use std::future::Future;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{Action, Criteria, Empty, Ticket};
use bigslice_cluster::{Connector, Machine, State};
use bigslice_flight::{Block, Channels, Error, exchange_error, is_transport_error, lost_machine};
use bytes::Bytes;
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use futures::StreamExt;
use tonic::Code;
use url::Url;

use crate::harness::{Cluster, DEADLINE, Data, wait_for};
use crate::host::{MESSAGE_BYTES_MAX, app_error, block};

/// The machines of `cluster` and where they are, in the same order.
fn machines(cluster: &Cluster) -> Vec<(Machine, Url)> {
    let urls = cluster.fleet.urls();
    let find = |machine: Machine| {
        let named = |url: &&Url| Connector::machine_of(url).as_ref() == Some(machine.name());
        let url = urls.iter().find(named).expect("a machine that runs has an address").clone();
        (machine, url)
    };
    cluster.fleet.machines().into_iter().map(find).collect()
}

async fn start(n: usize) -> (Cluster, Channels, Url) {
    let cluster = Cluster::start(n, Data::small()).await;
    let channels = Channels::new(cluster.fleet.connector());
    let url = cluster.fleet.urls().remove(0);
    (cluster, channels, url)
}

async fn in_time<T>(call: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, call).await.expect("it hangs")
}

async fn run(channels: &Channels, url: &Url, request: &str) -> Result<Bytes> {
    in_time(channels.run_task(url, Bytes::from(request.to_owned()))).await
}

/// The blocks of a shard and the error after them, if there is one.
async fn read(
    channels: &Channels,
    url: &Url,
    ticket: &str,
) -> (Vec<Block>, Option<DataFusionError>) {
    in_time(async {
        let mut blocks = Vec::new();
        let mut stream = match channels.read_shard(url, Bytes::from(ticket.to_owned())).await {
            Ok(stream) => stream,
            Err(err) => return (blocks, Some(err)),
        };
        while let Some(block) = stream.next().await {
            match block {
                Ok(block) => blocks.push(block),
                Err(err) => {
                    assert!(stream.next().await.is_none(), "more after {err}");
                    return (blocks, Some(err));
                }
            }
        }
        (blocks, None)
    })
    .await
}

fn is_app(err: &DataFusionError) -> bool {
    exchange_error(err) == Some(&app_error()) && !is_transport_error(err)
}

fn is_panic(err: &DataFusionError, words: &str) -> bool {
    matches!(exchange_error(err), Some(Error::Panic { text }) if text.contains(words))
}

fn is_too_large(err: &DataFusionError) -> bool {
    matches!(exchange_error(err), Some(Error::TooLarge { .. }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_runs_on_the_cpu_runtime_and_its_reply_comes_back() {
    let (cluster, channels, url) = start(2).await;
    for text in ["", "hello", &"long ".repeat(2_000_000)] {
        let reply = run(&channels, &url, &format!("echo {text}")).await.expect("an echo");
        assert!(reply == text, "{} bytes of {}", reply.len(), text.len());
    }
    let place = run(&channels, &url, "where").await.expect("a runtime");
    assert_eq!(place, cluster.cpu_id().to_string());

    // As many as fit; one more is refused, on either side.
    let mut request = vec![b'x'; MESSAGE_BYTES_MAX];
    request[..5].copy_from_slice(b"echo ");
    let reply = in_time(channels.run_task(&url, request.into())).await.expect("it fits");
    assert_eq!(reply.len(), MESSAGE_BYTES_MAX - 5);
    let reply = run(&channels, &url, &format!("reply {MESSAGE_BYTES_MAX}")).await.expect("it fits");
    assert_eq!(reply.len(), MESSAGE_BYTES_MAX);
    let err = run(&channels, &url, &format!("reply {}", MESSAGE_BYTES_MAX + 1)).await;
    assert!(is_too_large(&err.expect_err("too long")));
    let request = Bytes::from(vec![b'x'; MESSAGE_BYTES_MAX + 1]);
    assert!(is_too_large(&channels.run_task(&url, request).await.expect_err("too long")));

    let request = Bytes::from_static(b"shards 1, 2 and 3");
    channels.discard_shards(&url, request.clone()).await.expect("they are forgotten");
    assert_eq!(*cluster.probe.asked.discarded.lock(), [request]);
    cluster.fleet.shutdown().await;
}

/// Longer than the keep-alive takes to find that a connection is dead.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_may_be_silent_for_long() {
    let (cluster, channels, url) = start(1).await;
    run(&channels, &url, "sleep 12").await.expect("it only takes its time");
    cluster.fleet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_a_host_keep_their_type_and_the_worker_lives() {
    let (cluster, channels, url) = start(2).await;
    let err = run(&channels, &url, "app").await.expect_err("a user's error");
    assert!(is_app(&err) && err.to_string().starts_with("task 3"), "{err}");
    let err = run(&channels, &url, "resources").await.expect_err("no memory");
    let root = err.find_root();
    assert!(
        matches!(root, DataFusionError::ResourcesExhausted(text) if text == "no memory"),
        "{err:?}"
    );
    let err = run(&channels, &url, "nonsense").await.expect_err("no such task");
    assert!(matches!(err.find_root(), DataFusionError::Plan(_)), "{err:?}");
    let err = run(&channels, &url, "panic 7777").await.expect_err("a panic");
    assert!(is_panic(&err, "the host met 7777"), "{err:?}");
    let err = channels.discard_shards(&url, Bytes::from_static(b"app")).await.expect_err("told to");
    assert!(is_app(&err), "{err:?}");

    let (_, err) = read(&channels, &url, "no shard").await;
    assert!(err.expect("no such shard").to_string().contains("no such shard: no"));
    let (_, err) = read(&channels, &url, "panic").await;
    assert!(is_panic(&err.expect("a panic"), "the host met a ticket"));
    let (blocks, err) = read(&channels, &url, "fails 3").await;
    assert_eq!(blocks, [block(0, 10), block(1, 10), block(2, 10)]);
    assert!(is_app(&err.expect("a short shard is an error")));
    let (blocks, err) = read(&channels, &url, "panics 2").await;
    assert_eq!(blocks, [block(0, 10), block(1, 10)]);
    assert!(is_panic(&err.expect("a short shard is an error"), "the shard met its end"));

    // The error of a machine that another one read from.
    let other = &cluster.fleet.urls()[1];
    let err = run(&channels, &url, &format!("relay {other} fails 3")).await.expect_err("told to");
    assert!(is_app(&err), "{err:?}");
    assert_eq!(run(&channels, &url, "echo alive").await.expect("an echo"), "alive");
    assert!(cluster.fleet.verify().await.is_empty());
    cluster.fleet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_of_any_size_arrive_whole() {
    let (cluster, channels, url) = start(2).await;
    let chunk = 4 << 20;
    let shards = [vec![], vec![0], vec![1, 0, chunk, chunk + 1, 7, 5 * chunk, 3], vec![10; 200]];
    for sizes in shards {
        let ticket = sizes.iter().fold("blocks".to_owned(), |text, size| format!("{text} {size}"));
        let (blocks, err) = read(&channels, &url, &ticket).await;
        assert!(err.is_none(), "{err:?}");
        let expected: Vec<Block> =
            sizes.iter().enumerate().map(|(n, size)| block(n, *size)).collect();
        assert_eq!(blocks.len(), sizes.len());
        assert!(blocks == expected, "{blocks:?}");
    }
    let other = &cluster.fleet.urls()[1];
    let n = run(&channels, &url, &format!("relay {other} blocks 1000 20000000 1")).await;
    assert_eq!(n.expect("a machine may read another's shard"), "20001001");
    cluster.fleet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_caller_drops_is_dropped_on_the_machine() {
    let (cluster, channels, url) = start(1).await;
    let asked = &cluster.probe.asked;
    let open = || asked.open.load(Ordering::SeqCst);
    for _ in 0..3 {
        let waiting = channels.run_task(&url, Bytes::from_static(b"wait"));
        tokio::select! {
            reply = waiting => panic!("{reply:?}"),
            () = wait_for("the task runs", || open() == 1) => {}
        }
        let dropped = Instant::now();
        wait_for("the task is dropped", || open() == 0).await;
        assert!(dropped.elapsed() < Duration::from_secs(1), "{:?}", dropped.elapsed());
    }

    let mut stream =
        channels.read_shard(&url, Bytes::from_static(b"endless 1000000")).await.expect("a stream");
    stream.next().await.expect("a block").expect("no error");
    let mut made = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = asked.blocks.load(Ordering::SeqCst);
        assert!(now < 64, "the host makes blocks that nobody reads");
        if now == made {
            break;
        }
        made = now;
    }
    assert_eq!(open(), 1);
    drop(stream);
    let dropped = Instant::now();
    wait_for("the read is dropped", || open() == 0).await;
    assert!(dropped.elapsed() < Duration::from_secs(1), "{:?}", dropped.elapsed());
    assert_eq!(run(&channels, &url, "echo alive").await.expect("an echo"), "alive");
    cluster.fleet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_killed_in_mid_call_is_a_loss_with_its_name() {
    let (cluster, channels, _) = start(3).await;
    let asked = &cluster.probe.asked;
    // The request to the first machine, while the second one or the first itself is killed.
    for (call, of) in [("run", 0), ("read", 0), ("relay", 1)] {
        cluster.fleet.wait_for(3, DEADLINE).await.expect("a replacement starts");
        let machines = machines(&cluster);
        let (victim, url) = (&machines[of].0, &machines[0].1);
        let lost = async {
            match call {
                "run" => run(&channels, url, "wait").await.expect_err("the machine is gone"),
                "read" => {
                    in_time(async {
                        let ticket = Bytes::from_static(b"endless 100000");
                        let mut stream = channels.read_shard(url, ticket).await.expect("a stream");
                        loop {
                            match stream.next().await.expect("a short shard is an error") {
                                Ok(_) => {}
                                Err(err) => break err,
                            }
                        }
                    })
                    .await
                }
                _ => {
                    let task = format!("relay {} endless 100000", machines[1].1);
                    run(&channels, url, &task).await.expect_err("the machine is gone")
                }
            }
        };
        let killed = async {
            let open = || asked.open.load(Ordering::SeqCst) > 0;
            wait_for("it runs", open).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            victim.kill();
            Instant::now()
        };
        let (err, at) = tokio::join!(lost, killed);
        assert!(at.elapsed() < Duration::from_secs(5), "{call}: {:?}", at.elapsed());
        assert!(is_transport_error(&err), "{call}: {err:?}");
        assert_eq!(lost_machine(&err), Some(victim.name().as_str()), "{call}: {err:?}");
        // And what it ran has ended with it.
        wait_for("it is dropped", || asked.open.load(Ordering::SeqCst) == 0).await;
        // It does not answer from now on either.
        let again = run(&channels, &machines[of].1, "echo").await.expect_err("no such machine");
        assert!(is_transport_error(&again), "{call}: {again:?}");
        victim.wait(State::Stopped).await;
    }
    cluster.fleet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_come_from_the_driver_only_and_shards_go_to_the_session() {
    let (cluster, driver, url) = start(2).await;
    let other = Cluster::start(1, Data::small()).await;
    let stranger = Channels::new(other.fleet.connector());
    let connectors = cluster.worker_connectors.lock().clone();
    for connector in connectors {
        // Each worker, the one that is asked included.
        let worker = Channels::new(connector);
        for err in [
            run(&worker, &url, "echo").await.expect_err("a worker runs nothing"),
            worker.discard_shards(&url, Bytes::new()).await.expect_err("a worker discards nothing"),
        ] {
            assert!(matches!(exchange_error(&err), Some(Error::Refused { .. })), "{err:?}");
            assert!(err.to_string().contains("a worker may not call"), "{err}");
        }
        let (blocks, err) = read(&worker, &url, "blocks 5").await;
        assert!(err.is_none() && blocks == [block(0, 5)], "{err:?}");
    }
    assert_eq!(run(&driver, &url, "echo I may").await.expect("an echo"), "I may");
    // The other session has another authority: no connection comes about.
    for err in [
        run(&stranger, &url, "echo").await.expect_err("a stranger"),
        stranger.discard_shards(&url, Bytes::new()).await.expect_err("a stranger"),
        read(&stranger, &url, "blocks 5").await.1.expect("a stranger"),
    ] {
        assert!(matches!(exchange_error(&err), Some(Error::Lost { .. })), "{err:?}");
    }
    assert!(cluster.probe.asked.discarded.lock().is_empty());
    cluster.fleet.shutdown().await;
    other.fleet.shutdown().await;
}

/// Sent without our client, which would not send them.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_machine_does_not_serve_is_refused_with_a_reason() {
    let (cluster, channels, url) = start(1).await;
    let err = channels.read_shard(&url, vec![b'x'; 1025].into()).await.map(drop);
    assert!(is_too_large(&err.expect_err("too long")));

    let channel = cluster.fleet.connector().connect(&url).await.expect("a connection");
    let mut client = FlightServiceClient::new(channel);
    for n_bytes in [1025, 1 << 20] {
        let ticket = Ticket { ticket: vec![b'x'; n_bytes].into() };
        let status = client.do_get(ticket).await.map(drop).expect_err("too long");
        assert!(matches!(status.code(), Code::Internal | Code::OutOfRange), "{status:?}");
    }
    assert_eq!(cluster.probe.asked.reads.load(Ordering::SeqCst), 0);
    let ticket = format!("blocks {}", " ".repeat(1017));
    let err = client.do_get(Ticket { ticket: ticket.into() }).await.map(drop);
    assert_eq!(cluster.probe.asked.reads.load(Ordering::SeqCst), 1, "1 KiB is allowed: {err:?}");

    let action = Action { r#type: "stop".to_owned(), body: Bytes::new() };
    for (status, words) in [
        (client.do_action(action).await.map(drop), "no action \"stop\""),
        (client.list_actions(Empty {}).await.map(drop), "not ListActions"),
        (client.list_flights(Criteria::default()).await.map(drop), "not ListFlights"),
        (client.do_put(futures::stream::empty()).await.map(drop), "not DoPut"),
    ] {
        let status = status.expect_err("not served");
        assert_eq!(status.code(), Code::Unimplemented, "{status:?}");
        assert!(status.message().contains(words), "{status:?}");
    }
    cluster.fleet.shutdown().await;
}
