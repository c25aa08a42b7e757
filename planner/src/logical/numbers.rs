//! Numbers: what DataFusion computes modulo a width, cuts off or tells apart where SQL does not becomes
//! a call of a function of ours.
//!
//! One pass over all expressions of a plan, right after types are coerced and before constants
//! are folded, so that folding sees our functions. Each part says which fault of DataFusion 55.2 it mends:
//!
//! - *arithmetic*: `+`, `-`, `*`, shifts and negation of integers wrap round ([`bigslice_functions::checked`]);
//! - *casts*: a fraction that is cast to an integer is cut off, where PostgreSQL and DuckDB round, in
//!   lists, structs and maps, too;
//! - *nulls ignored*: a window function that is sent to a worker loses IGNORE NULLS
//!   ([`bigslice_functions::ignoring_nulls`]);
//! - *filtered arguments*: the argument of an aggregate is computed for rows that its FILTER leaves out, so
//!   that `sum(x / y) FILTER (WHERE y <> 0)` divides by zero;
//! - *keys twice*: an order with the same key twice panics in `first_value` and fails in `array_agg`
//!   (apache/datafusion#25398).

use std::collections::HashSet;

use bigslice_functions::{
    checked, checked_negation, ignoring_nulls, round_parts, rounds_parts, whole_type,
};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{
    AggregateFunction, NullTreatment, ScalarFunction, Sort, WindowFunction,
};
use datafusion::logical_expr::{
    BinaryExpr, Case, Cast, Distinct, Expr, ExprSchemable, LogicalPlan, TryCast,
    WindowFunctionDefinition,
};
use datafusion::optimizer::AnalyzerRule;

use super::expressions::rewrite;

/// The rule; see the header of its file.
#[derive(Debug)]
pub(super) struct Numbers;

impl AnalyzerRule for Numbers {
    fn name(&self) -> &'static str {
        "numbers"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite(plan, &sorted_once, &|expr, schema| expr.transform_up(|node| exact(node, schema)))
    }
}

/// One expression, whose children are done.
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
        Expr::WindowFunction(window) => ignored_nulls(*window),
        Expr::AggregateFunction(aggregate) => aggregated(aggregate, schema),
        other => Transformed::no(other),
    })
}

/// *Arithmetic*: the checked function in the place of an operator of integers.
fn checked_binary(binary: BinaryExpr, schema: &DFSchema) -> Transformed<Expr> {
    if let (Ok(left), Ok(right)) = (binary.left.get_type(schema), binary.right.get_type(schema))
        && let Some(function) = checked(&left, binary.op, &right)
    {
        return Transformed::yes(function.call(vec![*binary.left, *binary.right]));
    }
    Transformed::no(Expr::BinaryExpr(binary))
}

/// *Casts*: `expr` rounded if it may have a fraction and becomes an integer of type `to`, half away from zero.
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

/// *Nulls ignored*: the function of its own, which travels.
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

/// *Filtered arguments* and *keys twice* of one aggregate.
fn aggregated(mut aggregate: AggregateFunction, schema: &DFSchema) -> Transformed<Expr> {
    let params = &mut aggregate.params;
    let n_keys = params.order_by.len();
    distinct_keys(&mut params.order_by);
    let mut changed = n_keys != params.order_by.len();
    if let Some(filter) = &params.filter {
        for arg in &mut params.args {
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

/// Whether it has a value for every row, to be had for little: a column, or one that is widened.
fn never_fails(arg: &Expr, schema: &DFSchema) -> bool {
    match arg {
        Expr::Column(_) | Expr::Literal(..) => true,
        Expr::Cast(cast) => {
            let to = cast.field.data_type();
            matches!(cast.expr.as_ref(), Expr::Column(_))
                && cast.expr.get_type(schema).is_ok_and(|from| {
                    from.is_integer()
                        && matches!(to, DataType::Int64 | DataType::UInt64 | DataType::Float64)
                })
        }
        _ => false,
    }
}

/// Whether it is an argument that was filtered already, when a plan is analysed once more.
fn is_filtered(arg: &Expr, filter: &Expr) -> bool {
    matches!(arg, Expr::Case(case) if case.expr.is_none()
        && matches!(case.when_then_expr.as_slice(), [(when, _)] if when.as_ref() == filter))
}

/// *Keys twice* of the nodes that have some.
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

/// Of keys with one expression the first: it alone decides.
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

    /// What DataFusion says by itself.
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
