//! Changes of the syntax tree between parsing and planning: what sqlparser or DataFusion's SQL planner
//! reads otherwise than SQL means it becomes a tree that they read right, and clauses that
//! DataFusion passes over are refused.

mod lateral;

use datafusion::sql::parser::Statement;

use crate::error::Result;

mod time;

/// The statement as DataFusion has to have it to give the rows that it means.
///
/// # Errors
/// When it has a clause that would be passed over.
pub fn rewrite(mut statement: Statement) -> Result<Statement> {
    lateral::rewrite(&mut statement)?;
    time::rewrite(&mut statement);
    Ok(statement)
}
