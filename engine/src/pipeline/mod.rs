//! Typed pipelines as they are described: the verbs of slices, functions that build slices, functions of SQL, and
//! functions that are called for items. Nothing here runs.

pub(crate) mod func;
pub(crate) mod map;
pub(crate) mod slice;
pub(crate) mod udf;
