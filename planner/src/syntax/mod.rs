//! The syntax tree between text and plan. Where sqlparser or DataFusion's SQL planner misreads SQL,
//! the tree is changed into one that they read correctly; clauses that DataFusion ignores are
//! refused.
//!
//! 1. [`Tokens`] are lexed and parsed into the tree, in a dialect of ours. [`headers()`] finds the
//!    names of its columns.
//! 2. [`rewrite`] changes and refuses what the tree alone shows.
//! 3. [`resolve`] finds what names mean, for which it needs the columns of the tables.
//! 4. [`materialize_ctes`] finds queries of `WITH` that must be computed before the statement.

mod balance;
mod build;
mod clauses;
mod dialect;
mod headers;
mod materialized_ctes;
mod names;
mod parse;
mod reshape;
mod time;
mod visit;
mod walk;

mod lateral;

use datafusion::sql::parser::Statement;

use crate::error::Result;

pub use self::headers::{Headers, headers};
pub use self::materialized_ctes::{MaterializedCte, materialize_ctes};
pub use self::names::{Catalog, Labels, resolve};
pub use self::parse::{Tokens, parse};
pub(crate) use self::visit::{step, visit};
pub use self::walk::any_query;

/// Rewrites a statement so that DataFusion plans it with the meaning that it has in SQL.
///
/// # Errors
/// If the statement has a clause that would be ignored.
pub fn rewrite(mut statement: Statement) -> Result<Statement> {
    lateral::rewrite(&mut statement)?;
    time::rewrite(&mut statement);
    visit::visit_mut(&mut statement, &mut reshape::Reshape)?;
    clauses::check(&statement)?;
    Ok(statement)
}
