//! The syntax tree between text and plan: what sqlparser or DataFusion's SQL planner reads otherwise than
//! SQL means it becomes a tree that they read right, and clauses that DataFusion passes over are refused.
//!
//! 1. [`parse()`] makes the tree, with a dialect of ours. [`headers()`] tells what its columns are called.
//! 2. [`rewrite`] changes and refuses what shows in the tree alone.
//! 3. [`resolve`] finds what names mean, which takes the tables' columns.
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
pub use self::parse::parse;
pub(crate) use self::visit::visit;

/// The statement as DataFusion has to have it to give the rows that it means.
///
/// # Errors
/// When it has a clause that would be passed over.
pub fn rewrite(mut statement: Statement) -> Result<Statement> {
    lateral::rewrite(&mut statement)?;
    time::rewrite(&mut statement);
    visit::visit_mut(&mut statement, &mut reshape::Reshape)?;
    clauses::check(&statement)?;
    Ok(statement)
}
