//! Decides whether a distributed plan can be sent to machines. A table of the embedding program may
//! scan with a node that only this process has, a table in memory may be too large to send with
//! each task's plan, and DataFusion's encoding of plans omits what some of them need. A plan that
//! cannot be sent runs in this process. Called by [`distribute`](crate::query::distribute).

use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, ScalarValue};
use datafusion::datasource::memory::{DataSourceExec, MemorySourceConfig};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::limit::GlobalLimitExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{
    ChildrenPropertiesMode, ExecutionPlan, ExecutionPlanProperties, InputOrderMode,
    ReplaceChildrenOptions,
};
use datafusion_distributed::{
    BroadcastExec, DistributedExec, DistributedLeafExec, NetworkBoundaryExt,
};
use datafusion_proto::bytes::physical_plan_to_bytes_with_extension_codec;

use crate::runs::job::PlanCodec;
use bigslice_files::file_scan;

/// Maximum size of a table in this process's memory that is sent with a plan: a message holds 64
/// MiB, and each task of a broadcast gets its own copy.
const TABLE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The union of datafusion-distributed, whose type is private.
const UNION: &str = "ChildrenIsolatorUnionExec";

/// Why a distributed plan cannot be sent, if it cannot.
pub(crate) fn obstacle(plan: &Arc<dyn ExecutionPlan>) -> Option<String> {
    let mut open = vec![(plan, false)];
    while let Some((node, sent)) = open.pop() {
        if sent && let Some(obstacle) = obstacle_at(node) {
            return Some(obstacle);
        }
        let sent = sent || node.is_network_boundary();
        open.extend(node.children().into_iter().map(|child| (child, sent)));
    }
    None
}

fn obstacle_at(node: &Arc<dyn ExecutionPlan>) -> Option<String> {
    // datafusion-distributed sends these itself. The parts of a leaf are scans that it has split,
    // which it only does if it can send them.
    if node.is::<DistributedExec>()
        || node.is::<BroadcastExec>()
        || node.is_network_boundary()
        || node.name() == UNION
    {
        return None;
    }
    if let Some(leaf) = node.downcast_ref::<DistributedLeafExec>() {
        return what_is_lost(leaf.original());
    }
    if let Some(lost) = what_is_lost(node) {
        return Some(lost);
    }
    if let Some(scan) = node.downcast_ref::<DataSourceExec>() {
        let table = scan.data_source().downcast_ref::<MemorySourceConfig>()?;
        let batches = table.partitions().iter().flatten();
        let bytes: usize = batches.map(|batch| batch.get_array_memory_size()).sum();
        return (bytes > TABLE_BYTES_MAX).then(|| {
            format!("a table of {} MiB is in the memory of this process only", bytes >> 20)
        });
    }
    let encoded = by_itself(node)
        .and_then(|node| physical_plan_to_bytes_with_extension_codec(node, &PlanCodec::default()));
    encoded.err().map(|_| format!("only this process knows \"{}\"", node.name()))
}

/// The node with empty inputs, which are quick to encode.
fn by_itself(node: &Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    if node.children().is_empty() {
        return Ok(Arc::clone(node));
    }
    let inputs = node.children().into_iter().map(|input| {
        let partitions = input.output_partitioning().partition_count();
        let empty = EmptyExec::new(input.schema()).with_partitions(partitions);
        Arc::new(empty) as Arc<dyn ExecutionPlan>
    });
    let keep = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep);
    Arc::clone(node).replace_children(inputs.collect(), keep)
}

/// What datafusion-proto 55.2 omits without an error when it encodes `node`.
fn what_is_lost(node: &Arc<dyn ExecutionPlan>) -> Option<String> {
    let skipped = node.downcast_ref::<GlobalLimitExec>().map(GlobalLimitExec::skip);
    // It encodes numbers of rows with 32 bits.
    if node.fetch().into_iter().chain(skipped).any(|rows| u32::try_from(rows).is_err()) {
        return Some("the encoding of plans omits limits of more than 4294967295 rows".to_owned());
    }
    let functions = match node.downcast_ref::<WindowAggExec>() {
        Some(window) => window.window_expr(),
        None => node.downcast_ref::<BoundedWindowAggExec>().map_or(&[][..], |w| w.window_expr()),
    };
    if let Some(function) = functions.iter().find(|f| bigslice_planner::is_unserializable(f)) {
        return Some(format!("the encoding of plans omits a part of \"{}\"", function.name()));
    }
    if relies_on_a_constant(node) {
        return Some(
            "the encoding of plans omits that a column of PARTITION BY is constant".to_owned(),
        );
    }
    let columns = file_scan(node).map(|scan| scan.file_source().table_schema());
    if columns.is_some_and(|columns| !columns.virtual_columns().is_empty()) {
        return Some("the encoding of plans omits columns with the names of files".to_owned());
    }
    let mut half = false;
    let visited = node.apply_expressions(&mut |expr| {
        half |= has_half(expr)?;
        Ok(TreeNodeRecursion::Continue)
    });
    // They would arrive as 32 bit numbers, which do not match their columns.
    (half || visited.is_err()).then(|| "the encoding of plans has no 16 bit floats".to_owned())
}

