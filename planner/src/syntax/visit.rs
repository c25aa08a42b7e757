//! Visits all of a statement with sqlparser's visitors, for every kind of statement.

use std::ops::ControlFlow;

use datafusion::sql::parser::{CopyToSource, CreateExternalTable, Statement};
use datafusion::sql::sqlparser::ast::{Visit, VisitMut, Visitor, VisitorMut};

use crate::error::{Error, Result};

/// The result of a visit.
pub(crate) fn done(flow: ControlFlow<Error>) -> Result<()> {
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// The control flow of a visitor's step.
pub(crate) fn step(result: Result<()>) -> ControlFlow<Error> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }
}

/// Visits every node of `statement`.
pub(crate) fn visit<V: Visitor<Break = Error>>(statement: &Statement, with: &mut V) -> Result<()> {
    match statement {
        Statement::Statement(statement) => done(Visit::visit(statement, with)),
        Statement::CopyTo(copy) => match &copy.source {
            CopyToSource::Relation(_) => Ok(()),
            CopyToSource::Query(query) => done(Visit::visit(query, with)),
        },
        Statement::Explain(explain) => visit(&explain.statement, with),
        Statement::CreateExternalTable(CreateExternalTable { columns, order_exprs, .. }) => {
            done(Visit::visit(columns, with))?;
            done(Visit::visit(order_exprs, with))
        }
        Statement::Reset(_) => Ok(()),
    }
}

/// Visits every node of `statement`, and may change it.
pub(crate) fn visit_mut<V: VisitorMut<Break = Error>>(
    statement: &mut Statement,
    with: &mut V,
) -> Result<()> {
    match statement {
        Statement::Statement(statement) => done(VisitMut::visit(statement, with)),
        Statement::CopyTo(copy) => match &mut copy.source {
            CopyToSource::Relation(_) => Ok(()),
            CopyToSource::Query(query) => done(VisitMut::visit(query, with)),
        },
        Statement::Explain(explain) => visit_mut(&mut explain.statement, with),
        Statement::CreateExternalTable(CreateExternalTable { columns, order_exprs, .. }) => {
            done(VisitMut::visit(columns, with))?;
            done(VisitMut::visit(order_exprs, with))
        }
        Statement::Reset(_) => Ok(()),
    }
}
