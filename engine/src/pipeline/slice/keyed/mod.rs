//! Operators that move rows by key.

pub(crate) mod cogroup;
pub(crate) mod heap_bytes;
pub(crate) mod join;
pub(crate) mod join_operator;
pub(crate) mod keys;
pub(crate) mod operators;
pub(crate) mod pre_aggregation;
pub(crate) mod prefixed;
pub(crate) mod reduce_aggregate;
pub(crate) mod sorting;
