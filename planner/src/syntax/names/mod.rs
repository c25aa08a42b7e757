//! Finds out which column each name means, where DataFusion 55.2 finds another one or none:
//!
//! - the column of `USING` and of `NATURAL` in a FULL or RIGHT join, which is that of either side: DataFusion takes
//!   the left one;
//! - names without quotes, of which only the capitals differ from those of the one column that can be meant;
//! - columns that share a name, in a result or in a query within: DataFusion demands that all differ. Those that
//!   come later get names of our own, and the result has the wanted ones again, by [`Labels`].
//!
//! The walk sees names alone, no types: what it does not know it leaves to DataFusion.

mod access;
mod apply;
mod from;
mod item;
mod queries;
mod resolver;
mod scope;
mod select;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;

use datafusion::sql::parser::{CopyToSource, Statement};
use datafusion::sql::sqlparser::ast::{Ident, ObjectName, Query, Visit, Visitor};

use self::resolver::{Context, Resolver};
use super::visit::visit_mut;
use crate::error::Result;

/// What is known about tables and functions when a statement is read.
pub trait Catalog {
    /// The names of a table's columns, if there is such a table.
    fn columns(&self, table: &ObjectName) -> Option<Vec<String>>;

    /// Whether the function gives a value for each row, and cannot have a clause like OVER.
    fn is_scalar(&self, function: &str) -> bool;

    /// Whether the function may give another value each time for the same arguments.
    fn is_volatile(&self, function: &str) -> bool;

    /// Whether names without quotes are names in small letters.
    fn folds_names(&self) -> bool;
}

/// The names that columns of a result are to have, by the names that they have in the plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels {
    labels: Vec<(String, Label)>,
}

/// The name that a column is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Label {
    Name(String),
    /// That of the column at this position, or the text if the positions are not those of the result.
    LikeColumn(usize, String),
}

impl Labels {
    /// Whether all columns have their names already.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The names that are to be shown for columns of these names.
    pub fn shown(&self, names: &[&str]) -> Vec<String> {
        let shown = |name: &&str| {
            let label =
                self.labels.iter().find(|(actual, _)| actual == name).map(|(_, label)| label);
            match label {
                None => (*name).to_owned(),
                Some(Label::Name(shown)) => shown.clone(),
                Some(Label::LikeColumn(position, text)) => {
                    let position = names.get(*position).filter(|_| !text.is_empty());
                    position.map_or_else(|| text.clone(), |name| (*name).to_owned())
                }
            }
        };
        names.iter().map(shown).collect()
    }
}

/// Writes out in `statement` which columns its names mean.
///
/// # Errors
/// When a name can mean several columns.
pub fn resolve(statement: &mut Statement, catalog: &dyn Catalog) -> Result<Labels> {
    let mut resolver = Resolver::new(catalog);
    resolver.context = context_of(statement);
    visit_mut(statement, &mut resolver)?;
    Ok(resolver.into_labels())
}

fn context_of(statement: &Statement) -> Context {
    match statement {
        Statement::Explain(explain) => context_of(&explain.statement),
        Statement::CopyTo(copy) if matches!(copy.source, CopyToSource::Query(_)) => Context::Stored,
        _ => Context::Result,
    }
}

/// Whether a table of this name is read anywhere in `query`.
pub(crate) fn mentions(query: &Query, name: &Ident) -> bool {
    struct Mentions<'a>(&'a Ident);
    impl Visitor for Mentions<'_> {
        type Break = ();

        fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
            let [part] = relation.0.as_slice() else { return ControlFlow::Continue(()) };
            match part.as_ident() {
                Some(ident) if ident.value.eq_ignore_ascii_case(&self.0.value) => {
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    query.visit(&mut Mentions(name)).is_break()
}
