//! The visitor that resolves names: it enters and leaves the scopes of queries, and replaces names
//! by what they mean there.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, Assignment, AssignmentTarget, Delete, Expr, FromTable, Insert, ObjectName, OrderBy,
    OrderByKind, Query, Select, SetExpr, Statement, TableAlias, TableFactor, TableObject,
    TableWithJoins, Update, VisitorMut,
};

use super::super::build;
use super::super::reshape::with_grouping_sets;
use super::super::visit::{done, step};
use super::queries::orders_by_columns;
use super::read::Read;
use super::resolver::{Context, Frame, Resolver};
use super::scope::{Column, Meaning, Relation, Scope, named_like};
use super::{access, apply, from, item};
use crate::error::{Error, Result};
use crate::syntax::walk::walk_mut;

impl Resolver<'_> {
    fn enter_query(&mut self, query: &mut Query) -> Result<()> {
        let here = std::ptr::from_ref(query);
        if let Some(frame) = self.frames.last_mut()
            && let Some(i) = frame.cte_queries.iter().position(|cte| *cte == here)
        {
            frame.ctes_visible = i + usize::from(frame.recursive);
        }
        let context = self.context_within(query);
        let orders_by_columns = orders_by_columns(query);
        let is_derived = self.derived.remove(&here);
        let context = Some(context);
        self.frames.push(Frame { context, orders_by_columns, is_derived, ..Frame::default() });
        self.read_ctes(query)?;
        if let (Some(with), Some(frame)) = (&mut query.with, self.frames.last()) {
            for (cte, named) in with.cte_tables.iter_mut().zip(&frame.ctes) {
                if names_some(&cte.alias) {
                    from::name_all(&mut cte.alias, named.columns.clone());
                }
            }
        }
        self.rename_hiding(query);
        let outputs = match query.body.as_ref() {
            SetExpr::Select(_) => None,
            set if query.order_by.is_some() => self.columns_of_set(set)?,
            _ => None,
        };
        if let Some(frame) = self.frames.last_mut() {
            frame.order_by = query.order_by.take();
            frame.is_select = matches!(*query.body, SetExpr::Select(_));
            frame.outputs = outputs;
        }
        Ok(())
    }

    fn enter_table(&mut self, table: &mut TableFactor) -> Result<()> {
        if let TableFactor::Derived { lateral: false, subquery, .. } = table {
            self.derived.insert(std::ptr::from_ref(subquery.as_ref()));
        }
        match table {
            TableFactor::Table { name, alias: Some(alias), args: None, .. }
                if names_some(alias) =>
            {
                from::name_all(alias, self.columns_of_table(name));
            }
            TableFactor::Derived { subquery, alias: Some(alias), .. } if names_some(alias) => {
                from::name_all(alias, self.columns_of_query(subquery)?);
            }
            _ => {}
        }
        self.read_by_own_name(table);
        Ok(())
    }

    /// The destination of the columns of SELECTs that are the body of `query`, or branches of it.
    fn context_within(&self, query: &Query) -> Context {
        let own = match self.frames.is_empty() {
            true => self.context,
            false => Context::Inner,
        };
        match (own, query.body.as_ref()) {
            // DataFusion identifies columns of branches by name only.
            (Context::Result, SetExpr::Select(_)) | (Context::Stored, _) => own,
            _ => Context::Inner,
        }
    }

    fn leave_query(&mut self, query: &mut Query) -> Result<()> {
        let Some(mut frame) = self.frames.pop() else { return Ok(()) };
        query.order_by = frame.order_by.take();
        if let Some(order_by) = &mut query.order_by {
            if !frame.is_select {
                let columns = frame.outputs.take();
                let relation = Relation { path: Vec::new(), columns, visible: true };
                frame.scope = Some(Scope { relations: vec![relation], ..Scope::default() });
            }
            self.frames.push(frame);
            let done = self.order(order_by);
            self.frames.pop();
            done?;
        }
        if let Some(frame) = self.frames.last_mut() {
            frame.ctes_visible = frame.ctes.len();
        }
        Ok(())
    }

    /// An unqualified name in ORDER BY means a result column before a column of FROM.
    fn order(&mut self, order_by: &mut OrderBy) -> Result<()> {
        let OrderByKind::Expressions(exprs) = &mut order_by.kind else { return Ok(()) };
        for by in exprs {
            if let Expr::Identifier(ident) = &by.expr {
                let outputs = self.frames.last().and_then(|frame| frame.outputs.as_deref());
                match item::of_result(outputs, &self.written(ident))? {
                    Meaning::AsWritten => continue,
                    Meaning::Is(expr) => {
                        by.expr = expr;
                        continue;
                    }
                    Meaning::Nothing => {}
                }
            }
            done(walk_mut(by, self))?;
        }
        Ok(())
    }

    fn enter_select(&mut self, select: &mut Select) -> Result<()> {
        let context = self.frames.last().and_then(|frame| frame.context);
        let context = context.unwrap_or(Context::Inner);
        let read = self.read(select, context)?;
        let Read { from, projection, outputs } = read.as_ref();
        let scope = apply::from(from.clone(), &mut select.from);
        if let Some(projection) = projection {
            select.projection.clone_from(projection);
        }
        self.frames.push(Frame {
            scope: Some(scope),
            outputs: outputs.clone(),
            ..Frame::default()
        });
        Ok(())
    }

    /// The ORDER BY of the query sees what the SELECT sees.
    fn leave_select(&mut self) {
        let Some(frame) = self.frames.pop() else { return };
        if let Some(query) = self.frames.last_mut()
            && query.is_select
        {
            query.scope = frame.scope;
            query.outputs = frame.outputs;
        }
    }

    fn replace(&mut self, expr: &mut Expr) -> Result<()> {
        let meaning = match expr {
            Expr::Identifier(_) if self.fields.contains(&std::ptr::from_ref(expr)) => return Ok(()),
            Expr::Identifier(ident) => self.find(ident)?,
            Expr::CompoundIdentifier(idents) => self.find_compound(idents)?,
            Expr::Function(function) => return item::check_clauses(self.catalog, function),
            Expr::Lambda(_) => {
                self.frames.pop();
                return Ok(());
            }
            Expr::CompoundFieldAccess { root, access_chain } => {
                fields_of(access_chain).for_each(|field| {
                    self.fields.remove(&field);
                });
                access::spell(access_chain, matches!(**root, Expr::Identifier(_)), |field| {
                    self.fold(field)
                });
                return Ok(());
            }
            _ => return Ok(()),
        };
        if let Meaning::Is(other) = meaning {
            *expr = other;
        }
        Ok(())
    }

    fn enter_expr(&mut self, expr: &Expr) {
        match expr {
            Expr::CompoundFieldAccess { root: _, access_chain } => {
                self.fields.extend(fields_of(access_chain));
            }
            // Its parameters are names within it.
            Expr::Lambda(lambda) => {
                let columns =
                    lambda.params.iter().map(|param| Column::named(self.fold(&param.name)));
                let columns = Some(columns.collect());
                let relation = Relation { path: Vec::new(), columns, visible: true };
                let scope = Scope { relations: vec![relation], ..Scope::default() };
                self.frames.push(Frame { scope: Some(scope), ..Frame::default() });
            }
            _ => {}
        }
    }

    fn enter_statement(&mut self, statement: &mut Statement) -> Result<()> {
        match statement {
            Statement::CreateTable(_) | Statement::CreateView(_) | Statement::Prepare { .. } => {
                self.context = Context::Stored;
            }
            Statement::Insert(Insert { table: TableObject::TableName(table), columns, .. }) => {
                self.context = Context::Inner;
                if let Some(of) = self.columns_of_table(table) {
                    columns.iter_mut().for_each(|column| self.spell(column, &of));
                }
            }
            Statement::Update(Update { table, assignments, .. }) => {
                let scope = self.scope_of_target(table);
                let columns = scope.relations.first().and_then(|relation| relation.columns.clone());
                for Assignment { target, value: _ } in assignments {
                    if let (AssignmentTarget::ColumnName(name), Some(columns)) = (target, &columns)
                    {
                        self.spell(name, columns);
                    }
                }
                self.frames.push(Frame { scope: Some(scope), ..Frame::default() });
            }
            Statement::Delete(Delete { from, .. }) => {
                let (FromTable::WithFromKeyword(tables) | FromTable::WithoutKeyword(tables)) = from;
                let scope = tables.first().map(|table| self.scope_of_target(table));
                self.frames.push(Frame { scope, ..Frame::default() });
            }
            _ => {}
        }
        Ok(())
    }

    fn scope_of_target(&self, table: &TableWithJoins) -> Scope {
        let TableFactor::Table { name, alias, .. } = &table.relation else {
            return Scope::default();
        };
        let columns = self.columns_of_table(name);
        let relation = match alias {
            Some(alias) => from::aliased(self, alias, columns),
            None => Relation { path: self.path_of(name), columns, visible: true },
        };
        Scope { relations: vec![relation], ..Scope::default() }
    }

    /// Writes a column name in the spelling of the table.
    fn spell(&self, name: &mut ObjectName, columns: &[Column]) {
        let [part] = name.0.as_slice() else { return };
        let Some(ident) = part.as_ident() else { return };
        if let Meaning::Is(Expr::Identifier(found)) =
            named_like(Some(columns), &self.written(ident))
        {
            *name = ObjectName::from(vec![build::quoted(found.value)]);
        }
    }
}

/// True if an alias names columns.
fn names_some(alias: &TableAlias) -> bool {
    !alias.columns.is_empty()
}

/// The expressions that are names of fields.
fn fields_of(access: &[AccessExpr]) -> impl Iterator<Item = *const Expr> {
    access.iter().filter_map(|access| match access {
        AccessExpr::Dot(field) => Some(std::ptr::from_ref(field)),
        AccessExpr::Subscript(_) => None,
    })
}

impl VisitorMut for Resolver<'_> {
    type Break = Error;

    fn pre_visit_statement(&mut self, statement: &mut Statement) -> ControlFlow<Error> {
        step(self.enter_statement(statement))
    }

    fn post_visit_statement(&mut self, statement: &mut Statement) -> ControlFlow<Error> {
        if matches!(statement, Statement::Update(_) | Statement::Delete(_)) {
            self.frames.pop();
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<Error> {
        step(self.enter_table(table))
    }

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        step(self.enter_query(query))
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        step(self.leave_query(query))
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        step(self.enter_select(select))
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        self.leave_select();
        with_grouping_sets(&mut select.group_by);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        self.enter_expr(expr);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        step(self.replace(expr))
    }
}
