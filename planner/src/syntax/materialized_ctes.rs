//! Materializes nondeterministic queries of `WITH` that are read more than once.
//!
//! DataFusion 55.2 inlines such a query at each of its names. Evaluated again, it could return
//! other rows if it has volatile functions or a limit, or if it numbers rows without a total order.
//! Here it becomes a table that is computed once, before the statement.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Cte, Distinct, Expr, Function, Ident, ObjectName, Query, Select, SetExpr, Statement as Sql,
    Visitor, VisitorMut, With,
};

use super::build;
use super::names::Catalog;
use super::visit::{step, visit, visit_mut};
use super::walk::{mentions, walk};
use crate::error::{Error, Result};

/// A query that is computed before the statement that reads it.
#[derive(Debug, Clone)]
pub struct MaterializedCte {
    /// The table that the statement reads instead.
    pub name: String,
    /// The query that fills the table.
    pub query: Box<Query>,
}

/// Order-sensitive functions: their result depends on the order of the rows.
const ORDER_SENSITIVE: &[&str] = &[
    "row_number",
    "ntile",
    "lag",
    "lead",
    "first_value",
    "last_value",
    "nth_value",
    "array_agg",
    "string_agg",
];

/// Replaces each such query by a table. Returns the new statement and the queries in the order in
/// which they must be computed; `None` if there are none.
///
/// # Errors
/// If a statement that runs later, such as a view, has such a query.
pub fn materialize_ctes(
    statement: &Statement,
    catalog: &dyn Catalog,
) -> Result<Option<(Statement, Vec<MaterializedCte>)>> {
    let mut with = HasWith(false);
    visit(statement, &mut with)?;
    if !with.0 {
        return Ok(None);
    }
    let mut changed = statement.clone();
    let mut walk = Walk { catalog, scopes: Vec::new(), materialized: Vec::new() };
    visit_mut(&mut changed, &mut walk)?;
    if walk.materialized.is_empty() {
        return Ok(None);
    }
    if runs_later(statement) {
        let message =
            "a view or prepared statement cannot read a nondeterministic query of WITH twice";
        return Err(Error::statement(message)
            .with_hint("compute it first: CREATE TABLE name AS SELECT ..."));
    }
    Ok(Some((changed, walk.materialized)))
}

/// True if the statement runs later.
fn runs_later(statement: &Statement) -> bool {
    match statement {
        Statement::Explain(explain) => runs_later(&explain.statement),
        Statement::Statement(statement) => {
            matches!(statement.as_ref(), Sql::CreateView(_) | Sql::Prepare { .. })
        }
        _ => false,
    }
}

struct HasWith(bool);

impl Visitor for HasWith {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Error> {
        self.0 |= query.with.is_some();
        ControlFlow::Continue(())
    }
}

struct Walk<'a> {
    catalog: &'a dyn Catalog,
    /// The visible queries of WITH, for each enclosing query.
    scopes: Vec<Vec<Cte>>,
    materialized: Vec<MaterializedCte>,
}

impl VisitorMut for Walk<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        self.scopes.push(Vec::new());
        step(self.with(query))
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<Error> {
        self.scopes.pop();
        ControlFlow::Continue(())
    }
}

impl Walk<'_> {
    fn with(&mut self, query: &mut Query) -> Result<()> {
        let count = query.with.as_ref().map_or(0, |with| with.cte_tables.len());
        let mut nondeterministic: Vec<Ident> = Vec::new();
        for i in 0..count {
            let Some(with) = &query.with else { break };
            let recursive = with.recursive;
            let cte = &with.cte_tables[i];
            let name = cte.alias.name.clone();
            let by_others = nondeterministic.iter().any(|other| mentions(&cte.query, other));
            let is_nondeterministic = by_others || self.is_nondeterministic(&cte.query);
            let mut cte = cte.clone();
            if is_nondeterministic && times_read(query, i, &name) > 1 {
                self.materialize(query, i, recursive);
                let Some(with) = &query.with else { break };
                cte = with.cte_tables[i].clone();
            } else if is_nondeterministic {
                nondeterministic.push(name);
            }
            if let Some(scope) = self.scopes.last_mut() {
                scope.push(cte);
            }
        }
        Ok(())
    }

    fn is_nondeterministic(&self, query: &Query) -> bool {
        walk(query, &mut Nondeterministic { catalog: self.catalog }).is_break()
    }

    /// Replaces the query by a table.
    fn materialize(&mut self, query: &mut Query, i: usize, recursive: bool) {
        let Some(with) = &mut query.with else { return };
        let table =
            format!("with:{}:{}", with.cte_tables[i].alias.name.value, self.materialized.len() + 1);
        let from = build::table(ObjectName::from(vec![build::quoted(&table)]));
        let cte = &mut with.cte_tables[i];
        let mut before: Vec<Cte> = self.scopes.iter().flatten().cloned().collect();
        let body = if recursive && mentions(&cte.query, &cte.alias.name) {
            before.push(cte.clone());
            let own = build::table(ObjectName::from(vec![cte.alias.name.clone()]));
            build::all_of(own)
        } else {
            (*cte.query).clone()
        };
        let mut whole = build::query(SetExpr::Query(Box::new(body)));
        if !before.is_empty() {
            whole.with =
                Some(With { with_token: with.with_token.clone(), recursive, cte_tables: before });
        }
        *cte.query = build::all_of(from);
        self.materialized.push(MaterializedCte { name: table, query: Box::new(whole) });
    }
}

/// The number of reads of the query by later queries of WITH and by the main query.
fn times_read(query: &Query, i: usize, name: &Ident) -> usize {
    struct Count<'a>(&'a Ident, usize);
    impl Visitor for Count<'_> {
        type Break = ();

        fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
            let [part] = relation.0.as_slice() else { return ControlFlow::Continue(()) };
            if part.as_ident().is_some_and(|ident| ident.value.eq_ignore_ascii_case(&self.0.value))
            {
                self.1 += 1;
            }
            ControlFlow::Continue(())
        }
    }
    let mut count = Count(name, 0);
    let Query { with, body, order_by, limit_clause, pipe_operators, .. } = query;
    let _ = walk(body, &mut count);
    let _ = walk(order_by, &mut count);
    let _ = walk(limit_clause, &mut count);
    let _ = walk(pipe_operators, &mut count);
    for cte in with.iter().flat_map(|with| &with.cte_tables[i + 1..]) {
        let _ = walk(&cte.query, &mut count);
    }
    count.1
}

/// Stops at the first sign that a query is nondeterministic.
struct Nondeterministic<'a> {
    catalog: &'a dyn Catalog,
}

impl Visitor for Nondeterministic<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        match query.limit_clause {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        match select.distinct {
            Some(Distinct::On(_)) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let Expr::Function(Function { name, .. }) = expr else { return ControlFlow::Continue(()) };
        let [part] = name.0.as_slice() else { return ControlFlow::Continue(()) };
        let Some(ident) = part.as_ident() else { return ControlFlow::Continue(()) };
        let name = ident.value.to_lowercase();
        match ORDER_SENSITIVE.contains(&name.as_str()) || self.catalog.is_volatile(&name) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}
