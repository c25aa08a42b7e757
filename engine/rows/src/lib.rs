//! Typed rows over Arrow columns: the rows of slices.
//!
//! A [`Row`] knows its columns, reads them through a borrowed view and builds them again. The
//! verbs of a slice call it; users derive it:
//!
//! ```
//! # extern crate bigslice_rows as bigslice;
//! use bigslice::row::Row;
//!
//! #[derive(Row)]
//! struct Visit {
//!     url: String,
//!     ms: i64,
//! }
//!
//! let mut builder = <Visit as Row>::builder(2);
//! <Visit as Row>::append(&mut builder, VisitView { url: "http://a", ms: 3 });
//! <Visit as Row>::append(&mut builder, VisitView { url: "http://b", ms: 700 });
//! let arrays = <Visit as Row>::finish(&mut builder);
//!
//! let columns = <Visit as Row>::columns(&arrays)?;
//! let view = <Visit as Row>::get(&columns, 1);
//! assert!(view.ms > 500 && view.url == "http://b"); // nothing was copied
//! # Ok::<(), bigslice::row::Mismatch>(())
//! ```
//!
//! How a batch flows through it:
//!
//! ```text
//! arrays --columns()--> Columns --get(row)--> View --closure--> value --append()--> Builder
//!         once a batch:          once a row: a few                                     |
//!         types, nulls           loads, no checks                      arrays <--finish()
//! ```
//!
//! [`Row::columns`] checks a batch and reports all problems as a [`Mismatch`], so that [`Row::get`]
//! only has to pick the row. Reading an unused column of a view is dead code: a filter touches only
//! the columns it uses. To make that work, `get` is always inlined, and nothing in it may panic or
//! call code that the compiler cannot see.
//!
//! | Rust | Arrow | View |
//! |---|---|---|
//! | `bool`, `i8`..`i64`, `u8`..`u64`, `f32`, `f64` | the same | itself |
//! | `String`, `Box<str>`, `Arc<str>` | `Utf8View` | `&str` |
//! | `bytes::Bytes` | `BinaryView` | `&[u8]` |
//! | `chrono::NaiveDate` | `Date32` | itself |
//! | `chrono::NaiveDateTime` | `Timestamp(µs)` | itself |
//! | `chrono::DateTime<Utc>` | `Timestamp(µs, "UTC")` | itself |
//! | `chrono::NaiveTime` | `Time64(µs)` | itself |
//! | `chrono::TimeDelta` | `Duration(µs)` | itself |
//! | [`Decimal<P, S>`](Decimal) | `Decimal128(P, S)` | itself |
//! | `Option<T>` | as `T`, nullable | `Option<view of T>` |
//! | `Vec<T>` | `List` | [`List`] |
//! | `[T; N]` | `FixedSizeList` | `[view of T; N]` |
//! | tuples of 1 to 12, derived structs | `Struct`; as a row, a column each | tuple, `<Name>View` |
//! | derived enums without fields | `Dictionary(Int32, Utf8)` | itself |

/// This crate as the derive's code names it.
#[doc(hidden)]
pub mod row {
    pub use super::*;
}

/// Items for the code that `#[derive(Row)]` writes, which may go into a crate without Arrow.
#[doc(hidden)]
pub mod derive {
    pub use arrow::array::ArrayRef;
    pub use arrow::buffer::NullBuffer;
    pub use arrow::datatypes::{DataType, Fields};

    pub use super::columns::*;
    pub use super::group::Group;
    pub use super::shared::{one_column, row_as_value, scalar};
    pub use super::variants::{VariantKeys, Variants, names};
}

mod array;
mod boolean;
mod calendar;
mod columns;
mod contract;
mod decimal;
#[doc(hidden)]
pub mod function;
mod group;
mod list;
mod macros;
mod mismatch;
mod nulls;
mod numbers;
mod optional;
mod shared;
mod text;
mod texts;
mod time;
mod tuple;
mod variants;

pub use contract::{Row, Value};
pub use decimal::{Decimal, DecimalError};
pub use list::{Items, List};
pub use macros::Row;
pub use mismatch::{Mismatch, Problem};
