//! Runs of slices: tasks on machines, stored shards, and recovery when a machine is lost.

pub(crate) mod job;
pub(crate) mod task;
