//! Where the rows of a slice come from, and the files that they are written to.

pub(crate) mod source;
pub(crate) mod write;
