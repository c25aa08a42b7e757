//! What is read of a SELECT before it is rewritten.

use datafusion::sql::sqlparser::ast::{JoinConstraint, SelectItem};

use super::scope::{Column, Scope};

/// A SELECT that was read.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) from: From,
    /// The select list that replaces the original one.
    pub(super) projection: Option<Vec<SelectItem>>,
    /// The columns of the result; `None` if they are not known.
    pub(super) outputs: Option<Vec<Column>>,
}

/// The scope of a FROM, and the changes to make to it.
#[derive(Debug, Clone, Default)]
pub(super) struct From {
    pub(super) scope: Scope,
    /// For each join, in the order of the visit: the constraint that replaces its own.
    pub(super) conversions: Vec<Option<JoinConstraint>>,
    /// For each query in FROM, in the same order: the alias that it gets because it has none.
    pub(super) aliases: Vec<Option<String>>,
}
