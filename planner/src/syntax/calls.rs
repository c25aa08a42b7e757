//! Calls that DataFusion 55.2 plans as something else, or refuses.
//!
//! - `x = ANY (list)` is false there, not null, where the list has a null and no `x`; `NOT x <> ALL (list)` is right.
//! - `min(x ORDER BY y)` is an error over groups: what does not go by an order gets none.
//! - `mod(a, b)` is not known: it is `a % b`.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArguments, UnaryOperator,
};

use super::build;

/// Aggregates whose result is the same in any order of their rows.
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
        Expr::Function(function) => {
            if let Some(remainder) = remainder(function) {
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
