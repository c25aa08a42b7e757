//! Rewrites clauses that DataFusion 55.2 refuses, ignores or misreads as clauses that it reads
//! correctly: `FROM t` alone, `FETCH FIRST` and `TOP`, `WITH ROLLUP`, named windows, `TABLESAMPLE`,
//! `ORDER BY ALL`, `LIKE ... ESCAPE`, `SIMILAR TO`, and the `ORDER BY` and `LIMIT` of a query
//! within `WITH RECURSIVE`.

mod calls;
mod decimals;
mod grouping_sets;
mod item_names;
mod kept_order;
mod named_casts;
mod ordinals;
mod pattern;
mod sample;
mod unnested;
mod windows;

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, LimitClause, OrderBy, OrderByExpr, OrderByKind, OrderByOptions, Query, Select,
    SelectFlavor, SelectItem, SetExpr, Statement, TableFactor, Top, TopQuantity, VisitorMut,
    WildcardAdditionalOptions, With,
};

use super::build::number;
use super::visit::step;
use super::walk::mentions;
use crate::error::{Error, Result};

pub(super) use grouping_sets::with_grouping_sets;
pub(super) use unnested::is_unnest;

/// Rewrites every node of a statement.
pub(crate) struct Reshape;

impl VisitorMut for Reshape {
    type Break = Error;

