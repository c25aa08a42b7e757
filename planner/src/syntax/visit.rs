//! Walks a statement of any kind with sqlparser's visitors.

use std::ops::ControlFlow;

use datafusion::sql::parser::{CopyToSource, CreateExternalTable, Statement};
use datafusion::sql::sqlparser::ast::{Visitor, VisitorMut};

use super::walk::{walk, walk_mut};
use crate::error::{Error, Result};

/// The result of a visit.
pub(crate) fn done(flow: ControlFlow<Error>) -> Result<()> {
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// Continues a visit after `Ok`, ends it with an error.
pub(crate) fn step(result: Result<()>) -> ControlFlow<Error> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }
}

/// Visits every node of `statement`.
pub(crate) fn visit<V: Visitor<Break = Error>>(statement: &Statement, with: &mut V) -> Result<()> {
    match statement {
        Statement::Statement(statement) => done(walk(statement, with)),
        Statement::CopyTo(copy) => match &copy.source {
            CopyToSource::Relation(_) => Ok(()),
            CopyToSource::Query(query) => done(walk(query, with)),
        },
        Statement::Explain(explain) => visit(&explain.statement, with),
        Statement::CreateExternalTable(CreateExternalTable { columns, order_exprs, .. }) => {
            done(walk(columns, with))?;
            done(walk(order_exprs, with))
        }
        Statement::Reset(_) => Ok(()),
    }
}

/// Visits every node of `statement`; `with` may change them.
pub(crate) fn visit_mut<V: VisitorMut<Break = Error>>(
    statement: &mut Statement,
    with: &mut V,
) -> Result<()> {
    match statement {
        Statement::Statement(statement) => done(walk_mut(statement, with)),
        Statement::CopyTo(copy) => match &mut copy.source {
            CopyToSource::Relation(_) => Ok(()),
            CopyToSource::Query(query) => done(walk_mut(query, with)),
        },
        Statement::Explain(explain) => visit_mut(&mut explain.statement, with),
        Statement::CreateExternalTable(CreateExternalTable { columns, order_exprs, .. }) => {
            done(walk_mut(columns, with))?;
            done(walk_mut(order_exprs, with))
        }
        Statement::Reset(_) => Ok(()),
    }
}
