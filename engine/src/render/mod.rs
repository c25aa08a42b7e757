//! Rows as text for people. [`Query::show`](crate::Query::show) and bigsql lay out tables with it,
//! so that both show the same; nothing here does I/O.
//!
//! ```
//! use std::sync::Arc;
//!
//! use arrow::array::{ArrayRef, Int64Array, RecordBatch};
//! use bigslice::render::{Layout, Paint, TextTable};
//!
//! let n: ArrayRef = Arc::new(Int64Array::from_iter_values([1, 20]));
//! let batch = RecordBatch::try_from_iter([("n", n)])?;
//! let pipe = Layout { terminal_columns: None, types: false, paint: Paint::Off, rows_max: None };
//! let mut table = TextTable::new(&batch.schema(), pipe);
//! let mut text = Vec::new();
//! table.batch(&batch, &mut text)?;
//! table.finish(&mut text)?;
//! assert_eq!(text, b"+----+\n| n  |\n+----+\n|  1 |\n| 20 |\n+----+\n");
//! # Ok::<(), arrow::error::ArrowError>(())
//! ```

pub mod cell;
mod excerpt;
mod grid;
mod layout;
mod plan;
pub mod types;

pub use grid::Paint;
pub use layout::{Layout, TextTable};
