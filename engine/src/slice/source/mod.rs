//! Where the rows of a slice come from: one file per kind.

mod constant;
mod files;
mod reader;
mod result;
mod scan;
mod statement;

pub use files::Paths;
pub(super) use files::holds;
