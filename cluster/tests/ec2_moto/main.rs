//! EC2 end to end on one machine: moto replaces AWS, and [`cloud`] its hardware. It runs each
//! instance's real user data, at the instance's own loopback address. This binary is also the
//! driver that is killed and the program of the instances, so it has a `main`.

#![expect(
    clippy::panic,
    clippy::print_stdout,
    reason = "all of it is test code, which clippy cannot tell in a test with a main of its own"
)]

mod bigpi;
mod cloud;
mod disks;
mod intruders;
mod killed;
mod life;
mod metadata;
mod peer_transfer;
mod secrets;
mod serve;
mod spot;
mod stop;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    if bigslice_cluster::is_worker() {
        let services = life::worker_services();
        return bigslice_cluster::run_worker(bigslice_cluster::WorkerMain { services });
    }
    if let Some(endpoint) =
        std::env::args().nth(1).and_then(|a| a.strip_prefix("drive=").map(str::to_owned))
    {
        return killed::drive(&endpoint);
    }
    if std::env::args().nth(1).is_some_and(|argument| argument == "cloud") {
        return serve::serve();
    }
    let tests: Vec<(&'static str, fn())> = [
        life::TESTS,
        stop::TESTS,
        disks::TESTS,
        intruders::TESTS,
        secrets::TESTS,
        peer_transfer::TESTS,
        spot::TESTS,
        killed::TESTS,
        bigpi::TESTS,
    ]
    .concat();
    let trials = tests
        .into_iter()
        .map(|(name, test)| {
            Trial::test(name, move || {
                test();
                Ok::<(), Failed>(())
            })
        })
        .collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
