//! Authorisation on a worker's port.

use std::sync::Arc;

use bigslice_cluster::{Authority, Connector, Credentials, Peer, SessionId, Validity};
use bigslice_flight::{
    Channels, Error, TaskHost, WorkerService, exchange_error, is_transport_error, worker_routes,
};
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::prelude::SessionContext;
use datafusion_distributed::{
    ChannelResolver, DefaultSessionBuilder, DistributedConfig, DistributedExt, ExecuteTaskRequest,
    GetWorkerInfoRequest, MaybeEncoded, ProducerHead, SetPlanRequest, TaskKey,
};
use futures::StreamExt;
use http::HeaderMap;
use tonic::body::Body;
use tonic::service::Routes;
use tower::ServiceExt;
use url::Url;
use uuid::Uuid;

use crate::harness::{Cluster, DEADLINE, Data};
use crate::host::Host;

fn task() -> TaskKey {
    TaskKey { query_id: Uuid::from_u128(7), stage_id: 1, task_number: 0 }
}

fn context() -> Arc<TaskContext> {
    let config = datafusion::prelude::SessionConfig::new()
        .with_distributed_option_extension(DistributedConfig::default());
    SessionContext::new_with_config(config).task_ctx()
}

async fn send_plan(connector: &Connector, url: &Url) -> Result<(), DataFusionError> {
    let mut client = Channels::new(connector.clone()).get_worker_client_for_url(url).await?;
    let request = SetPlanRequest {
        task_key: task(),
        task_count: 1,
        plan: MaybeEncoded::Encoded(vec![1, 2, 3]),
        work_unit_feed_declarations: vec![],
        target_worker_url: url.clone(),
        query_start_time_ns: 0,
    };
    let messages = futures::stream::pending().boxed();
    let metrics = ExecutionPlanMetricsSet::new();
    let _replies = client
        .coordinator_channel(HeaderMap::new(), request, messages, metrics, &context())
        .await?;
    Ok(())
}

async fn info(connector: &Connector, url: &Url) -> Result<String, DataFusionError> {
    let mut client = Channels::new(connector.clone()).get_worker_client_for_url(url).await?;
    Ok(client.get_worker_info(GetWorkerInfoRequest {}).await?.version)
}

async fn read(connector: &Connector, url: &Url) -> Result<(), DataFusionError> {
    let mut client = Channels::new(connector.clone()).get_worker_client_for_url(url).await?;
    let request = ExecuteTaskRequest {
        task_key: TaskKey { task_number: 99, ..task() },
        target_partition_start: 0,
        target_partition_end: 1,
        producer_head: ProducerHead::None,
    };
    let metrics = ExecutionPlanMetricsSet::new();
    let streams = client.execute_task(HeaderMap::new(), request, metrics, &context()).await?;
    for mut stream in streams {
        while let Some(batch) = stream.next().await {
            batch?;
        }
    }
    Ok(())
}

