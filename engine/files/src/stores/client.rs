//! How all stores dial, and how they try again.

use std::time::Duration;

use object_store::{BackoffConfig, ClientOptions, RetryConfig};

/// How long a server may take to accept a connection: all that are up take milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a request is tried again after the first time. With the waits between them that is
/// some seconds: a server that restarts is back by then, and a wrong address is told soon.
const RETRIES_MAX: usize = 5;

/// The longest that one request is tried.
const RETRY_TIMEOUT: Duration = Duration::from_secs(60);

/// How all stores dial.
pub(crate) fn client_options() -> ClientOptions {
    ClientOptions::new().with_connect_timeout(CONNECT_TIMEOUT)
}

/// How all stores try again.
pub(crate) fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: RETRIES_MAX,
        retry_timeout: RETRY_TIMEOUT,
    }
}
