//! Tests of the machine layer at its boundary: real sockets, real processes, real signals. This
//! binary is also the worker program and the driver that is killed, so it has a `main`.

#![expect(
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "all of it is test code, which clippy cannot tell in a test with a main of its own"
)]

mod driver;
mod elastic;
mod faults;
mod folders;
mod harness;
mod inspector;
mod life;
mod mtls;
mod network;
mod output;
mod scarce;
mod service;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    if bigslice_cluster::is_worker() {
        let services = harness::worker_services();
        return bigslice_cluster::run_worker(bigslice_cluster::WorkerMain { services });
    }
    if driver::is_driver() {
        return driver::run();
    }
    let mut tests: Vec<(&'static str, fn())> = [
        life::TESTS,
        mtls::TESTS,
        faults::TESTS,
        network::TESTS,
        elastic::TESTS,
        scarce::TESTS,
        driver::TESTS,
        output::TESTS,
        folders::TESTS,
    ]
    .concat();
    tests.extend(service::tests());
    tests.extend(inspector::tests());
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
