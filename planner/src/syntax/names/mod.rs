//! Resolves column names where DataFusion 55.2 finds another column or none:
//!
//! - the column of `USING` and of `NATURAL` in a FULL or RIGHT join, which is that of either side:
//!   DataFusion takes the left one;
//! - unquoted names that differ from the only possible column in case only;
//! - columns that share a name, in a result or in a subquery: DataFusion requires that all differ.
//!   Later ones get generated names, and [`Labels`] restores the wanted names in the result.
//!
//! The resolver knows names but no types, and leaves to DataFusion what it does not know.

mod access;
mod apply;
mod from;
mod item;
mod queries;
mod read;
mod resolver;
mod scope;
mod select;
#[cfg(test)]
mod tests;
mod visitor;

use datafusion::sql::parser::{CopyToSource, Statement};
use datafusion::sql::sqlparser::ast::ObjectName;

use self::resolver::{Context, Resolver};
use super::visit::visit_mut;
use crate::error::Result;

/// What the resolver needs to know about tables and functions.
pub trait Catalog {
    /// The names of a table's columns, if the table exists.
    fn columns(&self, table: &ObjectName) -> Option<Vec<String>>;

    /// True if the function returns a value per row, and so takes no clause like OVER.
    fn is_scalar(&self, function: &str) -> bool;

    /// True if the function may return another value each time for the same arguments.
    fn is_volatile(&self, function: &str) -> bool;

    /// True if unquoted names are folded to lower case.
    fn folds_names(&self) -> bool;
}

/// The names to show for the columns of a result, by their names in the plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels {
    labels: Vec<(String, Label)>,
}

/// The name to show for a column.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Label {
    Name(String),
    /// The name of the column at this position, or the text if the positions do not match the
    /// result.
    LikeColumn(usize, String),
}

impl Labels {
    /// True if there are no columns to rename.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The names to show for columns of these names.
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

/// Qualifies the names in `statement` with the columns that they mean.
///
/// # Errors
/// If a name can mean several columns.
pub fn resolve(statement: &mut Statement, catalog: &dyn Catalog) -> Result<Labels> {
    let mut resolver = Resolver::new(catalog, |resolver, query| resolver.columns_of_query(query));
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
