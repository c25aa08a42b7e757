//! The systems that start machines, and the entry of the processes that they start.

#[cfg(feature = "ec2")]
pub mod ec2;
pub(crate) mod entry;
pub(crate) mod in_process;
pub(crate) mod local;
