//! Short-circuit evaluation: in `y <> 0 AND x / y > 1` the division is evaluated only for rows that
//! pass the first condition.
//!
//! DataFusion 55.2 evaluates both sides of an AND for all rows of a batch unless one side is very
//! selective (apache/datafusion#8927), and moves divisions below filters with a projection (see
//! [`shield`](super::shield)). This rule turns each AND and OR with parts that can fail into a
//! `CASE`, which evaluates a branch only for the rows that reach it. Parts that cannot fail come
//! first, then those that can fail in fewer places (`cast(s AS int) <> 0` before `10 / cast(s AS
//! int) > 1`), and otherwise the written order applies. The filters of subqueries come before those
//! above them.
//!
//! A row that passes and then fails is still an error.

use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, CaseExpr, lit};
use datafusion::physical_expr::{PhysicalExpr, conjunction, split_conjunction};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{
    HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder, SortMergeJoinExec,
};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};

use super::fallible::{is_fallible, n_fallible};

type Condition = Arc<dyn PhysicalExpr>;

/// The name of the rule [`GuardedExpressions`].
pub(super) const EXPRESSIONS: &str = "guarded_expressions";

/// Guards expressions in projections and join conditions. It runs before projections are pushed
/// down, so that what is pushed into a scan keeps its guards.
#[derive(Debug)]
pub(super) struct GuardedExpressions;

impl PhysicalOptimizerRule for GuardedExpressions {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let guarded = plan.transform_up(|node| {
            let changed = match projection(&node)? {
                Some(changed) => Some(changed),
                None => join(&node)?,
            };
            Ok(changed.map_or_else(|| Transformed::no(node), Transformed::yes))
        });
        guarded.map(|guarded| guarded.data)
    }

    fn name(&self) -> &'static str {
        EXPRESSIONS
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Guards filters. It runs after conditions are pushed into scans, which prune by each part
/// separately.
#[derive(Debug)]
pub(super) struct GuardedFilters;

impl PhysicalOptimizerRule for GuardedFilters {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let guarded = plan.transform_up(|node| {
            let Some(filter) = node.downcast_ref::<FilterExec>() else {
                return Ok(Transformed::no(node));
            };
            let schema = filter.input().schema();
            let Some(predicate) = filtered(filter.predicate(), &schema)? else {
                return Ok(Transformed::no(node));
            };
            let filter = FilterExecBuilder::from(filter).with_predicate(predicate).build()?;
            Ok(Transformed::yes(Arc::new(filter) as Arc<dyn ExecutionPlan>))
        });
        guarded.map(|guarded| guarded.data)
    }

    fn name(&self) -> &'static str {
        "guarded_filters"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn projection(node: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(projection) = node.downcast_ref::<ProjectionExec>() else { return Ok(None) };
    let schema = projection.input().schema();
    let mut changed = false;
    let mut exprs = Vec::with_capacity(projection.expr().len());
    for ProjectionExpr { expr, alias } in projection.expr() {
        let guarded = guarded(expr, &schema)?;
        changed |= guarded.is_some();
        let expr = guarded.unwrap_or_else(|| Arc::clone(expr));
        exprs.push(ProjectionExpr { expr, alias: alias.clone() });
    }
    if !changed {
        return Ok(None);
    }
    let projection = ProjectionExec::try_new(exprs, Arc::clone(projection.input()))?;
    Ok(Some(Arc::new(projection)))
}

fn join(node: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    if let Some(join) = node.downcast_ref::<HashJoinExec>() {
        let Some(filter) = join_filter(join.filter())? else { return Ok(None) };
        return join.builder().with_filter(Some(filter)).build_exec().map(Some);
    }
    if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>() {
        let Some(filter) = join_filter(join.filter())? else { return Ok(None) };
        let (left, right) = (Arc::clone(join.left()), Arc::clone(join.right()));
        let join = NestedLoopJoinExecBuilder::new(left, right, *join.join_type())
            .with_projection_ref(join.projection().clone())
            .with_filter(Some(filter))
            .build()?;
        return Ok(Some(Arc::new(join)));
    }
    if let Some(join) = node.downcast_ref::<SortMergeJoinExec>() {
        let Some(filter) = join_filter(join.filter().as_ref())? else { return Ok(None) };
        let join = SortMergeJoinExec::try_new(
            Arc::clone(join.left()),
            Arc::clone(join.right()),
            join.on().to_vec(),
            Some(filter),
            join.join_type(),
            join.sort_options().to_vec(),
            join.null_equality(),
        )?;
        return Ok(Some(Arc::new(join)));
    }
    Ok(None)
}

