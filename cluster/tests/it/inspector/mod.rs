//! The driver's view of its machines: metrics, series, logs, profiles, pages, the dump.

mod logs;
mod metrics;
mod pages;
mod profiles;
mod series;
mod work;

pub(crate) fn tests() -> Vec<(&'static str, fn())> {
    [logs::TESTS, metrics::TESTS, pages::TESTS, profiles::TESTS, series::TESTS].concat()
}
