//! Tables of files: their schema and options, the statements that make them, and what a session
//! needs to find them.

mod declared;
mod factory;
pub(crate) mod folders;
mod install;
mod one_format;
mod options;
mod provider;
mod schema;
mod statement;

pub use install::{install, runtime};
pub use provider::{read_as_listed, reads_files_here};
pub use statement::prepare;
