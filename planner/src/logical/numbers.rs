//! Replaces number operations that DataFusion wraps around, truncates or distinguishes contrary to
//! SQL by calls of our functions.
//!
//! One pass over all expressions of a plan, right after types are coerced and before constants are
//! folded, so that folding uses our functions. Each part works around one fault of DataFusion 55.2:
//!
//! - *arithmetic*: `+`, `-`, `*`, shifts and negation of integers wrap around
//!   ([`bigslice_functions::checked`]);
//! - *casts*: a fraction cast to an integer is truncated, while PostgreSQL and DuckDB round; also
//!   inside lists, structs and maps;
//! - *rounding*: `round(price, 1 + 1)` gets another type when `1 + 1` is folded, and cannot be
//!   compared any more with what was cast to its former type;
//! - *ignored nulls*: a window function that is sent to a worker loses IGNORE NULLS
//!   ([`bigslice_functions::ignoring_nulls`]);
//! - *filtered arguments*: arguments and sort keys of an aggregate are computed for rows that its
//!   FILTER excludes, so that `sum(x / y) FILTER (WHERE y <> 0)` divides by zero;
//! - *duplicate keys*: an order with the same key twice panics in `first_value` and fails in
//!   `array_agg` (apache/datafusion#25398).

use std::collections::HashSet;

use bigslice_functions::{
    checked, checked_negation, ignoring_nulls, round_parts, rounds_parts, whole_type,
};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{
    AggregateFunction, NullTreatment, ScalarFunction, Sort, WindowFunction,
};
use datafusion::logical_expr::{
    BinaryExpr, Case, Cast, Distinct, Expr, ExprSchemable, LogicalPlan, TryCast,
    WindowFunctionDefinition,
};
use datafusion::optimizer::AnalyzerRule;

use super::expressions::{rewrite, transform_parts};

/// The analyzer rule; see the [module](self).
#[derive(Debug)]
pub(super) struct Numbers;

impl AnalyzerRule for Numbers {
    fn name(&self) -> &'static str {
        "numbers"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite(plan, &sorted_once, &|expr, schema| {
            transform_parts(expr, &mut |node| exact(node, schema))
        })
    }
}

/// Rewrites one expression; its children are rewritten already.
fn exact(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    Ok(match expr {
        Expr::BinaryExpr(binary) => checked_binary(binary, schema),
        Expr::Negative(inner) => match inner.get_type(schema) {
            Ok(kind) if kind.is_signed_integer() => {
                Transformed::yes(checked_negation().call(vec![*inner]))
            }
            _ => Transformed::no(Expr::Negative(inner)),
        },
        Expr::Cast(cast) => match whole(&cast.expr, cast.field.data_type(), schema) {
            Some(expr) => {
                Transformed::yes(Expr::Cast(Cast { expr: Box::new(expr), field: cast.field }))
            }
            None => Transformed::no(Expr::Cast(cast)),
        },
        Expr::TryCast(cast) => match whole(&cast.expr, cast.field.data_type(), schema) {
            Some(expr) => {
                Transformed::yes(Expr::TryCast(TryCast { expr: Box::new(expr), field: cast.field }))
            }
            None => Transformed::no(Expr::TryCast(cast)),
        },
        Expr::ScalarFunction(call) if call.name() == "round" => rounded(call, schema),
        Expr::WindowFunction(window) => ignored_nulls(*window),
        Expr::AggregateFunction(aggregate) => aggregated(aggregate, schema),
        other => Transformed::no(other),
    })
}

/// *Arithmetic*: the checked function that replaces an operator on integers.
fn checked_binary(binary: BinaryExpr, schema: &DFSchema) -> Transformed<Expr> {
    if let (Ok(left), Ok(right)) = (binary.left.get_type(schema), binary.right.get_type(schema))
        && let Some(function) = checked(&left, binary.op, &right)
    {
        return Transformed::yes(function.call(vec![*binary.left, *binary.right]));
    }
    Transformed::no(Expr::BinaryExpr(binary))
}

/// *Casts*: `expr` rounded, half away from zero, if it may have a fraction and is cast to an
/// integer type `to`.
fn whole(expr: &Expr, to: &DataType, schema: &DFSchema) -> Option<Expr> {
    let from = expr.get_type(schema).ok()?;
    if to.is_integer() && !from.is_floating() {
        let rounded = whole_type(&from)?;
        return Some(Expr::Cast(Cast::new(Box::new(expr.clone()), rounded)));
    }
    let is_rounded = |function: &ScalarFunction| function.func.name() == "round_parts";
    let done = matches!(expr, Expr::ScalarFunction(function) if is_rounded(function));
    if done || !rounds_parts(&from, to) {
        return None;
    }
    let null = Expr::Literal(ScalarValue::try_new_null(to).ok()?, None);
    Some(round_parts().call(vec![expr.clone(), null]))
}

