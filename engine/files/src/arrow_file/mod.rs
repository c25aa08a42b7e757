//! Arrow files and streams.

pub(crate) mod head;
pub(crate) mod reader;
