//! Rewrites subqueries that DataFusion's SQL planner refuses:
//!
//! - `(a, b) IN (SELECT x, y ...)`: DataFusion 55.2 compares single columns only. Both sides become
//!   rows, `__row_of(a, b)`, which a later rule splits again.
//! - `FROM t, generate_series(1, t.n)`: the arguments of a table function must be literals in
//!   DataFusion 55.2. With columns as arguments it becomes `UNNEST(generate_series(1, t.n))`, over
//!   the scalar function of that name, which returns a list.

use std::ops::ControlFlow;

use bigslice_functions::rows;
use datafusion::sql::parser::{CopyToSource, Statement};
use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident,
    ObjectName, Query, SetExpr, TableAlias, TableAliasColumnDef, TableFactor, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::walk::{any_expr, walk_mut};
use crate::error::{Error, Result};

/// Table functions that also exist as scalar functions that return lists.
const SERIES: &[&str] = &["generate_series", "range"];

/// The name of `LATERAL unnest(...)` in the parser.
const UNNEST: &str = "unnest";

/// Rewrites the statement and all queries in it.
pub(super) fn rewrite(statement: &mut Statement) -> Result<()> {
    let outcome = match statement {
        Statement::Statement(statement) => walk_mut(statement.as_mut(), &mut Change),
        Statement::Explain(explain) => return rewrite(&mut explain.statement),
        Statement::CopyTo(copy) => match &mut copy.source {
            CopyToSource::Query(query) => walk_mut(query.as_mut(), &mut Change),
            CopyToSource::Relation(_) => return Ok(()),
        },
        _ => return Ok(()),
    };
    match outcome {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

struct Change;

impl VisitorMut for Change {
    type Break = Box<Error>;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        let (left, query) = match expr {
            Expr::InSubquery { expr, subquery, .. } => (expr.as_mut(), subquery.as_mut()),
            Expr::AnyOp { left, right, .. } | Expr::AllOp { left, right, .. } => {
                match right.as_mut() {
                    Expr::Subquery(query) => (left.as_mut(), query.as_mut()),
                    _ => return ControlFlow::Continue(()),
                }
            }
            _ => return ControlFlow::Continue(()),
        };
        match compare_rows(left, query) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(Box::new(error)),
        }
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Self::Break> {
        if let Some(unnest) = series(factor) {
            *factor = unnest;
        }
        ControlFlow::Continue(())
    }
}

/// Turns a tuple and the query's select list into rows.
fn compare_rows(left: &mut Expr, query: &mut Query) -> Result<()> {
    if let Expr::Function(function) = left
        && function.name.to_string().eq_ignore_ascii_case("row")
        && let FunctionArguments::List(list) = &function.args
    {
        let columns = list.args.iter().map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
            _ => None,
        });
        if let Some(columns) = columns.collect() {
            *left = Expr::Tuple(columns);
        }
    }
    let Expr::Tuple(columns) = left else { return Ok(()) };
    let names: Vec<String> = (0..columns.len()).map(|n| format!("__c{n}")).collect();
    if let SetExpr::Select(select) = query.body.as_ref() {
        use datafusion::sql::sqlparser::ast::SelectItem;
        let is_listed = select.projection.iter().all(|item| {
            matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. })
        });
        if is_listed && select.projection.len() != columns.len() {
            return Err(Error::from(datafusion::common::plan_datafusion_err!(
                "cannot compare {} columns with the {} of a subquery",
                columns.len(),
                select.projection.len()
            )));
        }
    }
    let list = names.join(", ");
    let template = format!("SELECT {}({list}) FROM (SELECT 1) AS __rows({list})", rows::NAME);
    let parsed = Parser::new(&GenericDialect {})
        .try_with_sql(&template)
        .and_then(|mut parser| parser.parse_query())
        .map_err(|e| Error::from(datafusion::error::DataFusionError::from(e)))?;
    let inner = std::mem::replace(query, *parsed);
    if let SetExpr::Select(select) = query.body.as_mut()
        && let Some(from) = select.from.first_mut()
        && let TableFactor::Derived { subquery, .. } = &mut from.relation
    {
        **subquery = inner;
    }
    let columns = std::mem::take(columns);
    *left = call(ObjectName::from(vec![Ident::new(rows::NAME)]), columns);
    Ok(())
}

/// The table function as UNNEST, if it is a series with columns in its arguments.
fn series(factor: &TableFactor) -> Option<TableFactor> {
    let (name, args, alias) = match factor {
        TableFactor::Table { name, args: Some(args), alias, with_ordinality: false, .. } => {
            (name, &args.args, alias)
        }
        TableFactor::Function { name, args, alias, with_ordinality: false, .. } => {
            (name, args, alias)
        }
        _ => return None,
    };
    let [part] = name.0.as_slice() else { return None };
    let function = part.as_ident()?.value.to_ascii_lowercase();
    if function != UNNEST && !SERIES.contains(&function.as_str()) {
        return None;
    }
    let mut exprs = Vec::with_capacity(args.len());
    for arg in args {
        let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = arg else { return None };
        exprs.push(expr.clone());
    }
    if function != UNNEST && !exprs.iter().any(has_column) {
        return None;
    }
    let mut alias = alias.clone().unwrap_or_else(|| TableAlias {
        explicit: true,
        name: Ident::new(&function),
        columns: Vec::new(),
        at: None,
    });
    if alias.columns.is_empty() {
        let column = if function == UNNEST { UNNEST } else { "value" };
        alias.columns.push(TableAliasColumnDef::from_name(column));
    }
    let array_exprs = if function == UNNEST { exprs } else { vec![call(name.clone(), exprs)] };
    Some(TableFactor::UNNEST {
        alias: Some(alias),
        array_exprs,
        with_offset: false,
        with_offset_alias: None,
        with_ordinality: false,
    })
}

/// True if the expression refers to a column.
pub(super) fn has_column(expr: &Expr) -> bool {
    any_expr(expr, |expr| matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_)))
}

fn call(name: ObjectName, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)));
    Expr::Function(Function {
        name,
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: args.collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}
