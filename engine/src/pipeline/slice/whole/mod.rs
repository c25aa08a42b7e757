//! Operators on the slice as a whole: global order, number of shards, limits.

pub(crate) mod global_order;
pub(crate) mod operators;
pub(crate) mod shuffle;
