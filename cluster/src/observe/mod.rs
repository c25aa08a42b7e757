//! Observation of machines: output, resource usage, metrics and CPU profiles.

pub(crate) mod line;
pub(crate) mod log;
pub(crate) mod logbook;
pub(crate) mod metrics;
pub(crate) mod profile;
pub(crate) mod usage;
