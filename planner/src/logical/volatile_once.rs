//! Computes volatile expressions (`random()`, `uuid()`) once per row, as columns of a projection
//! below, where DataFusion would compute them several times or for other rows.
//!
//! DataFusion 55.2
//!
//! - expands `x BETWEEN a AND b` into `x >= a AND x <= b`, a CASE of conditions into AND and OR,
//!   and `coalesce(x, y)` into a CASE, each with `x` twice;
//! - computes the keys of a sort, a window and a grouping in several operators: to repartition
//!   rows, to sort them and to find peers;
//! - moves a filter without columns below joins and aggregates, and a filter on a grouping key to
//!   the rows of the groups, where it is evaluated again.

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::expr::{Between, Case, ScalarFunction};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::optimizer::AnalyzerRule;

use super::expressions::transform_nodes;
use super::leaves::is_volatile;

/// Functions that DataFusion expands into a CASE with an argument repeated.
const REPEATING: [&str; 6] = ["coalesce", "nvl", "ifnull", "nvl2", "nullif", "iff"];

/// The analyzer rule; see the [module](self).
#[derive(Debug, Default)]
pub(crate) struct VolatileOnce;

impl AnalyzerRule for VolatileOnce {
    fn name(&self) -> &'static str {
        "volatile_once"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let mut count = 0;
        Ok(transform_nodes(plan, &mut |node| with_columns(node, &mut count))?.data)
    }
}

fn with_columns(plan: LogicalPlan, count: &mut usize) -> Result<Transformed<LogicalPlan>> {
    let everywhere = match &plan {
        LogicalPlan::Sort(_) | LogicalPlan::Window(_) => true,
        LogicalPlan::Aggregate(aggregate) => {
            aggregate.group_expr.iter().any(Expr::is_volatile)
                && !aggregate.group_expr.iter().any(|expr| matches!(expr, Expr::GroupingSet(_)))
        }
        LogicalPlan::Filter(filter) => !is_scan(&filter.input),
        LogicalPlan::Projection(_) => false,
        _ => return Ok(Transformed::no(plan)),
    };
    let [input] = plan.inputs()[..] else { return Ok(Transformed::no(plan)) };
    if !is_volatile(&plan)? {
        return Ok(Transformed::no(plan));
    }
    let mut columns = Vec::new();
    let mut rewritten = Vec::new();
    for expr in plan.expressions() {
        let expr = expr.transform_down(|part| {
            extract(part, everywhere, &mut |expr| column_of(expr, &mut columns, count))
        })?;
        rewritten.push(expr.data);
    }
    if columns.is_empty() {
        return Ok(Transformed::no(plan));
    }
    let kept = input.schema().iter().map(|field| Expr::Column(Column::from(field)));
    let below = LogicalPlanBuilder::from(input.clone()).project(kept.chain(columns))?.build()?;
    let again = plan.with_new_exprs(rewritten, vec![below])?;
    let names = plan.schema().iter().zip(restored(&plan, &again)).map(|(field, column)| {
        let (relation, field) = field;
        let column = Expr::Column(column);
        if column.qualified_name() == (relation.cloned(), field.name().clone()) {
            column
        } else {
            column.alias_qualified(relation.cloned(), field.name())
        }
    });
    let names: Vec<Expr> = names.collect();
    Ok(Transformed::yes(LogicalPlanBuilder::from(again).project(names)?.build()?))
}

/// The columns of `again` that are those of `plan`, in their order.
fn restored(plan: &LogicalPlan, again: &LogicalPlan) -> Vec<Column> {
    let added = again.schema().fields().len() - plan.schema().fields().len();
    let before = match plan {
        // The columns of the input come first; the new ones are the last of those.
        LogicalPlan::Window(window) => window.input.schema().fields().len(),
        _ => plan.schema().fields().len(),
    };
    let columns = again.schema().iter().map(Column::from).enumerate();
    columns
        .filter(|(index, _)| *index < before || *index >= before + added)
        .map(|(_, column)| column)
        .collect()
}

fn is_scan(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::TableScan(_) => true,
        LogicalPlan::SubqueryAlias(alias) => is_scan(&alias.input),
        _ => false,
    }
}

/// Replaces the volatile parts of one expression, from the outside in.
fn extract(
    part: Expr,
    everywhere: bool,
    column: &mut dyn FnMut(Expr) -> Expr,
) -> Result<Transformed<Expr>> {
    let mut once = |expr: Expr| if expr.is_volatile() { column(expr) } else { expr };
    Ok(match part {
        // An aggregate is computed over several rows; below it, each row has its own value.
        Expr::AggregateFunction(_) => Transformed::new(part, false, TreeNodeRecursion::Jump),
        // A lambda is computed per element, which is not a column of the input.
        Expr::Lambda(_) => Transformed::new(part, false, TreeNodeRecursion::Jump),
        Expr::ScalarFunction(_) if everywhere && part.is_volatile_node() => {
            Transformed::new(once(part), true, TreeNodeRecursion::Jump)
        }
        Expr::Between(Between { expr, negated, low, high }) if expr.is_volatile() => {
            let expr = Box::new(once(*expr));
            Transformed::yes(Expr::Between(Between { expr, negated, low, high }))
        }
        Expr::Case(case) if case.expr.is_none() => {
            let volatile = case.when_then_expr.iter().any(|(when, _)| when.is_volatile());
            let when_then_expr = case
                .when_then_expr
                .into_iter()
                .map(|(when, then)| (Box::new(once(*when)), then))
                .collect();
            let case = Expr::Case(Case { when_then_expr, ..case });
            Transformed::new_transformed(case, volatile)
        }
        Expr::ScalarFunction(call)
            if REPEATING.contains(&call.func.name()) && call.args.iter().any(Expr::is_volatile) =>
        {
            let args = call.args.into_iter().map(&mut once).collect();
            Transformed::yes(Expr::ScalarFunction(ScalarFunction { args, ..call }))
        }
        other => Transformed::no(other),
    })
}

/// Adds `expr` to the projection `columns` and returns the column that replaces it.
fn column_of(expr: Expr, columns: &mut Vec<Expr>, count: &mut usize) -> Expr {
    *count += 1;
    let name = format!("__volatile_{count}");
    columns.push(expr.alias(&name));
    Expr::Column(Column::new_unqualified(name))
}
