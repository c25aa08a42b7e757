//! Where the rows of a slice come from: one file per kind. [`shares`] deals out files whose bytes
//! tasks read themselves.

mod archives;
mod columns;
mod constant;
mod cutter;
mod files;
mod lines;
mod provider;
mod push;
mod reader;
mod result;
mod scan;
mod shares;
mod statement;

pub use archives::{TarEntry, TarEntryView};
pub use files::Paths;
pub use lines::LinesOptions;
pub use push::{Sink, Stopped};
