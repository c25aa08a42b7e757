//! Plans INTERSECT and EXCEPT with the type of dates, and `INTERSECT ALL` and `EXCEPT ALL` with the
//! number of copies, that SQL requires.
//!
//! DataFusion 55.2 plans them as semi and anti joins, which keep or drop all copies of a row. SQL
//! keeps the smaller number of copies, and the difference.
//!
//! The rule numbers the copies of each row on both sides. Copy 3 of a row is in the result if the
//! other side has (or does not have) a copy 3. At this point of the analyzer, a semi or anti join
//! in which nulls are equal is always a set operation.
//!
//! Their rows have the types of the left side. Dates become timestamps if the right side has
//! timestamps, as in a UNION.

use std::sync::Arc;

use bigslice_functions::row_number;
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, JoinType, NullEquality, Result};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::{
    Cast, Distinct, Expr, ExprFunctionExt, Join, LogicalPlan, LogicalPlanBuilder,
};
use datafusion::optimizer::AnalyzerRule;

use super::expressions::transform_nodes;

/// The analyzer rule; see the [module](self).
#[derive(Debug)]
pub(crate) struct SetAll;

impl AnalyzerRule for SetAll {
    fn name(&self) -> &'static str {
        "set_all"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let plan = transform_nodes(plan, &mut |plan| match plan {
            LogicalPlan::Join(join) if is_set(&join) => {
                let join = with_times(join)?;
                let all = !matches!(*join.left, LogicalPlan::Distinct(Distinct::All(_)));
                Ok(Transformed::yes(if all { counted(join)? } else { LogicalPlan::Join(join) }))
            }
            plan => Ok(Transformed::no(plan)),
        });
        plan.map(|transformed| transformed.data)
    }
}

fn is_set(join: &Join) -> bool {
    matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti)
        && join.null_equality == NullEquality::NullEqualsNull
        && join.filter.is_none()
        && join.on.len() == join.left.schema().fields().len()
}

/// The join with timestamps on the left where there are dates on the left and timestamps on the
/// right.
fn with_times(join: Join) -> Result<Join> {
    let (left, right) = (join.left.schema(), join.right.schema());
    let is_date = |at: usize| {
        matches!(left.field(at).data_type(), DataType::Date32)
            && matches!(right.field(at).data_type(), DataType::Timestamp(_, None))
    };
    let dates: Vec<usize> = (0..left.fields().len()).filter(|at| is_date(*at)).collect();
    if dates.is_empty() {
        return Ok(join);
    }
    let (rows, is_distinct) = match join.left.as_ref() {
        LogicalPlan::Distinct(Distinct::All(rows)) => (rows.as_ref(), true),
        rows => (rows, false),
    };
    let columns = rows.schema().columns().into_iter().enumerate().map(|(at, column)| {
        let expr = Expr::Column(column.clone());
        if !dates.contains(&at) {
            return expr;
        }
        let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
        let time = Expr::Cast(Cast::new(Box::new(expr), micros));
        time.alias_qualified(column.relation, column.name)
    });
    let times = LogicalPlanBuilder::from(rows.clone()).project(columns)?;
    let left = if is_distinct { times.distinct()? } else { times }.build()?;
    Join::try_new(
        Arc::new(left),
        join.right,
        join.on,
        None,
        join.join_type,
        join.join_constraint,
        join.null_equality,
        join.null_aware,
    )
}

/// The join of numbered copies.
fn counted(join: Join) -> Result<LogicalPlan> {
    let columns: Vec<Expr> = join.left.schema().columns().into_iter().map(Expr::Column).collect();
    let (left, left_copy) = numbered(&join.left, "copy:left")?;
    let (right, right_copy) = numbered(&join.right, "copy:right")?;
    let mut on = join.on;
    on.push((left_copy, right_copy));
    let joined = Join::try_new(
        Arc::new(left),
        Arc::new(right),
        on,
        None,
        join.join_type,
        join.join_constraint,
        join.null_equality,
        join.null_aware,
    )?;
    LogicalPlanBuilder::from(LogicalPlan::Join(joined)).project(columns)?.build()
}

/// `plan` with a column that numbers the copies of each row.
fn numbered(plan: &LogicalPlan, name: &str) -> Result<(LogicalPlan, Expr)> {
    let columns: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
    let number = row_number().partition_by(columns.clone()).build()?;
    let numbered = LogicalPlanBuilder::from(plan.clone()).window(vec![number.clone()])?;
    let number = Expr::Column(Column::from_name(number.schema_name().to_string()));
    let columns = columns.into_iter().chain([number.alias(name)]);
    let plan = numbered.project(columns)?.build()?;
    Ok((plan, Expr::Column(Column::from_name(name))))
}
