//! JSON: rows are objects, one after the other or in lists, on one line each or not.
//!
//! `lex` walks over text, `rows` finds the rows, `shape` finds the types of fields, and `build`
//! makes columns of values. A field whose values are of several kinds is text, and holds
//! what is not text as its JSON.

mod build;
mod infer;
mod lex;
mod reader;
mod rows;
mod shape;

pub(super) use infer::fields;
pub(super) use reader::JsonReader;
