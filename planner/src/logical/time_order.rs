//! Corrects comparisons of dates, timestamps and intervals before type coercion gives both sides
//! one type.
//!
//! DataFusion 55.2
//!
//! - compares a date or a timestamp of a coarser unit with one of nanoseconds as nanoseconds, which
//!   end in the year 2262, so the year 9999 is an error. The rule clamps the coarser side to the
//!   range of the finer one, which does not change the result of the comparison;
//! - compares, sorts and groups intervals field by field, so that 24 hours are not a day. The rule
//!   uses `justify_interval(i)`;
//! - makes the sum of a date and an interval with hours a date, and loses the hours.

use std::sync::Arc;

use bigslice_functions::{Carry, OutOfRange, justify};
use datafusion::arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{Between, Cast, InList, ScalarFunction};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, Distinct, Expr, ExprSchemable, Join, LogicalPlan, LogicalPlanBuilder, Operator,
};
use datafusion::optimizer::AnalyzerRule;

use super::expressions::{map_named, transform_nodes, transform_parts};
use super::simplify::compares;
use super::typed_time::as_time;

/// The analyzer rule; see the [module](self).
#[derive(Debug, Default)]
pub(crate) struct TimeOrder;

impl AnalyzerRule for TimeOrder {
    fn name(&self) -> &'static str {
        "time_order"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(transform_nodes(plan, &mut ordered)?.data)
    }
}

fn ordered(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let schema = merge_schema(&plan.inputs());
    let keys = matches!(plan, LogicalPlan::Sort(_) | LogicalPlan::Aggregate(_));
    let plan = map_named(plan, &mut |expr| {
        let parts = transform_parts(expr, &mut |part| Ok(ordered_part(part, &schema)))?;
        let key = keys && is_interval(&parts.data, &schema);
        Ok(if key { Transformed::yes(justified(parts.data)) } else { parts })
    })?;
    let joined = plan.transform_data(|plan| match plan {
        LogicalPlan::Join(join) => joined(join),
        LogicalPlan::Distinct(Distinct::All(input)) => distinct(input),
        other => Ok(Transformed::no(other)),
    })?;
    joined.map_data(LogicalPlan::recompute_schema)
}

fn ordered_part(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if compares(op) => {
            let (left, right, changed) = comparable(*left, *right, schema);
            let (left, right) = (Box::new(left), Box::new(right));
            let expr = Expr::BinaryExpr(BinaryExpr { left, op, right });
            Transformed::new_transformed(expr, changed)
        }
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: op @ (Operator::Plus | Operator::Minus),
            right,
        }) => date_plus_hours(*left, op, *right, schema),
        Expr::Between(between) if !between.expr.is_volatile() => ordered_between(between, schema),
        Expr::InList(list) if is_interval(&list.expr, schema) => {
            Transformed::yes(Expr::InList(InList {
                expr: Box::new(justified(*list.expr)),
                list: list.list.into_iter().map(justified).collect(),
                negated: list.negated,
            }))
        }
        Expr::AggregateFunction(mut call)
            if matches!(call.func.name(), "min" | "max") || call.params.distinct =>
        {
            let mut changed = false;
            for arg in &mut call.params.args {
                if is_interval(arg, schema) {
                    *arg = justified(std::mem::take(arg));
                    changed = true;
                }
            }
            Transformed::new_transformed(Expr::AggregateFunction(call), changed)
        }
        Expr::WindowFunction(mut call) => {
            let mut changed = false;
            let params = &mut call.params;
            let keys = params.order_by.iter_mut().map(|key| &mut key.expr);
            for key in params.partition_by.iter_mut().chain(keys) {
                if is_interval(key, schema) {
                    *key = justified(std::mem::take(key));
                    changed = true;
                }
            }
            Transformed::new_transformed(Expr::WindowFunction(call), changed)
        }
        other => Transformed::no(other),
    }
}

/// The sum of a date and an interval with hours, as a timestamp; DataFusion's date loses them.
fn date_plus_hours(left: Expr, op: Operator, right: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let is_date = |expr: &Expr| matches!(expr.get_type(schema), Ok(DataType::Date32));
    let has_hours = |expr: &Expr| match expr {
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(of)), _) => of.nanoseconds != 0,
        Expr::Literal(ScalarValue::IntervalDayTime(Some(of)), _) => of.milliseconds != 0,
        Expr::Literal(..) => false,
        // A column may contain intervals with hours.
        other => {
            matches!(other.get_type(schema), Ok(DataType::Interval(unit)) if unit != IntervalUnit::YearMonth)
        }
    };
    let timestamp = |date: Expr| {
        let to = DataType::Timestamp(TimeUnit::Microsecond, None);
        Expr::Cast(Cast::new(Box::new(date), to))
    };
    let (left, right, changed) = if has_hours(&right) && is_date(&left) {
        (timestamp(left), right, true)
    } else if op == Operator::Plus && has_hours(&left) && is_date(&right) {
        (left, timestamp(right), true)
    } else {
        (left, right, false)
    };
    let (left, right) = (Box::new(left), Box::new(right));
    Transformed::new_transformed(Expr::BinaryExpr(BinaryExpr { left, op, right }), changed)
}

/// BETWEEN as two comparisons if one of them needs a change.
fn ordered_between(between: Between, schema: &DFSchema) -> Transformed<Expr> {
    let Between { expr, negated, low, high } = between;
    let (from, low, changed) = comparable((*expr).clone(), (*low).clone(), schema);
    let (to, high, also) = comparable((*expr).clone(), (*high).clone(), schema);
    if !changed && !also {
        let between = Between { expr, negated, low: Box::new(low), high: Box::new(high) };
        return Transformed::no(Expr::Between(between));
    }
    Transformed::yes(if negated {
        from.lt(low).or(to.gt(high))
    } else {
        from.gt_eq(low).and(to.lt_eq(high))
    })
}

