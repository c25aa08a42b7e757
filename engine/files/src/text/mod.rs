//! Text files: delimited text and JSON, read by readers of ours.
//!
//! ```text
//! FileTable ─ infer ── first rows of the files ─────────────> columns and types
//!     └─ TextSource ─ TextOpener ─ CsvReader, JsonReader       per file, or part of one
//!                                    ├ Input    bytes, decompressed, in UTF-8
//!                                    ├ cut      where the first row of a part begins
//!                                    ├ Scanner  rows and the places of their values
//!                                    └ columns  values into arrays
//! ```
//!
//! DataFusion 55.2 reads text with arrow-csv and arrow-json, which change values without a word:
//! lines of a quoted text become rows where a file is cut, values go to columns by their place
//! whatever a file's header says, `null_regex` counts for types and not for rows, an empty text and
//! null are one, `007` is 7, and text in quotes becomes a number where a column began as numbers.
//! Here what the first rows decided holds for all, or is an error that names file, line, column and
//! value.

mod columns;
mod csv;
mod cut;
mod dialect;
mod fault;
mod find;
mod header;
mod heads;
mod infer;
mod input;
mod json;
mod reading;
mod scan;
mod seen;
mod source;
mod spans;
mod value;

pub(super) use fault::type_name;
pub(crate) use infer::infer;
pub(crate) use input::Origin;
pub(crate) use source::{TextOptions, TextSource};