fn join_filter(filter: Option<&JoinFilter>) -> Result<Option<JoinFilter>> {
    let Some(filter) = filter else { return Ok(None) };
    let Some(expression) = guarded(filter.expression(), filter.schema())? else { return Ok(None) };
    let columns = filter.column_indices().to_vec();
    Ok(Some(JoinFilter::new(expression, columns, Arc::clone(filter.schema()))))
}

/// The guarded predicate of a filter, if it needs guards. A filter treats unknown as false.
fn filtered(predicate: &Condition, schema: &Schema) -> Result<Option<Condition>> {
    let mut certain = Vec::new();
    let mut fallible = Vec::new();
    let mut changed = false;
    for part in split_conjunction(predicate) {
        let guarded = guarded(part, schema)?;
        changed |= guarded.is_some();
        let part = guarded.unwrap_or_else(|| Arc::clone(part));
        if is_fallible(&part, schema) { fallible.push(part) } else { certain.push(part) }
    }
    if fallible.is_empty() || (certain.is_empty() && fallible.len() == 1) {
        // A single part that can fail has nothing to guard it.
        return Ok(changed.then(|| conjunction(certain.into_iter().chain(fallible))));
    }
    let guard = certain.clone();
    fallible.sort_by_key(|part| n_fallible(part, schema));
    let mut parts = fallible.into_iter().rev();
    let Some(mut rest) = parts.next() else { return Ok(None) };
    for part in parts {
        rest = passed(part, rest)?;
    }
    if !guard.is_empty() {
        rest = passed(conjunction(guard), rest)?;
    }
    // Parts that cannot fail also stay separate: the planner reads constants from them.
    Ok(Some(conjunction(certain.into_iter().chain([rest]))))
}

/// `rest` for the rows for which `guard` is true.
fn passed(guard: Condition, rest: Condition) -> Result<Condition> {
    Ok(Arc::new(CaseExpr::try_new(None, vec![(guard, rest)], Some(lit(false)))?))
}

/// `expr` with guards in its ANDs and ORs, at any depth, if it needs guards. Its value is
/// unchanged, null included.
fn guarded(expr: &Condition, schema: &Schema) -> Result<Option<Condition>> {
    if !is_fallible(expr, schema) {
        return Ok(None);
    }
    let op = expr.downcast_ref::<BinaryExpr>().map(|binary| *binary.op());
    let Some(op @ (Operator::And | Operator::Or)) = op else {
        let children = expr.children();
        let mut changed = false;
        let mut guarded_children = Vec::with_capacity(children.len());
        for child in children {
            let guarded = guarded(child, schema)?;
            changed |= guarded.is_some();
            guarded_children.push(guarded.unwrap_or_else(|| Arc::clone(child)));
        }
        if !changed {
            return Ok(None);
        }
        return Arc::clone(expr).with_new_children(guarded_children).map(Some);
    };
    let mut parts = Vec::new();
    flatten(expr, op, &mut parts);
    let mut guarded_parts = Vec::with_capacity(parts.len());
    for part in parts {
        guarded_parts.push(guarded(&part, schema)?.unwrap_or(part));
    }
    guarded_parts.sort_by_key(|part| n_fallible(part, schema));
    let mut parts = guarded_parts.into_iter().rev();
    let Some(mut rest) = parts.next() else { return Ok(None) };
    for part in parts {
        rest = decided(part, op, rest, schema)?;
    }
    Ok(Some(rest))
}

/// The parts of nested ANDs, or of nested ORs, from left to right.
fn flatten(expr: &Condition, op: Operator, parts: &mut Vec<Condition>) {
    match expr.downcast_ref::<BinaryExpr>() {
        Some(binary) if *binary.op() == op => {
            flatten(binary.left(), op, parts);
            flatten(binary.right(), op, parts);
        }
        _ => parts.push(Arc::clone(expr)),
    }
}

/// `part op rest`, with `rest` evaluated for the rows that `part` does not decide.
fn decided(part: Condition, op: Operator, rest: Condition, schema: &Schema) -> Result<Condition> {
    let both = |part, rest| Arc::new(BinaryExpr::new(part, op, rest)) as Condition;
    if !is_fallible(&rest, schema) {
        return Ok(both(part, rest));
    }
    let decisive = lit(op == Operator::Or);
    let decides: Condition = Arc::new(BinaryExpr::new(
        Arc::clone(&part),
        Operator::IsNotDistinctFrom,
        Arc::clone(&decisive),
    ));
    let both = both(part, rest);
    Ok(Arc::new(CaseExpr::try_new(None, vec![(decides, decisive)], Some(both))?))
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    #[tokio::test]
    async fn guards_are_still_needed() {
        let sql = "SELECT x FROM (VALUES (4, 2), (1, 0)) v(x, y) WHERE y <> 0 AND x / y > 1";
        let plain = SessionContext::new().sql(sql).await.expect("planned").collect().await;
        assert!(plain.is_err(), "DataFusion divides for every row");
    }
}
