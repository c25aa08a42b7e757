//! What a name means: the [`Resolver`] has the scopes of the enclosing queries.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use datafusion::sql::sqlparser::ast::{Expr, Ident, ObjectName, OrderBy, Query, Select};

use super::super::build;
use super::read::Read;
use super::scope::{Column, Meaning, Scope, Written, named_like};
use super::{Catalog, Label, Labels};
use crate::error::Result;

/// The destination of a query's columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Context {
    /// The client: any names are allowed.
    Result,
    /// A table, a view or a file: names must differ, and are kept.
    Stored,
    /// Another query.
    Inner,
}

/// A query of WITH.
pub(super) struct Named {
    pub(super) name: String,
    pub(super) columns: Option<Vec<Column>>,
    /// Its generated name, if an enclosing query has one of the same name, which DataFusion
    /// refuses.
    pub(super) own: Option<String>,
}

/// The state of one query or select.
#[derive(Default)]
pub(super) struct Frame {
    pub(super) ctes: Vec<Named>,
    /// The number of queries of WITH that are visible now.
    pub(super) ctes_visible: usize,
    /// The queries of WITH, to know when the visitor is in one.
    pub(super) cte_queries: Vec<*const Query>,
    pub(super) recursive: bool,
    pub(super) scope: Option<Scope>,
    /// The names that the select list defines.
    pub(super) outputs: Option<Vec<Column>>,
    /// Taken out while the body is visited: names in it mean the result's columns first.
    pub(super) order_by: Option<OrderBy>,
    /// True for a query whose body is a SELECT.
    pub(super) is_select: bool,
    /// The destination of the columns of a SELECT in it.
    pub(super) context: Option<Context>,
    /// True if the ORDER BY of the query, which is a SELECT, may refer to columns of FROM.
    pub(super) orders_by_columns: bool,
    /// True for a query in FROM without LATERAL, which does not see the other relations.
    pub(super) is_derived: bool,
}

/// The columns of a subquery: `None` if they are not known.
type ColumnsOf<'a> = fn(&mut Resolver<'a>, &Query) -> Result<Option<Vec<Column>>>;

