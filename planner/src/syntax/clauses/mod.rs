//! Refuses clauses that DataFusion 55.2 parses and then passes over: a statement means all that it says, or it is an
//! error.
//!
//! Structs are taken apart without `..`: a field that a new version of the parser adds stops the build
//! here, and whoever adds it decides what becomes of it. Fields named `_` are read by DataFusion, which
//! refuses what it cannot do, or change no rows.

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

/// Refuses a statement that has a clause without effect.
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
    /// The query that is the whole of the statement: it alone may have an INTO.
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

/// Refuses `clause` if it is there.
fn without(clause: &str, is_there: bool) -> Result<()> {
    if is_there { Err(Error::unsupported(clause)) } else { Ok(()) }
}
