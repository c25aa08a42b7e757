//! What the driver sees of its machines: metrics, series, logs, profiles, pages, the dump.

mod logs;
mod metrics;
mod pages;
#[cfg(feature = "profile")]
mod profiles;
mod series;
mod work;

pub(crate) fn tests() -> Vec<(&'static str, fn())> {
    let tests = [logs::TESTS, metrics::TESTS, pages::TESTS, series::TESTS].concat();
    #[cfg(feature = "profile")]
    let tests = [tests, profiles::TESTS.to_vec()].concat();
    tests
}
