//! `INSERT INTO t SELECT ...` with VALUES in its query: the query is planned by itself.
//!
//! DataFusion 55.2 takes all VALUES of the statement for rows of the table: `INSERT INTO t SELECT
//! x, x FROM (VALUES (1)) v(x)` is an error because they have one column, and values get the types
//! of the table's columns before the query can use them.

use std::sync::Arc;

use bigslice_planner::any_query;
use datafusion::datasource::ViewTable;
use datafusion::error::{DataFusionError, Result};
use datafusion::sql::parser::Statement as Parsed;
use datafusion::sql::sqlparser::ast::{Query, SetExpr, Statement as Sql};
use datafusion::sql::sqlparser::dialect::GenericDialect;

use crate::statement::lookup::Lookup;

/// The name of the query in its plan.
const NAME: &str = "__inserted";

/// Replaces the query of an INSERT by a table that is the plan of the query.
pub(crate) fn plan_query_first(tables: &mut Lookup<'_>, statement: Parsed) -> Result<Parsed> {
    match statement {
        Parsed::Explain(mut explain) => {
            explain.statement = Box::new(plan_query_first(tables, *explain.statement)?);
            Ok(Parsed::Explain(explain))
        }
        Parsed::Statement(mut statement) => {
            if let Sql::Insert(insert) = statement.as_mut()
                && let Some(source) = &mut insert.source
                && !matches!(*source.body, SetExpr::Values(_))
                && has_values(source)
            {
                let rows = read()?;
                let query =
                    Parsed::Statement(Box::new(Sql::Query(std::mem::replace(source, rows))));
                let plan = tables.plan(query)?;
                tables.add(NAME, Arc::new(ViewTable::new(plan, None)));
            }
            Ok(Parsed::Statement(statement))
        }
        other => Ok(other),
    }
}

/// The query that reads the table.
fn read() -> Result<Box<Query>> {
    let sql = format!("SELECT * FROM {NAME}");
    if let Parsed::Statement(statement) =
        bigslice_planner::parse(&sql, Box::new(GenericDialect {}), 50)?
        && let Sql::Query(query) = *statement
    {
        return Ok(query);
    }
    Err(DataFusionError::Internal(format!("{sql} is not a query")))
}

fn has_values(query: &Query) -> bool {
    any_query(query, &mut |query| of_set(&query.body))
}

fn of_set(set: &SetExpr) -> bool {
    match set {
        SetExpr::Values(_) => true,
        SetExpr::SetOperation { left, right, .. } => of_set(left) || of_set(right),
        _ => false,
    }
}
