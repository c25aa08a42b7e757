//! The columns of tables and queries, and the visible queries of WITH.

use datafusion::sql::sqlparser::ast::{
    Cte, Ident, ObjectName, Query, SetExpr, TableAlias, TableFactor,
};

use super::super::build;
use super::from;
use super::resolver::{Context, Frame, Resolver, orders_by_columns};
use super::scope::{Column, Meaning, Scope};
use crate::error::Result;

/// A query of WITH.
pub(super) struct Named {
    pub(super) name: String,
    pub(super) columns: Option<Vec<Column>>,
    /// Its generated name, if an enclosing query has one of the same name, which DataFusion
    /// refuses.
    pub(super) own: Option<String>,
}

impl Resolver<'_> {
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

    /// The query of WITH that a name means.
    pub(super) fn cte(&self, folded: &str) -> Option<&Named> {
        self.frames.iter().rev().find_map(|frame| {
            let mut ctes = frame.ctes.iter().take(frame.ctes_visible).rev();
            ctes.find(|named| named.name == folded)
        })
    }

    /// The columns of a subquery.
    pub(super) fn columns_of_query(&mut self, query: &Query) -> Result<Option<Vec<Column>>> {
        if !query.pipe_operators.is_empty() {
            return Ok(None);
        }
        self.frames.push(Frame { orders_by_columns: orders_by_columns(query), ..Frame::default() });
        let columns = self.read_ctes(query).and_then(|()| self.columns_of_set(&query.body));
        self.frames.pop();
        columns
    }

    pub(super) fn columns_of_set(&mut self, set: &SetExpr) -> Result<Option<Vec<Column>>> {
        let mut set = set;
        loop {
            set = match set {
                SetExpr::SetOperation { left, .. } => left,
                SetExpr::Query(query) => return self.columns_of_query(query),
                SetExpr::Select(select) => {
                    return Ok(self.read(select, Context::Inner)?.outputs.clone());
                }
                SetExpr::Values(values) => {
                    let width = values.rows.first().map_or(0, |row| row.content.len());
                    let column = |i| Column::named(format!("column{i}"));
                    return Ok(Some((1..=width).map(column).collect()));
                }
                _ => return Ok(None),
            };
        }
    }

    /// Adds the queries of WITH of `query` to the top frame.
    pub(super) fn read_ctes(&mut self, query: &Query) -> Result<()> {
        let Some(with) = &query.with else { return Ok(()) };
        for Cte { alias, query, .. } in &with.cte_tables {
            let name = self.fold(&alias.name);
            let columns = if with.recursive {
                self.columns_of_recursive(alias, query)?
            } else {
                self.columns_of_query(query)?
            };
            let columns = from::renamed(self, alias, columns);
            self.add_cte(name, columns, std::ptr::from_ref(query.as_ref()), with.recursive);
        }
        Ok(())
    }

    /// Its first branch cannot read the query itself; the others see the columns of the first.
    pub(super) fn columns_of_recursive(
        &mut self,
        alias: &TableAlias,
        query: &Query,
    ) -> Result<Option<Vec<Column>>> {
        let first = match query.body.as_ref() {
            SetExpr::SetOperation { left, .. } => {
                self.frames.push(Frame::default());
                let columns = self.columns_of_set(left);
                self.frames.pop();
                columns?
            }
            _ => return self.columns_of_query(query),
        };
        Ok(from::renamed(self, alias, first))
    }

    pub(super) fn add_cte(
        &mut self,
        name: String,
        columns: Option<Vec<Column>>,
        query: *const Query,
        recursive: bool,
    ) {
        if let Some(frame) = self.frames.last_mut() {
            frame.ctes.push(Named { name, columns, own: None });
            frame.ctes_visible = frame.ctes.len();
            frame.cte_queries.push(query);
            frame.recursive = recursive;
        }
    }

    /// Renames queries of WITH that shadow those of an enclosing query.
    pub(super) fn rename_hiding(&mut self, query: &mut Query) {
        let (Some(with), Some((_, around))) = (&mut query.with, self.frames.split_last()) else {
            return;
        };
        let hides = |name: &str| {
            around.iter().any(|frame| frame.ctes.iter().any(|named| named.name == name))
        };
        let ctes = self.frames.last().map(|frame| &frame.ctes);
        let names: Vec<_> = ctes.into_iter().flatten().map(|named| named.name.clone()).collect();
        let hiding: Vec<_> = names.iter().map(|name| hides(name)).collect();
        for (i, cte) in with.cte_tables.iter_mut().enumerate() {
            if hiding.get(i) != Some(&true) {
                continue;
            }
            let own = self.unused_name(&names[i]);
            cte.alias.name = build::quoted(&own);
            if let Some(named) = self.frames.last_mut().and_then(|frame| frame.ctes.get_mut(i)) {
                named.own = Some(own);
            }
        }
    }

    /// Replaces the name of a query of WITH by its generated name.
    pub(super) fn read_by_own_name(&self, table: &mut TableFactor) {
        let TableFactor::Table { name, alias, args: None, .. } = table else { return };
        let [part] = name.0.as_slice() else { return };
        let Some(ident) = part.as_ident().cloned() else { return };
        let Some(own) = self.cte(&self.fold(&ident)).and_then(|named| named.own.as_ref()) else {
            return;
        };
        *name = ObjectName::from(vec![build::quoted(own)]);
        alias.get_or_insert_with(|| TableAlias {
            explicit: true,
            name: ident,
            columns: Vec::new(),
            at: None,
        });
    }
}
