//! The cloud for a test of another program, which starts this one with the argument `cloud`: the
//! first line printed is the address of the cloud, each line read is a request. It ends with its
//! input.

use std::process::ExitCode;
use std::sync::atomic::Ordering;

use tokio::io::{AsyncBufReadExt, BufReader};

use super::cloud::{Cloud, NETWORKS, eventually};

pub(crate) fn serve() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        // Clouds of other processes are not in the same network.
        NETWORKS
            .store(128 + u8::try_from(std::process::id() % 100).unwrap_or(0), Ordering::Relaxed);
        let cloud = Cloud::start().await;
        println!("{} {}", cloud.endpoint, cloud.subnet);
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        while let Some(line) = lines.next_line().await.expect("its input") {
            match line.as_str() {
                // How many instances there are.
                "count" => println!("{}", cloud.instances().await.len()),
                // Ends one of them and prints which.
                "lose" => {
                    let id = eventually("an instance that runs", async || {
                        cloud.hardware.bodies.lock().keys().next().cloned()
                    });
                    let id = id.await;
                    cloud.terminate(&id).await;
                    println!("{id}");
                }
                other => panic!("\"{other}\" is nothing that a cloud can be asked"),
            }
        }
    });
    runtime.shutdown_background();
    ExitCode::SUCCESS
}
