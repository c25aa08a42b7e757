//! Replaces `ORDER BY 2` and `SELECT DISTINCT f(x) ... ORDER BY f(x)` by the names of result
//! columns.
//!
//! DataFusion 55.2 replaces the number by the expression, and looks for its parts: over groups and
//! DISTINCT it does not find them, although the expression is a column of the result.

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, OrderBy, OrderByKind, Query, Select, SelectItem, SetExpr, Value,
};

use super::super::build;

/// Replaces the keys of a query's order by column names, in the select list and in the order.
pub(crate) fn by_name(query: &mut Query) {
    let Query {
        body, order_by: Some(OrderBy { kind: OrderByKind::Expressions(exprs), .. }), ..
    } = query
    else {
        return;
    };
    let SetExpr::Select(select) = body.as_mut() else { return };
    for by in exprs {
        let item = match &by.expr {
            Expr::Value(value) => match &value.value {
                Value::Number(digits, _) => item_at(select, digits),
                _ => None,
            },
            expr if select.distinct.is_some() && !is_name(expr) => item_like(select, expr),
            _ => None,
        };
        if let Some(name) = item.and_then(|item| named(select, item)) {
            by.expr = Expr::Identifier(name);
        }
    }
}

fn is_name(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Value(_))
}

/// The item with that number, if the number of columns before it is known.
fn item_at(select: &Select, digits: &str) -> Option<usize> {
    let at = digits.parse::<usize>().ok()?.checked_sub(1)?;
    let single = |item: &SelectItem| expr_of(item).is_some();
    let before = select.projection.get(..=at)?;
    before.iter().all(single).then_some(at)
}

fn item_like(select: &Select, expr: &Expr) -> Option<usize> {
    select.projection.iter().position(|item| expr_of(item) == Some(expr))
}

fn expr_of(item: &SelectItem) -> Option<&Expr> {
    match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    }
}

/// The name of a computed item, adding one if needed; `None` if it could also mean another column.
fn named(select: &mut Select, at: usize) -> Option<Ident> {
    let name = match &select.projection[at] {
        SelectItem::UnnamedExpr(expr) if !is_name(expr) => build::quoted(expr.to_string()),
        SelectItem::ExprWithAlias { expr, alias } if !is_name(expr) => alias.clone(),
        _ => return None,
    };
    let like = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(expr) => {
            let text = match expr {
                Expr::CompoundIdentifier(parts) => parts.last().map(|part| part.value.clone()),
                expr => Some(expr.to_string()),
            };
            text.is_some_and(|text| text.eq_ignore_ascii_case(&name.value))
        }
        SelectItem::ExprWithAlias { alias, .. } => alias.value.eq_ignore_ascii_case(&name.value),
        // A `*` may include any column.
        _ => true,
    };
    let others = select.projection.iter().enumerate().filter(|(i, _)| *i != at);
    if others.into_iter().any(|(_, item)| like(item)) {
        return None;
    }
    if let SelectItem::UnnamedExpr(expr) = &mut select.projection[at] {
        let expr = std::mem::replace(expr, build::text(""));
        select.projection[at] = SelectItem::ExprWithAlias { expr, alias: name.clone() };
    }
    Some(name)
}