/// Rewrites the two sides of a comparison so that it is correct in any common type, and tells
/// whether they changed.
fn comparable(left: Expr, right: Expr, schema: &DFSchema) -> (Expr, Expr, bool) {
    let (Ok(one), Ok(other)) = (left.get_type(schema), right.get_type(schema)) else {
        return (left, right, false);
    };
    if is_text(&one) && is_time(&other) {
        let (right, left, changed) = comparable_text(right, &other, left, schema);
        return (left, right, changed);
    }
    if is_text(&other) && is_time(&one) {
        return comparable_text(left, &one, right, schema);
    }
    let interval = |of: &DataType| matches!(of, DataType::Interval(_));
    let lasting =
        |of: &DataType| interval(of) || is_text(of) || matches!(of, DataType::Duration(_));
    if (interval(&one) && lasting(&other)) || (interval(&other) && lasting(&one)) {
        return (justified(left), justified(right), true);
    }
    match (fineness(&one), fineness(&other)) {
        (Some(a), Some(b)) if a < b => match clamped(left, &one, &right, &other) {
            Ok(left) => (left, right, true),
            Err(left) => (left, right, false),
        },
        (Some(a), Some(b)) if b < a => match clamped(right, &other, &left, &one) {
            Ok(right) => (left, right, true),
            Err(right) => (left, right, false),
        },
        _ => (left, right, false),
    }
}

/// The coarser side, clamped to the range of the finer; `Err` returns it unchanged if DataFusion
/// compares the two correctly.
fn clamped(coarse: Expr, of: &DataType, fine: &Expr, finer: &DataType) -> Result<Expr, Expr> {
    let to = match (of, finer) {
        (DataType::Date32, DataType::Timestamp(unit, _)) => DataType::Timestamp(*unit, None),
        (DataType::Timestamp(_, zone), DataType::Timestamp(unit, other)) if zone == other => {
            // A column and a constant are compared in the unit of the column.
            if coarse.any_column_refs() && !fine.any_column_refs() {
                return Err(coarse);
            }
            DataType::Timestamp(*unit, zone.clone())
        }
        _ => return Err(coarse),
    };
    Ok(as_time(coarse, &to, OutOfRange::Clamp))
}

/// Reads a text as the type of the other side, in a unit that can hold it.
fn comparable_text(time: Expr, of: &DataType, text: Expr, schema: &DFSchema) -> (Expr, Expr, bool) {
    let literal = text.as_literal().and_then(|value| value.try_as_str().flatten());
    let (Some(literal), DataType::Timestamp(_, zone)) = (literal, of) else {
        return (time, text, false);
    };
    let Some(unit) = bigslice_functions::unit_for(literal) else { return (time, text, false) };
    let to = DataType::Timestamp(unit, zone.clone());
    let typed = Expr::Cast(Cast::new(Box::new(text), to));
    let (time, typed, _) = comparable(time, typed, schema);
    (time, typed, true)
}

/// Smaller is coarser.
fn fineness(of: &DataType) -> Option<i32> {
    Some(match of {
        DataType::Date32 => 0,
        DataType::Timestamp(TimeUnit::Second, _) => 1,
        DataType::Timestamp(TimeUnit::Millisecond, _) => 2,
        DataType::Timestamp(TimeUnit::Microsecond, _) => 3,
        DataType::Timestamp(TimeUnit::Nanosecond, _) => 4,
        _ => return None,
    })
}

fn is_time(of: &DataType) -> bool {
    matches!(of, DataType::Timestamp(..))
}

fn is_text(of: &DataType) -> bool {
    matches!(of, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn is_interval(expr: &Expr, schema: &DFSchema) -> bool {
    if matches!(expr, Expr::ScalarFunction(call) if call.func.name() == justify(Carry::All).name())
    {
        return false;
    }
    matches!(expr.get_type(schema), Ok(DataType::Interval(_)))
}

/// `justify_interval(expr)`.
fn justified(expr: Expr) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(justify(Carry::All), vec![expr]))
}

/// The keys of a join are compared as well.
fn joined(mut join: Join) -> Result<Transformed<LogicalPlan>> {
    let schema = join.left.schema().join(join.right.schema());
    let Ok(schema) = schema else { return Ok(Transformed::no(LogicalPlan::Join(join))) };
    let mut changed = false;
    for (left, right) in &mut join.on {
        let (one, other, differs) =
            comparable(std::mem::take(left), std::mem::take(right), &schema);
        changed |= differs;
        *left = one;
        *right = other;
    }
    Ok(Transformed::new_transformed(LogicalPlan::Join(join), changed))
}

/// Equal intervals are one value, however they are written.
fn distinct(input: Arc<LogicalPlan>) -> Result<Transformed<LogicalPlan>> {
    let mut fields = input.schema().fields().iter();
    let has_intervals = fields.any(|field| matches!(field.data_type(), DataType::Interval(_)));
    if !has_intervals {
        return Ok(Transformed::no(LogicalPlan::Distinct(Distinct::All(input))));
    }
    let columns: Vec<Expr> = input
        .schema()
        .iter()
        .map(|(relation, field)| {
            let column = Expr::Column(Column::from((relation, field)));
            if matches!(field.data_type(), DataType::Interval(_)) {
                justified(column).alias_qualified(relation.cloned(), field.name())
            } else {
                column
            }
        })
        .collect();
    let plain = LogicalPlanBuilder::from(input).project(columns)?.build()?;
    Ok(Transformed::yes(LogicalPlan::Distinct(Distinct::All(Arc::new(plain)))))
}
