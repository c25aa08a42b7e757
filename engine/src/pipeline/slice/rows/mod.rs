//! Operators on single rows or whole shards, without data movement.

pub(crate) mod batch_builder;
pub(crate) mod fused_map;
pub(crate) mod narrow;
pub(crate) mod partitions;
pub(crate) mod selection;
pub(crate) mod tee;