/// True if a window function needs the order of a column by which its input is not sorted, because
/// the planner knew that the column is constant. Exchanges lose this when they are decoded.
fn relies_on_a_constant(node: &Arc<dyn ExecutionPlan>) -> bool {
    let bounded = node.downcast_ref::<BoundedWindowAggExec>();
    let sorted = bounded.is_none_or(|window| window.input_order_mode == InputOrderMode::Sorted);
    let functions = match node.downcast_ref::<WindowAggExec>() {
        Some(window) => window.window_expr(),
        None => bounded.map_or(&[][..], |window| window.window_expr()),
    };
    let (Some(function), Some(input)) = (functions.first(), node.children().first().copied())
    else {
        return false;
    };
    let order = input.output_ordering();
    let is_sorted_by = |key: &Arc<dyn PhysicalExpr>| {
        order.is_some_and(|order| order.iter().any(|sort| sort.expr.eq(key)))
    };
    sorted && !function.partition_by().iter().all(is_sorted_by)
}

fn has_half(expr: &Arc<dyn PhysicalExpr>) -> Result<bool> {
    expr.exists(|expr| {
        let literal = expr.downcast_ref::<Literal>();
        Ok(literal.is_some_and(|literal| matches!(literal.value(), ScalarValue::Float16(_))))
    })
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::Schema;
    use datafusion::prelude::SessionContext;
    use datafusion_proto::bytes::physical_plan_from_bytes_with_extension_codec;

    use super::*;

    fn sent(plan: &Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        let codec = PlanCodec::default();
        let bytes = physical_plan_to_bytes_with_extension_codec(Arc::clone(plan), &codec).unwrap();
        let context = SessionContext::new().task_ctx();
        physical_plan_from_bytes_with_extension_codec(&bytes, &context, &codec).unwrap()
    }

    #[test]
    fn limits_of_many_rows_are_still_to_be_refused() {
        let rows = (1 << 32) + 7;
        let empty = Arc::new(EmptyExec::new(Arc::new(Schema::empty())));
        let limit: Arc<dyn ExecutionPlan> = Arc::new(GlobalLimitExec::new(empty, rows, None));
        let received = sent(&limit);
        let received = received.downcast_ref::<GlobalLimitExec>().unwrap();
        assert_ne!(received.skip(), rows, "the encoding of plans has such limits now");
        assert!(what_is_lost(&limit).is_some());
    }

    #[tokio::test]
    async fn functions_of_windows_are_still_to_be_refused() {
        let context = SessionContext::new();
        for function in ["sum(x) FILTER (WHERE x > 1)", "lag(x) IGNORE NULLS"] {
            let sql =
                format!("SELECT {function} OVER (ORDER BY x) AS y FROM (VALUES (1), (2)) AS t(x)");
            let plan = context.sql(&sql).await.unwrap().create_physical_plan().await.unwrap();
            let mut window = plan;
            while !window.is::<BoundedWindowAggExec>() {
                window = Arc::clone(window.children()[0]);
            }
            assert!(what_is_lost(&window).is_some(), "{function}");
            let lost = what_is_lost(&sent(&window));
            assert!(lost.is_none(), "the encoding of plans has {function} now");
        }
    }

    #[tokio::test]
    async fn sixteen_bit_floats_are_still_to_be_refused() {
        let context = SessionContext::new();
        let sql = "SELECT arrow_cast(x, 'Float16') < arrow_cast(1.5, 'Float16') AS y \
                   FROM (VALUES (1), (2)) AS t(x)";
        let plan = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        assert!(what_is_lost(&plan).is_some());
        let lost = what_is_lost(&sent(&plan));
        assert!(lost.is_none(), "the encoding of plans has 16 bit floats now");
    }
}
