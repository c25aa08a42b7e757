//! Keeps the ORDER BY of a subquery below order-sensitive aggregates such as `string_agg`, for the
//! rule `kept_order` of [`logical`](crate::logical).
//!
//! DataFusion 55.2 plans a query in FROM or WITH without its ORDER BY, unless it has an OFFSET or a
//! LIMIT.

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArgumentClause, FunctionArguments, LimitClause, Offset, OffsetRows, Query,
    Select, SetExpr, TableFactor, Value,
};

use super::super::walk::any_expr;
use crate::logical::ORDERED;

/// Marks the queries that `query`, a SELECT with such aggregates, reads.
pub(super) fn mark(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    if !shows_order(select) {
        return;
    }
    for from in select.from.iter_mut().filter(|from| from.joins.is_empty()) {
        if let TableFactor::Derived { subquery, .. } = &mut from.relation {
            keep(subquery);
        }
    }
    for cte in query.with.iter_mut().flat_map(|with| &mut with.cte_tables) {
        keep(&mut cte.query);
    }
}

/// Adds OFFSET 0 to a query with an order.
fn keep(query: &mut Query) {
    if query.order_by.is_some() && query.limit_clause.is_none() && query.fetch.is_none() {
        query.limit_clause = Some(LimitClause::LimitOffset {
            limit: None,
            offset: Some(Offset {
                value: Expr::value(Value::Number("0".to_owned(), false)),
                rows: OffsetRows::None,
            }),
            limit_by: Vec::new(),
        });
    }
}

/// True if the select list or HAVING has an order-sensitive aggregate without an order of its own.
fn shows_order(select: &Select) -> bool {
    let shows = |expr: &Expr| {
        let Expr::Function(function) = expr else { return false };
        let name = function.name.to_string().to_ascii_lowercase();
        let has_order =
            |clause: &FunctionArgumentClause| matches!(clause, FunctionArgumentClause::OrderBy(_));
        let plain = match &function.args {
            FunctionArguments::List(list) => !list.clauses.iter().any(has_order),
            _ => false,
        };
        plain && function.over.is_none() && ORDERED.contains(&name.as_str())
    };
    any_expr(&select.projection, shows) || any_expr(&select.having, shows)
}
