//! The pages, requested over a socket like a browser does, and the dump.

use std::io::{Cursor, Read};
use std::net::SocketAddr;

use bigslice_cluster::{Inspector, Page, PageKind};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::harness::{Place, in_process, local, run};
use super::metrics::parse;
use super::work::{Work, start};

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("inspector::pages::are_served_to_this_computer_alone", are_served_to_this_computer_alone),
    ("inspector::pages::show_all_machines", show_all_machines),
    ("inspector::pages::of_a_process_without_machines", of_a_process_without_machines),
    ("inspector::pages::the_dump_has_it_all_and_no_secret", the_dump_has_it_all_and_no_secret),
];

/// The settings of services, which must not be shown.
const CANARY: &str = "canary-9f8e7d";

/// Sends a request unchanged. Returns status and body of the answer.
async fn exchange(address: SocketAddr, request: &str) -> (u16, Vec<u8>) {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(request.as_bytes()).await.expect("it is sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an answer");
    let head_end = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("a head") + 4;
    let head = String::from_utf8_lossy(&answer[..head_end]).into_owned();
    let status = head.split(' ').nth(1).expect("a status").parse().expect("a number");
    (status, answer.split_off(head_end))
}

async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let (status, body) = exchange(address, &request).await;
    (status, String::from_utf8(body).expect("text"))
}

fn are_served_to_this_computer_alone() {
    run(async {
        let inspector = Inspector::alone(std::env::temp_dir());
        let open: SocketAddr = "0.0.0.0:0".parse().expect("an address");
        let err = inspector.serve(open).expect_err("it is open to everybody");
        assert!(err.to_string().contains("loopback"), "{err}");
        let server = inspector.serve("127.0.0.1:0".parse().expect("one")).expect("it serves");
        let address = server.address();
        assert_eq!(get(address, "/debug").await.0, 200);
        assert_eq!(get(address, "/").await.0, 200);
        assert_eq!(get(address, "/debug/nothing").await.0, 404);
        assert_eq!(get(address, "/elsewhere").await.0, 404);
        for (request, expected) in [
            ("GET /debug HTTP/1.1\r\nHost: evil.example\r\n", 403),
            ("GET /debug HTTP/1.1\r\nHost: 10.1.2.3:80\r\n", 403),
            ("GET http://evil.example/debug HTTP/1.1\r\nHost: localhost\r\n", 403),
            ("GET /debug HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: cross-site\r\n", 403),
            ("POST /debug HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n", 405),
            ("DELETE /debug/machines HTTP/1.1\r\nHost: localhost\r\n", 405),
            ("GET /debug HTTP/1.1\r\n", 400),
            ("GET /debug/logs?machine=../x HTTP/1.1\r\nHost: localhost\r\n", 400),
            ("GET /debug/flamegraph?seconds=0 HTTP/1.1\r\nHost: localhost\r\n", 400),
            ("GET /debug/flamegraph?seconds=100000 HTTP/1.1\r\nHost: localhost\r\n", 400),
        ] {
            let (status, _) =
                exchange(address, &format!("{request}Connection: close\r\n\r\n")).await;
            // hyper itself may refuse a request without any host.
            assert!(
                status == expected || (expected == 400 && status == 403),
                "{request}: {status}"
            );
        }
        drop(server);
        super::super::harness::eventually("the port to close", || {
            std::net::TcpStream::connect(address).is_err().then_some(())
        })
        .await;
    });
}

