//! Verbs that take rows one by one, or a shard at a time: nothing moves.

pub(crate) mod building;
pub(crate) mod choosing;
pub(crate) mod making;
pub(crate) mod narrow;
pub(crate) mod partitions;
pub(crate) mod tee;
