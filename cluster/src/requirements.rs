//! What a driver requires of the program of a machine.

use serde::{Deserialize, Serialize};

/// A service with its value, encoded.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Setup {
    pub(crate) service: String,
    pub(crate) value: Vec<u8>,
}

/// The services that a machine sets up before it is used, in this order.
#[derive(Clone, Debug, Default)]
pub struct Services {
    pub(crate) list: Vec<Setup>,
}

impl Services {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn list(&self) -> &[Setup] {
        &self.list
    }
}

/// What a driver requires of its workers: the same program, and these services.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Requirements {
    pub(crate) registry: Vec<String>,
    pub(crate) services: Vec<Setup>,
}