fn show_all_machines() {
    run(async {
        let place = Place::new();
        let fleet = start(&place, local(), 2).await;
        for machine in fleet.machines() {
            machine.call(Work::print, "<b>&".to_owned()).await.expect("it prints");
        }
        let errands = Page::new("errands", "what <is> done", PageKind::Text, || "two\n".to_owned());
        fleet.inspector().add_page(errands);
        let server =
            fleet.inspector().serve("127.0.0.1:0".parse().expect("one")).expect("it serves");
        assert_eq!(server.url(), format!("http://{}/debug", server.address()));
        let address = server.address();
        let (_, index) = get(address, "/debug").await;
        for expected in ["driver", "m0", "m1", "what &lt;is&gt; done", "/debug/errands", "<svg"] {
            assert!(index.contains(expected), "no {expected} in {index}");
        }
        assert_eq!(get(address, "/debug/errands").await, (200, "two\n".to_owned()));
        let (_, machines) = get(address, "/debug/machines").await;
        let machines: serde_json::Value = serde_json::from_str(&machines).expect("JSON");
        assert_eq!(machines[1]["name"], "m0");
        assert_eq!(machines[1]["state"], "running");
        let (_, series) = get(address, "/debug/series").await;
        let series: serde_json::Value = serde_json::from_str(&series).expect("JSON");
        assert!(series[0]["points"][0]["resident_bytes"].as_u64() > Some(0));
        parse(&get(address, "/debug/metrics").await.1);
        super::super::harness::eventually("the lines", || {
            (fleet.inspector().logged().len() == 2).then_some(())
        })
        .await;
        let (_, all) = get(address, "/debug/logs").await;
        assert!(all.contains("m0 stderr: <b>&") && all.contains("m1 stderr: <b>&"), "{all}");
        let (_, one) = get(address, "/debug/logs?machine=m1").await;
        assert!(!one.contains("m0") && one.contains("m1 stderr: <b>&"), "{one}");
        fleet.shutdown().await;
    });
}

fn of_a_process_without_machines() {
    run(async {
        let inspector = Inspector::alone(std::env::temp_dir());
        let server = inspector.serve("[::1]:0".parse().expect("one")).or_else(|_| {
            // Not every host has the newer protocol.
            inspector.serve("127.0.0.1:0".parse().expect("one"))
        });
        let server = server.expect("it serves");
        let (_, index) = get(server.address(), "/debug").await;
        assert!(index.contains("without machines"), "{index}");
        let samples = parse(&get(server.address(), "/debug/metrics").await.1);
        assert!(samples.iter().all(|(_, labels, _)| labels["machine"] == "driver"));
        assert!(
            samples
                .iter()
                .any(|(name, _, bytes)| name == "bigslice_resident_bytes" && *bytes > 0.0)
        );
    });
}

fn the_dump_has_it_all_and_no_secret() {
    run(async {
        let place = Place::new();
        let config = bigslice_cluster::FleetConfig {
            settings: Bytes::from_static(CANARY.as_bytes()),
            ..place.config(2, "")
        };
        let fleet =
            bigslice_cluster::Fleet::start(in_process(), config).await.expect("the fleet starts");
        let page = Page::new("queries", "queries", PageKind::Json, || "[1]".to_owned());
        fleet.inspector().add_page(page);
        let lost = fleet.machines().remove(0);
        lost.kill();
        fleet.losses().wait_for(|n| *n == 1).await.expect("a loss");
        let mut file = Cursor::new(Vec::new());
        fleet.inspector().dump(&mut file).await.expect("a dump");
        let mut archive = zip::ZipArchive::new(file).expect("an archive");
        let mut names: Vec<String> = archive.file_names().map(str::to_owned).collect();
        names.sort();
        let expected = [
            "about.json",
            "logs/m0.log",
            "machines.json",
            "metrics.txt",
            "queries.json",
            "series.json",
        ];
        assert_eq!(names, expected);
        for name in &names {
            let mut text = String::new();
            archive.by_name(name).expect("it is there").read_to_string(&mut text).expect("text");
            assert!(!text.is_empty(), "{name}");
            assert!(!text.contains(CANARY), "{name}: {text}");
            match name.as_str() {
                "metrics.txt" => drop(parse(&text)),
                "queries.json" => assert_eq!(text, "[1]"),
                "logs/m0.log" => assert!(text.contains("m0 fleet: lost: killed"), "{text}"),
                json => drop(serde_json::from_str::<serde_json::Value>(&text).expect(json)),
            }
        }
        fleet.shutdown().await;
    });
}
