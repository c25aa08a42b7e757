//! The resources of a process on its host: temporary folders and open files.

pub(crate) mod file_limit;
pub(crate) mod folder;
mod janitor;