    fn pre_visit_statement(&mut self, statement: &mut Statement) -> ControlFlow<Error> {
        match statement {
            // All tables are temporary: they end with the session, and no other session sees them.
            Statement::CreateTable(table) => table.temporary = false,
            Statement::CreateView(view) => view.temporary = false,
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        step(reshape_query(query))
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        step(reshape_select(select))
    }

    fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<Error> {
        step(sample::reshape(table))
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        calls::reshape(expr);
        decimals::keep(expr);
        step(pattern::reshape(expr))
    }
}

fn reshape_query(query: &mut Query) -> Result<()> {
    if let Some(with) = &mut query.with {
        keep_order_of_recursive(with)?;
    }
    top_as_limit(query)?;
    fetch_as_limit(query)?;
    order_by_all(query)?;
    ordinals::by_name(query);
    unnested::order_above(query);
    kept_order::mark(query);
    decimals::cast_twice(&mut query.body);
    if let SetExpr::Select(select) = query.body.as_mut() {
        item_names::name_casts(select);
        windows::inline(select, query.order_by.as_mut())?;
        let order = match &mut query.order_by {
            Some(OrderBy { kind: OrderByKind::Expressions(keys), .. }) => keys.as_mut_slice(),
            _ => &mut [],
        };
        named_casts::name(select, order);
    } else {
        item_names::name_casts_of_set(&mut query.body);
        item_names::name_branches(&mut query.body);
    }
    Ok(())
}

/// DataFusion plans a `UNION` within `WITH RECURSIVE` without its `ORDER BY`, `LIMIT` and `WITH`.
fn keep_order_of_recursive(with: &mut With) -> Result<()> {
    if !with.recursive {
        return Ok(());
    }
    for cte in &mut with.cte_tables {
        let query = &mut cte.query;
        if !matches!(*query.body, SetExpr::SetOperation { .. }) {
            continue;
        }
        let bare = query.order_by.is_none()
            && query.limit_clause.is_none()
            && query.fetch.is_none()
            && query.with.is_none();
        if bare {
            continue;
        }
        if mentions(query, &cte.alias.name) {
            let message = format!(
                "the recursive query \"{}\" has a WITH, ORDER BY, LIMIT or OFFSET of its own",
                cte.alias.name.value
            );
            return Err(Error::statement(message)
                .with_hint("write it in the query that reads the recursive one"));
        }
        let inner = query.clone();
        query.with = None;
        query.order_by = None;
        query.limit_clause = None;
        query.fetch = None;
        *query.body = SetExpr::Query(inner);
    }
    Ok(())
}

fn top_as_limit(query: &mut Query) -> Result<()> {
    let SetExpr::Select(select) = query.body.as_mut() else { return Ok(()) };
    let Some(Top { with_ties, percent, quantity }) = select.top.take() else { return Ok(()) };
    if with_ties || percent {
        return Err(Error::unsupported("TOP with PERCENT or WITH TIES"));
    }
    let quantity = match quantity {
        Some(TopQuantity::Expr(expr)) => expr,
        Some(TopQuantity::Constant(rows)) => number(&rows.to_string()),
        None => number("1"),
    };
    limit_to(query, quantity, "TOP")
}

fn fetch_as_limit(query: &mut Query) -> Result<()> {
    let Some(fetch) = query.fetch.take() else { return Ok(()) };
    if fetch.with_ties {
        return Err(Error::unsupported("FETCH ... WITH TIES").with_hint(
            "number the rows with rank() OVER (ORDER BY ...) and keep those up to the number",
        ));
    }
    if fetch.percent {
        return Err(Error::unsupported("FETCH ... PERCENT"));
    }
    limit_to(query, fetch.quantity.unwrap_or_else(|| number("1")), "FETCH")
}

fn limit_to(query: &mut Query, rows: Expr, clause: &str) -> Result<()> {
    match &mut query.limit_clause {
        none @ None => {
            *none = Some(LimitClause::LimitOffset {
                limit: Some(rows),
                offset: None,
                limit_by: Vec::new(),
            });
        }
        Some(LimitClause::LimitOffset { limit: limit @ None, .. }) => *limit = Some(rows),
        Some(_) => {
            return Err(Error::statement(format!("a query has either LIMIT or {clause}")));
        }
    }
    Ok(())
}

/// `ORDER BY ALL` as positions. DataFusion ignores it after a set operation, and only positions
/// find expressions and duplicate column names.
fn order_by_all(query: &mut Query) -> Result<()> {
    let Some(OrderBy { kind: OrderByKind::All(options), .. }) = &query.order_by else {
        return Ok(());
    };
    let options = *options;
    let Some(width) = width(&query.body) else {
        return match *query.body {
            SetExpr::Select(_) => Ok(()),
            _ => Err(Error::unsupported("ORDER BY ALL after a set operation of SELECT *")
                .with_hint("name the columns")),
        };
    };
    query.order_by = Some(OrderBy {
        kind: OrderByKind::Expressions((1..=width).map(|i| by_position(i, options)).collect()),
        interpolate: None,
    });
    Ok(())
}

fn by_position(position: usize, options: OrderByOptions) -> OrderByExpr {
    OrderByExpr { expr: number(&position.to_string()), options, with_fill: None }
}

/// The number of columns, if known.
fn width(set: &SetExpr) -> Option<usize> {
    let mut set = set;
    loop {
        set = match set {
            SetExpr::Select(select) => {
                let named = |item: &SelectItem| {
                    matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. })
                };
                let (items, width) = (&select.projection, select.projection.len());
                return (width > 0 && items.iter().all(named)).then_some(width);
            }
            SetExpr::Query(query) => &query.body,
            SetExpr::SetOperation { left, .. } => left,
            SetExpr::Values(values) => return values.rows.first().map(|row| row.content.len()),
            _ => return None,
        };
    }
}

fn reshape_select(select: &mut Select) -> Result<()> {
    if matches!(select.flavor, SelectFlavor::FromFirstNoSelect) && select.projection.is_empty() {
        let all = SelectItem::Wildcard(WildcardAdditionalOptions::default());
        select.projection.push(all);
    }
    item_names::name_subqueries(select);
    grouping_sets::reshape(&mut select.group_by)?;
    // In a separate query the order is visited together with it; here it is a branch of a set
    // operation.
    windows::inline(select, None)?;
    named_casts::name(select, &mut []);
    Ok(())
}
