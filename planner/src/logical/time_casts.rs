//! Plans casts of timestamps, timestamp arithmetic and date differences as calls of our functions.
//!
//! For what DataFusion 55.2 gets wrong, see `cast_time`, `shift_time` and `days_between` in the
//! functions crate. The rule runs after type coercion, so that it covers the casts added there.

use bigslice_functions::{OutOfRange, casts_time, days_between, shift_time};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{Cast, ScalarFunction, TryCast};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator};
use datafusion::optimizer::AnalyzerRule;

use super::expressions::{map_named, transform_nodes, transform_parts, with_own_schema};
use super::typed_time::as_time;

/// The analyzer rule; see the [module](self).
#[derive(Debug, Default)]
pub(crate) struct TimeCasts;

impl AnalyzerRule for TimeCasts {
    fn name(&self) -> &'static str {
        "time_casts"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(transform_nodes(plan, &mut cast)?.data)
    }
}

fn cast(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let schema = merge_schema(&plan.inputs());
    map_named(plan, &mut |expr| transform_parts(expr, &mut |part| Ok(cast_part(part, &schema))))?
        .map_data(with_own_schema)
}

fn cast_part(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let is_ours = |inner: &Expr, to: &DataType| {
        inner.get_type(schema).is_ok_and(|from| casts_time(&from, to))
    };
    match expr {
        Expr::Cast(Cast { expr, field }) if is_ours(&expr, field.data_type()) => {
            Transformed::yes(as_time(*expr, field.data_type(), OutOfRange::Error))
        }
        Expr::TryCast(TryCast { expr, field }) if is_ours(&expr, field.data_type()) => {
            Transformed::yes(as_time(*expr, field.data_type(), OutOfRange::Null))
        }
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: op @ (Operator::Plus | Operator::Minus),
            right,
        }) => shifted(*left, op, *right, schema),
        other => Transformed::no(other),
    }
}

/// A timestamp plus or minus an interval, or the difference of two dates.
fn shifted(left: Expr, op: Operator, right: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let is_instant = |of: &DataType| matches!(of, DataType::Timestamp(_, Some(_)));
    let is_interval = |of: &DataType| matches!(of, DataType::Interval(_));
    let (time, by) = match (left.get_type(schema), right.get_type(schema)) {
        (Ok(one), Ok(other)) if is_instant(&one) && is_interval(&other) => {
            let by = if op == Operator::Minus { Expr::Negative(Box::new(right)) } else { right };
            (left, by)
        }
        (Ok(one), Ok(other)) if op == Operator::Plus && is_interval(&one) && is_instant(&other) => {
            (right, left)
        }
        (Ok(DataType::Date32), Ok(DataType::Date32)) if op == Operator::Minus => {
            return Transformed::yes(days_between().call(vec![left, right]));
        }
        _ => {
            let (left, right) = (Box::new(left), Box::new(right));
            return Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right }));
        }
    };
    Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(shift_time(), vec![time, by])))
}
