//! How all stores dial, and how they try again.

use std::time::Duration;

use object_store::{BackoffConfig, ClientOptions, RetryConfig};

/// The timeout of a connection. A server that is up takes milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a request is tried again after the first time. With the waits between them that is
/// some seconds: a server that restarts is back by then, and a wrong address is reported soon.
const RETRIES_MAX: usize = 5;

/// The longest that one request is tried.
const RETRY_TIMEOUT: Duration = Duration::from_secs(60);

/// The connection settings of all stores.
pub(crate) fn client_options() -> ClientOptions {
    ClientOptions::new().with_connect_timeout(CONNECT_TIMEOUT)
}

/// The retry settings of all stores.
pub(crate) fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: RETRIES_MAX,
        retry_timeout: RETRY_TIMEOUT,
    }
}