/// *Rounding*: the decimal has the type that it has while the number of digits is not folded.
fn rounded(call: ScalarFunction, schema: &DFSchema) -> Transformed<Expr> {
    let is_folded = call.args.get(1).is_some_and(|digits| {
        !matches!(digits, Expr::Literal(..)) && !digits.any_column_refs() && !digits.is_volatile()
    });
    let call = Expr::ScalarFunction(call);
    match call.get_type(schema) {
        Ok(of) if is_folded && of.is_decimal() => {
            Transformed::yes(Expr::Cast(Cast::new(Box::new(call), of)))
        }
        _ => Transformed::no(call),
    }
}

/// *Ignored nulls*: a separate function, which survives serialization.
fn ignored_nulls(mut window: WindowFunction) -> Transformed<Expr> {
    if let (Some(NullTreatment::IgnoreNulls), WindowFunctionDefinition::WindowUDF(function)) =
        (&window.params.null_treatment, &window.fun)
        && let Some(function) = ignoring_nulls(function.name())
    {
        window.fun = WindowFunctionDefinition::WindowUDF(function);
        window.params.null_treatment = None;
        return Transformed::yes(Expr::WindowFunction(Box::new(window)));
    }
    Transformed::no(Expr::WindowFunction(Box::new(window)))
}

/// *Filtered arguments* and *duplicate keys* of one aggregate.
fn aggregated(mut aggregate: AggregateFunction, schema: &DFSchema) -> Transformed<Expr> {
    let params = &mut aggregate.params;
    let n_keys = params.order_by.len();
    distinct_keys(&mut params.order_by);
    let mut changed = n_keys != params.order_by.len();
    if let Some(filter) = &params.filter {
        // The sort keys as well: with DISTINCT they must be arguments.
        let keys = params.order_by.iter_mut().map(|key| &mut key.expr);
        for arg in params.args.iter_mut().chain(keys) {
            if never_fails(arg, schema) || is_filtered(arg, filter) {
                continue;
            }
            let passed = (filter.clone(), Box::new(std::mem::take(arg)));
            *arg = Expr::Case(Case::new(None, vec![passed], None));
            changed = true;
        }
    }
    let aggregate = Expr::AggregateFunction(aggregate);
    if changed { Transformed::yes(aggregate) } else { Transformed::no(aggregate) }
}

/// True if the argument has a value for every row and is cheap: a column, or a widened one.
fn never_fails(arg: &Expr, schema: &DFSchema) -> bool {
    match arg {
        Expr::Column(_) | Expr::Literal(..) => true,
        Expr::Cast(cast) => {
            let to = cast.field.data_type();
            matches!(cast.expr.as_ref(), Expr::Column(_) | Expr::Literal(..))
                && cast.expr.get_type(schema).is_ok_and(|from| {
                    from.is_integer()
                        && matches!(to, DataType::Int64 | DataType::UInt64 | DataType::Float64)
                })
        }
        _ => false,
    }
}

/// True if the argument is filtered already; plans may be analyzed twice.
fn is_filtered(arg: &Expr, filter: &Expr) -> bool {
    matches!(arg, Expr::Case(case) if case.expr.is_none()
        && matches!(case.when_then_expr.as_slice(), [(when, _)] if when.as_ref() == filter))
}

/// *Duplicate keys* of the nodes that have keys.
fn sorted_once(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Distinct(Distinct::On(mut distinct)) = plan else {
        return Ok(Transformed::no(plan));
    };
    let before = distinct.on_expr.len();
    let mut seen = HashSet::new();
    distinct.on_expr.retain(|key| seen.insert(key.clone()));
    let mut changed = before != distinct.on_expr.len();
    if let Some(order) = &mut distinct.sort_expr {
        let before = order.len();
        distinct_keys(order);
        changed |= before != order.len();
    }
    let plan = LogicalPlan::Distinct(Distinct::On(distinct));
    Ok(if changed { Transformed::yes(plan) } else { Transformed::no(plan) })
}

/// Removes all but the first of equal keys: the first alone decides.
fn distinct_keys(keys: &mut Vec<Sort>) {
    let mut seen = HashSet::new();
    keys.retain(|key| seen.insert(key.expr.clone()));
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::record_batch::RecordBatch;
    use datafusion::arrow::util::pretty::pretty_format_batches;
    use datafusion::prelude::SessionContext;

    use super::*;

    /// DataFusion's own result.
    async fn plain(sql: &str) -> Result<Vec<RecordBatch>> {
        SessionContext::new().sql(sql).await?.collect().await
    }

    #[tokio::test]
    async fn rounding_casts_are_still_needed() {
        let rows = plain("SELECT cast(1.7 AS integer) AS x").await.expect("ran");
        let shown = pretty_format_batches(&rows).expect("shown").to_string();
        assert!(shown.contains("| 1 |"), "{shown}");
    }
}
