//! Verbs that move rows for other reasons than keys: order, numbers of shards, the slice as a whole.

pub(crate) mod ordered;
pub(crate) mod shuffle;
pub(crate) mod verbs;
