//! Supports `SELECT unnest(xs) FROM t ORDER BY id`: unnested rows ordered by unselected columns.
//!
//! DataFusion 55.2 looks for the sort keys among the columns of `unnest` only, and does not find
//! them. The rewrite unnests the rows in a subquery that has the keys as columns.

use datafusion::sql::sqlparser::ast::{
    ExcludeSelectItem, Expr, GroupByExpr, Ident, ObjectName, OrderBy, OrderByKind, Query, Select,
    SelectItem, SetExpr, TableAlias, TableFactor, WildcardAdditionalOptions,
};

use super::super::build;
use super::super::walk::any_expr;

/// Moves `query` into a subquery below its order, if it unnests and is ordered by other columns.
pub(super) fn order_above(query: &mut Query) {
    let Query {
        body, order_by: Some(OrderBy { kind: OrderByKind::Expressions(exprs), .. }), ..
    } = query
    else {
        return;
    };
    let SetExpr::Select(select) = body.as_mut() else { return };
    if !takes_rows_apart(select) {
        return;
    }
    let mut keys = Vec::new();
    for by in exprs {
        let is_of_result = match &by.expr {
            Expr::Identifier(name) => select.projection.iter().any(|item| is_named(item, name)),
            expr => matches!(expr, Expr::Value(_)) || is_unnest(expr),
        };
        if !is_of_result {
            let key = build::quoted(format!("__order_{}", keys.len()));
            let expr = std::mem::replace(&mut by.expr, Expr::Identifier(key.clone()));
            select.projection.push(SelectItem::ExprWithAlias { expr, alias: key.clone() });
            keys.push(key);
        }
    }
    if keys.is_empty() {
        return;
    }
    let rows = build::query(SetExpr::Select(select.clone()));
    let from = TableFactor::Derived {
        lateral: false,
        subquery: Box::new(rows),
        alias: Some(TableAlias {
            explicit: true,
            name: Ident::new("__rows"),
            columns: Vec::new(),
            at: None,
        }),
        sample: None,
    };
    let keys = keys.into_iter().map(|key| ObjectName::from(vec![key])).collect();
    let all = SelectItem::Wildcard(WildcardAdditionalOptions {
        opt_exclude: Some(ExcludeSelectItem::Multiple(keys)),
        ..WildcardAdditionalOptions::default()
    });
    *body = build::items_of(vec![all], from).body;
}

/// True if the select list has an `unnest`, and the query has no grouping, DISTINCT or the like.
fn takes_rows_apart(select: &Select) -> bool {
    let is_plain = select.distinct.is_none()
        && select.having.is_none()
        && matches!(&select.group_by, GroupByExpr::Expressions(exprs, _) if exprs.is_empty());
    is_plain
        && select.projection.iter().any(|item| match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                is_unnest(expr)
            }
            _ => false,
        })
}

/// True if the expression contains an `unnest`.
pub(in crate::syntax) fn is_unnest(expr: &Expr) -> bool {
    any_expr(expr, |expr| {
        matches!(expr, Expr::Function(function)
            if function.name.to_string().eq_ignore_ascii_case("unnest"))
    })
}

/// True if `item` is a result column of this name.
fn is_named(item: &SelectItem, name: &Ident) -> bool {
    let same = |other: &Ident| other.value.eq_ignore_ascii_case(&name.value);
    match item {
        SelectItem::ExprWithAlias { alias, .. } => same(alias),
        SelectItem::UnnamedExpr(Expr::Identifier(column)) => same(column),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(path)) => path.last().is_some_and(same),
        SelectItem::UnnamedExpr(_) => false,
        // A `*` may include any column.
        _ => true,
    }
}