/// Resolves names in the scopes of the enclosing queries.
pub(super) struct Resolver<'a> {
    pub(super) catalog: &'a dyn Catalog,
    pub(super) context: Context,
    pub(super) frames: Vec<Frame>,
    /// Reads a subquery, whose FROM may have further ones.
    pub(super) columns_of: ColumnsOf<'a>,
    /// SELECTs that were read before the visitor reached them.
    pub(super) reads: HashMap<*const Select, Rc<Read>>,
    names_used: HashMap<String, usize>,
    names_stored: HashSet<String>,
    labels: Vec<(String, Label)>,
    /// Names of fields, which are not columns.
    pub(super) fields: HashSet<*const Expr>,
    /// Queries in FROM without LATERAL.
    pub(super) derived: HashSet<*const Query>,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(catalog: &'a dyn Catalog, columns_of: ColumnsOf<'a>) -> Self {
        Self {
            catalog,
            context: Context::Result,
            frames: Vec::new(),
            columns_of,
            reads: HashMap::new(),
            names_used: HashMap::new(),
            names_stored: HashSet::new(),
            labels: Vec::new(),
            fields: HashSet::new(),
            derived: HashSet::new(),
        }
    }

    pub(super) fn into_labels(self) -> Labels {
        Labels { labels: self.labels }
    }

    /// A name as DataFusion looks it up.
    pub(super) fn fold(&self, ident: &Ident) -> String {
        match ident.quote_style.is_none() && self.catalog.folds_names() {
            true => ident.value.to_ascii_lowercase(),
            false => ident.value.clone(),
        }
    }

    pub(super) fn written<'i>(&self, ident: &'i Ident) -> Written<'i> {
        Written { ident, folded: self.fold(ident) }
    }

    pub(super) fn path_of(&self, name: &ObjectName) -> Vec<String> {
        name.0.iter().filter_map(|part| part.as_ident()).map(|ident| self.fold(ident)).collect()
    }

    /// A unique column name based on `base`.
    pub(super) fn unused_name(&mut self, base: &str) -> String {
        let used = self.names_used.entry(base.to_owned()).or_default();
        *used += 1;
        format!("{base}:{used}")
    }

    /// Reserves the name for a stored column; false if it is taken.
    pub(super) fn take_stored_name(&mut self, name: &str) -> bool {
        self.names_stored.insert(name.to_owned())
    }

    pub(super) fn label(&mut self, actual: String, shown: String) {
        self.labels.push((actual, Label::Name(shown)));
    }

    pub(super) fn label_like(&mut self, actual: String, position: usize, text: String) {
        self.labels.push((actual, Label::LikeColumn(position, text)));
    }

    /// The meaning of an unqualified name.
    pub(super) fn find(&self, ident: &Ident) -> Result<Meaning> {
        let is_variable = ident.quote_style.is_none() && ident.value.starts_with('@');
        if is_variable || ident.quote_style == Some(build::SETTLED) {
            return Ok(Meaning::AsWritten);
        }
        let name = self.written(ident);
        for frame in self.frames.iter().rev() {
            let Some(scope) = &frame.scope else { continue };
            match scope.find(&name)? {
                Meaning::Nothing => {}
                found => return Ok(found),
            }
        }
        // GROUP BY and HAVING may name a column of the select list.
        let outputs = self.frames.last().and_then(|frame| frame.outputs.as_deref());
        Ok(named_like(outputs, &name))
    }

    /// The relation of the innermost scope that has the column.
    pub(super) fn relation_of(&self, expr: &Expr) -> Option<usize> {
        let scope = self.frames.last()?.scope.as_ref()?;
        match expr {
            Expr::Identifier(ident) => scope.relation_with(&self.fold(ident)),
            Expr::CompoundIdentifier(idents) => {
                let (_, path) = idents.split_last()?;
                let path: Vec<_> = path.iter().map(|ident| self.fold(ident)).collect();
                scope.relations.iter().position(|relation| relation.is(&path))
            }
            _ => None,
        }
    }

    /// Runs `work` with names resolved in `scope`.
    pub(super) fn within<T>(&mut self, scope: Scope, work: impl FnOnce(&mut Self) -> T) -> T {
        self.frames.push(Frame { scope: Some(scope), ..Frame::default() });
        let done = work(self);
        self.frames.pop();
        done
    }

    /// The scopes whose columns can be named here, from the inside out.
    pub(super) fn seen_scopes(&self) -> impl Iterator<Item = &Scope> {
        let mut is_hidden = false;
        self.frames.iter().rev().filter_map(move |frame| {
            let scope = frame.scope.as_ref().filter(|_| !is_hidden);
            is_hidden = frame.is_derived || is_hidden && frame.scope.is_none();
            scope
        })
    }

    /// The meaning of a qualified name, or of a field of a column.
    pub(super) fn find_compound(&self, idents: &[Ident]) -> Result<Meaning> {
        if idents.iter().all(|ident| ident.quote_style == Some(build::SETTLED)) {
            return Ok(Meaning::AsWritten);
        }
        let names: Vec<_> = idents.iter().map(|ident| self.written(ident)).collect();
        let scopes = || self.frames.iter().rev().filter_map(|frame| frame.scope.as_ref());
        let of = self.seen_scopes().enumerate().find_map(|(at, scope)| {
            scope.relation_of(&names).map(|(_, _, length)| (at, scope, names.len() > length + 1))
        });
        if let Some((at, scope, is_field)) = of
            && (at > 0 && is_field
                || self.seen_scopes().take(at).any(|inner| inner.has_column(&names[0])))
        {
            return Ok(scope.column_of_outer(&names));
        }
        for scope in scopes() {
            match scope.find_compound(&names)? {
                Meaning::Nothing => {}
                found => return Ok(found),
            }
        }
        Ok(Meaning::Nothing)
    }

    pub(super) fn columns_of_table(&self, name: &ObjectName) -> Option<Vec<Column>> {
        if let [part] = name.0.as_slice()
            && let Some(ident) = part.as_ident()
            && let Some(named) = self.cte(&self.fold(ident))
        {
            return named.columns.clone();
        }
        let columns = self.catalog.columns(name)?;
        Some(columns.into_iter().map(Column::named).collect())
    }

    /// The query of WITH that a name means.
    pub(super) fn cte(&self, folded: &str) -> Option<&Named> {
        self.frames.iter().rev().find_map(|frame| {
            let mut ctes = frame.ctes.iter().take(frame.ctes_visible).rev();
            ctes.find(|named| named.name == folded)
        })
    }
}
