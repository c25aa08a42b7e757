//! Rewrites calls and operators that DataFusion 55.2 refuses or plans as something else.
//!
//! - `x = ANY (list)` is false there, not null, if the list has a null and no `x`; `NOT x <> ALL
//!   (list)` is correct.
//! - `min(x ORDER BY y)` is an error over groups: order-insensitive aggregates lose their ORDER BY.
//! - `mod(a, b)` is unknown: it becomes `a % b`.
//! - `a ^ b` is bitwise XOR there; in PostgreSQL and DuckDB it is `power(a, b)`, and XOR is `a #
//!   b`.
//! - `~a`, the bitwise NOT, is refused: it becomes `a # -1`.
//! - `[t.x, 1]` with a column of an outer query is not planned below UNNEST: `make_array(t.x, 1)`
//!   is.
//! - `x IN (VALUES (1), (2))` is refused in some places.
//! - `INTERVAL 1 DAY` without quotes is refused in a window frame.
//! - `first_value(f(x) IGNORE NULLS)` is read as `first_value((f(x) IGNORE NULLS))`.
//! - `ARRAY(SELECT ...)` is unknown: it becomes `array_agg` of the query's rows, in their order.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArguments, Ident, Query, SetExpr, TableAlias, TableAliasColumnDef, TableFactor,
    UnaryOperator, Value,
};

use super::super::build;
use super::super::lateral::has_column;
use super::kept_order;

/// Order-insensitive aggregates.
const UNORDERED: [&str; 11] = [
    "min",
    "max",
    "count",
    "bool_and",
    "bool_or",
    "every",
    "bit_and",
    "bit_or",
    "bit_xor",
    "median",
    "approx_distinct",
];

/// Functions that take IGNORE NULLS.
const TREATING_NULLS: [&str; 5] = ["first_value", "last_value", "nth_value", "lag", "lead"];

/// Rewrites `expr` if it is one of these calls.
pub(crate) fn reshape(expr: &mut Expr) {
    match expr {
        Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. }
            if !matches!(right.as_ref(), Expr::Subquery(_)) =>
        {
            let none = Expr::AllOp {
                left: left.clone(),
                compare_op: BinaryOperator::NotEq,
                right: right.clone(),
            };
            let none = Box::new(Expr::Nested(Box::new(none)));
            *expr = Expr::Nested(Box::new(Expr::UnaryOp { op: UnaryOperator::Not, expr: none }));
        }
        Expr::BinaryOp { left, op: BinaryOperator::BitwiseXor, right } => {
            *expr = build::call("power", vec![left.as_ref().clone(), right.as_ref().clone()]);
        }
        Expr::UnaryOp { op: UnaryOperator::BitwiseNot, expr: bits } => {
            let ones = build::number("-1");
            let bits = Box::new(Expr::Nested(bits.clone()));
            let not = Expr::BinaryOp {
                left: bits,
                op: BinaryOperator::PGBitwiseXor,
                right: Box::new(ones),
            };
            *expr = Expr::Nested(Box::new(not));
        }
        Expr::Array(list) if list.elem.iter().any(has_column) => {
            *expr = build::call("make_array", std::mem::take(&mut list.elem));
        }
        Expr::InSubquery { subquery, .. } => of_values(subquery),
        Expr::Interval(interval) => {
            if let Expr::Value(value) = interval.value.as_mut()
                && let Value::Number(digits, _) = &value.value
            {
                value.value = Value::SingleQuotedString(digits.clone());
            }
        }
        Expr::Function(function) => {
            own_null_treatment(function);
            if let Some(list) = list_of(function) {
                *expr = list;
            } else if let Some(remainder) = remainder(function) {
                *expr = remainder;
            } else if is_one_of(function, &UNORDERED)
                && let FunctionArguments::List(list) = &mut function.args
            {
                list.clauses.retain(|clause| !matches!(clause, FunctionArgumentClause::OrderBy(_)));
            }
        }
        _ => {}
    }
}

/// Takes IGNORE NULLS from the last argument: sqlparser 0.62 reads it as part of a call that is the
/// argument.
fn own_null_treatment(function: &mut Function) {
    if function.null_treatment.is_some() || !is_one_of(function, &TREATING_NULLS) {
        return;
    }
    if let FunctionArguments::List(list) = &mut function.args
        && let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Function(argument)))) =
            list.args.last_mut()
        && argument.over.is_none()
    {
        function.null_treatment = argument.null_treatment.take();
    }
}

/// Turns a list of VALUES into a query.
fn of_values(query: &mut Query) {
    let SetExpr::Values(values) = query.body.as_ref() else { return };
    let width = values.rows.first().map_or(0, |row| row.content.len());
    let from = TableFactor::Derived {
        lateral: false,
        subquery: Box::new(query.clone()),
        alias: None,
        sample: None,
    };
    let columns = (1..=width).map(|n| Expr::Identifier(Ident::new(format!("column{n}"))));
    *query = build::select(columns.collect(), from);
}

/// The query of `ARRAY(SELECT ...)` as one that returns the list.
fn list_of(function: &Function) -> Option<Expr> {
    let FunctionArguments::Subquery(query) = &function.args else { return None };
    if !is_one_of(function, &["array"]) {
        return None;
    }
    let (name, column) = (Ident::new("__rows"), Ident::new("__value"));
    let from = TableFactor::Derived {
        lateral: false,
        subquery: query.clone(),
        alias: Some(TableAlias {
            explicit: true,
            name,
            columns: vec![TableAliasColumnDef { name: column.clone(), data_type: None }],
            at: None,
        }),
        sample: None,
    };
    let all = build::call("array_agg", vec![Expr::Identifier(column)]);
    let none = build::call("make_array", Vec::new());
    let list = build::call("coalesce", vec![all, none]);
    let mut query = build::select(vec![list], from);
    kept_order::mark(&mut query);
    Some(Expr::Subquery(Box::new(query)))
}

fn is_one_of(function: &Function, names: &[&str]) -> bool {
    let [part] = function.name.0.as_slice() else { return false };
    let ident = part.as_ident().filter(|ident| ident.quote_style.is_none());
    ident.is_some_and(|ident| names.contains(&ident.value.to_ascii_lowercase().as_str()))
}

fn remainder(function: &Function) -> Option<Expr> {
    if !is_one_of(function, &["mod"]) {
        return None;
    }
    let FunctionArguments::List(list) = &function.args else { return None };
    let [
        FunctionArg::Unnamed(FunctionArgExpr::Expr(left)),
        FunctionArg::Unnamed(FunctionArgExpr::Expr(right)),
    ] = list.args.as_slice()
    else {
        return None;
    };
    let nested = |expr: &Expr| Expr::Nested(Box::new(expr.clone()));
    let of = build::binary(nested(left), BinaryOperator::Modulo, nested(right));
    Some(Expr::Nested(Box::new(of)))
}
