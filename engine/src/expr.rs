//! Expressions for [`Slice::filter_expr`](crate::Slice::filter_expr),
//! [`select`](crate::Slice::select), [`aggregate`](crate::Slice::aggregate) and the like.
//!
//! They are DataFusion's, with all of its functions by their names in SQL. [`col`] reads its text
//! as SQL does: a name with capital letters needs double quotes inside the text, or [`ident`].
//!
//! ```
//! use bigslice::expr::{col, lit, round, when};
//!
//! let rounded = round(vec![col("price") * lit(1.2)]).alias("price");
//! let kind = when(col("ms").lt(lit(100)), lit("fast")).otherwise(lit("slow"))?;
//! # drop((rounded, kind)); Ok::<(), bigslice::Error>(())
//! ```

pub use bigslice_planner::{dense_rank, ntile, rank, row_number};
pub use datafusion::arrow::datatypes::DataType;
pub use datafusion::functions::expr_fn::*;
pub use datafusion::functions_aggregate::expr_fn::*;
pub use datafusion::functions_nested::expr_fn::*;
pub use datafusion::functions_window::expr_fn::{cume_dist, lag, lead, percent_rank};
pub use datafusion::logical_expr::expr_fn::*;
pub use datafusion::logical_expr::{Expr, ExprFunctionExt, SortExpr, ident, lit};
