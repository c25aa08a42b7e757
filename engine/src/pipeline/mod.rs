//! Descriptions of typed pipelines: slices and their verbs, funcs that build slices, SQL functions,
//! and functions that are mapped over items. Nothing here runs them.

pub(crate) mod func;
pub(crate) mod map;
pub(crate) mod slice;
pub(crate) mod udf;
