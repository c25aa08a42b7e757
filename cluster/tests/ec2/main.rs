//! The requests to EC2 on the wire: an endpoint on loopback records each request and answers as a
//! test wants. Instances that start are tested in `tests/ec2_moto`.

#![expect(clippy::panic, reason = "all of it is test code, which clippy cannot tell here")]

mod endpoint;
mod options;
mod requests;
mod spot;

use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> std::process::ExitCode {
    let tests: Vec<(&'static str, fn())> = [options::TESTS, requests::TESTS, spot::TESTS].concat();
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
