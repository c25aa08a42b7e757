//! Where the rows of a slice come from: one file per kind.

mod constant;
mod files;
mod reader;
mod result;

pub use files::Paths;
