//! The columns of queries, and the queries of WITH.

use std::rc::Rc;

use datafusion::sql::sqlparser::ast::{
    Cte, Expr, ObjectName, OrderBy, OrderByKind, Query, Select, SetExpr, TableAlias, TableFactor,
};

use super::super::build;
use super::from;
use super::read::Read;
use super::resolver::{Context, Frame, Named, Resolver};
use super::scope::Column;
use super::select;
use crate::error::Result;

impl Resolver<'_> {
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

    /// Reads a SELECT, or returns the cached result.
    pub(super) fn read(&mut self, select: &Select, context: Context) -> Result<Rc<Read>> {
        let at = std::ptr::from_ref(select);
        if let Some(read) = self.reads.get(&at) {
            return Ok(Rc::clone(read));
        }
        let hidden = self.frames.last().is_some_and(|frame| frame.orders_by_columns);
        let read = Rc::new(select::read(self, select, (context, hidden))?);
        self.reads.insert(at, Rc::clone(&read));
        Ok(read)
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

/// True if the query is a SELECT with an ORDER BY of more than names and positions of its columns.
pub(super) fn orders_by_columns(query: &Query) -> bool {
    let Some(OrderBy { kind: OrderByKind::Expressions(exprs), .. }) = &query.order_by else {
        return false;
    };
    matches!(query.body.as_ref(), SetExpr::Select(_))
        && exprs.iter().any(|by| !matches!(by.expr, Expr::Identifier(_) | Expr::Value(_)))
}