fn refused(err: &DataFusionError) -> bool {
    matches!(exchange_error(err), Some(Error::Refused { .. }))
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_come_from_the_driver_only() {
    let cluster = Cluster::start(2, Data::small()).await;
    let other = Cluster::start(1, Data::small()).await;
    let url = cluster.fleet.urls().remove(0);
    let driver = cluster.fleet.connector();
    let worker = cluster.worker_connectors.lock()[1].clone();
    let stranger = other.fleet.connector();

    assert_eq!(info(&driver, &url).await.expect("the driver may ask"), "test");
    // The plan is not valid, so the driver gets an error too: that of decoding it.
    let err = send_plan(&driver, &url).await.expect_err("no plan");
    assert!(!refused(&err) && !is_transport_error(&err), "{err}");

    for err in [
        send_plan(&worker, &url).await.expect_err("a worker sends no plans"),
        info(&worker, &url).await.expect_err("a worker asks nothing"),
    ] {
        assert!(refused(&err), "{err}");
        assert!(err.to_string().contains("a worker may not call"), "{err}");
    }
    // The other session has another authority: no connection comes about.
    for err in [
        send_plan(&stranger, &url).await.expect_err("a stranger"),
        info(&stranger, &url).await.map(drop).expect_err("a stranger"),
        read(&stranger, &url).await.expect_err("a stranger"),
    ] {
        assert!(matches!(exchange_error(&err), Some(Error::Lost { .. })), "{err}");
    }
    // A worker may read. The plan of this task was not sent: the worker waits in vain.
    let err = read(&worker, &url).await.expect_err("there is no such task");
    assert!(matches!(exchange_error(&err), Some(Error::PlanLate { .. })), "{err}");
    assert!(is_transport_error(&err), "{err}");
    cluster.fleet.shutdown().await;
    other.fleet.shutdown().await;
}

/// The routes of a worker's port without the connection that identifies the caller.
fn routes(tasks: Option<Arc<dyn TaskHost>>) -> Routes {
    worker_routes(WorkerService {
        session_builder: Arc::new(DefaultSessionBuilder),
        runtime: Arc::new(RuntimeEnv::default()),
        over_memory: None,
        cpu: tokio::runtime::Handle::current(),
        version: String::new(),
        tasks,
    })
}

/// The gRPC code of the answer to an empty call of `path` by `peer`.
async fn code(routes: &Routes, peer: Option<&Peer>, path: &str) -> String {
    let mut request = http::Request::post(path)
        .header("content-type", "application/grpc")
        .body(Body::empty())
        .expect("a valid request");
    if let Some(peer) = peer {
        request.extensions_mut().insert(peer.clone());
    }
    let response = routes.clone().prepare().oneshot(request).await.expect("infallible");
    let code = response.headers().get("grpc-status").expect("a status");
    code.to_str().expect("a number").to_owned()
}

fn peers() -> (Peer, Peer) {
    let driver = Peer::driver(SessionId::random());
    let worker = Peer::worker(driver.session.clone(), "m0".parse().expect("a name"));
    (driver, worker)
}

// gRPC codes: 0 ok, 7 permission denied, 12 unimplemented, 13 internal, 16 unauthenticated.

#[tokio::test(flavor = "multi_thread")]
async fn calls_without_an_identity_or_to_unknown_methods_are_refused() {
    let routes = routes(None);
    let (driver, worker) = peers();
    let cases = [
        (None, "/worker.WorkerService/GetWorkerInfo", "16"),
        (None, "/worker.WorkerService/CoordinatorChannel", "16"),
        (None, "/worker.WorkerService/ExecuteTask", "16"),
        (Some(&driver), "/worker.WorkerService/Shutdown", "7"),
        (Some(&driver), "/worker.WorkerService/ExecuteTask/", "7"),
        (Some(&worker), "/worker.WorkerService/GetWorkerInfo", "7"),
        (Some(&worker), "/worker.WorkerService/CoordinatorChannel", "7"),
        (Some(&driver), "/other.Service/GetWorkerInfo", "12"),
        // This worker has no host for tasks.
        (Some(&driver), "/arrow.flight.protocol.FlightService/DoAction", "12"),
        (None, "/arrow.flight.protocol.FlightService/DoGet", "12"),
    ];
    for (peer, path, expected) in cases {
        assert_eq!(code(&routes, peer, path).await, expected, "{peer:?} {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_tasks_are_refused_by_the_same_rules() {
    let (driver, worker) = peers();
    let authority = Authority::new(driver.session.clone()).expect("an authority");
    let validity = Validity::lasting(DEADLINE);
    let credentials = Credentials::issue(&authority, worker.clone(), validity).expect("signed");
    let connector = Connector::new(credentials, tokio::runtime::Handle::current());
    let channels = Channels::new(connector.expect("a connector"));
    let routes = routes(Some(Arc::new(Host { asked: Arc::default(), channels })));
    let cases = [
        (None, "DoAction", "16"),
        (None, "DoGet", "16"),
        (None, "ListActions", "16"),
        (None, "Nonsense", "16"),
        (Some(&worker), "DoAction", "7"),
        (Some(&worker), "Nonsense", "7"),
        (Some(&driver), "Nonsense", "7"),
        (Some(&driver), "DoAction/", "7"),
        (Some(&driver), "doaction", "7"),
        // Allowed; there is no message in these calls.
        (Some(&driver), "DoAction", "13"),
        (Some(&driver), "DoGet", "13"),
        (Some(&worker), "DoGet", "13"),
        (Some(&driver), "DoPut", "12"),
        (Some(&worker), "DoExchange", "12"),
    ];
    for (peer, method, expected) in cases {
        let path = format!("/arrow.flight.protocol.FlightService/{method}");
        assert_eq!(code(&routes, peer, &path).await, expected, "{peer:?} {path}");
    }
    // Plans are served beside them.
    assert_eq!(code(&routes, Some(&worker), "/worker.WorkerService/GetWorkerInfo").await, "7");
}
