//! Refuses clauses that DataFusion 55.2 parses but ignores: a statement means all that it says, or
//! it is an error.
//!
//! Structs are destructured without `..`: a field that a new version of the parser adds stops the
//! build here, so that its treatment has to be decided. Fields bound to `_` are handled by
//! DataFusion, which refuses what it does not support, or do not affect rows.

mod create;
mod expr;
mod query;
mod statement;
mod table;

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement as Parsed;
use datafusion::sql::sqlparser::ast::{Expr, Query, Select, Statement, TableFactor, Visitor};

use super::visit::{step, visit};
use crate::error::{Error, Result};

/// Refuses a statement with a clause that has no effect.
pub(crate) fn check(statement: &Parsed) -> Result<()> {
    if let Parsed::CreateExternalTable(create) = statement {
        create::external_table(create)?;
    }
    let top = match statement {
        Parsed::Statement(statement) => match statement.as_ref() {
            Statement::Query(query) => Some(std::ptr::from_ref(query.as_ref())),
            _ => None,
        },
        _ => None,
    };
    visit(statement, &mut Clauses { top })
}

struct Clauses {
    /// The top query of the statement, the only one that may have an INTO.
    top: Option<*const Query>,
}

impl Visitor for Clauses {
    type Break = Error;

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<Error> {
        step(statement::check(statement))
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Error> {
        let is_top = self.top.is_some_and(|top| std::ptr::eq(top, query));
        step(query::check(query, is_top))
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Error> {
        step(query::check_select(select))
    }

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<Error> {
        step(table::check(table))
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Error> {
        step(expr::check(expr))
    }
}

/// Refuses `clause` if `is_there`.
fn without(clause: &str, is_there: bool) -> Result<()> {
    if is_there { Err(Error::unsupported(clause)) } else { Ok(()) }
}
