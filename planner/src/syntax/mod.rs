//! The syntax tree between text and plan. Where sqlparser or DataFusion's SQL planner misreads SQL,
//! the tree is changed into one that they read correctly; clauses that DataFusion ignores are
//! refused.
//!
//! 1. [`Tokens`] are lexed and parsed into the tree, in a dialect of ours. [`headers()`] finds the
//!    names of its columns.
//! 2. [`rewrite`] changes and refuses what the tree alone shows.
//! 3. [`resolve`] finds what names mean, for which it needs the columns of the tables.
//! 4. [`draw`] finds queries of `WITH` that must be computed before the statement.

mod balance;
mod build;
mod calls;
mod clauses;
mod decimals;
mod dialect;
mod drawn;
mod headers;
mod kept_order;
mod names;
mod ordinals;
mod parse;
mod pattern;
mod reshape;
mod sample;
mod time;
mod unnested;
mod visit;
mod windows;

mod lateral;

use datafusion::sql::parser::Statement;

use crate::error::Result;

pub use self::drawn::{Drawn, draw};
pub use self::headers::{Headers, headers};
pub use self::names::{Catalog, Labels, resolve};
pub use self::parse::{Tokens, parse};
pub(crate) use self::visit::{step, visit};

/// Rewrites the statement so that DataFusion computes the rows that SQL means.
///
/// # Errors
/// When it has a clause that DataFusion would ignore.
pub fn rewrite(mut statement: Statement) -> Result<Statement> {
    lateral::rewrite(&mut statement)?;
    time::rewrite(&mut statement);
    visit::visit_mut(&mut statement, &mut reshape::Reshape)?;
    clauses::check(&statement)?;
    Ok(statement)
}
