//! The value of a service, whose type only the generated code knows.

use std::any::Any;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::error::BoxError;

/// The value of a service of any type.
pub(crate) type Shared = Arc<dyn Any + Send + Sync>;

/// Decodes a service's value or a call's arguments.
///
/// # Errors
/// If the bytes do not have the expected type.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BoxError> {
    postcard::from_bytes(bytes).map_err(|e| format!("could not decode its value: {e}").into())
}

/// Wraps a value for all calls of a service.
pub fn share<S: Send + Sync + 'static>(service: S) -> Shared {
    Arc::new(service)
}
