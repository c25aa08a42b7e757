//! The systems that start machines, and the way into a process that one of them has started.

#[cfg(feature = "ec2")]
pub mod ec2;
pub(crate) mod entry;
pub(crate) mod in_process;
pub(crate) mod local;
