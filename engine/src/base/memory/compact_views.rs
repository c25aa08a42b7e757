//! Copies short texts out of the large buffers that they arrive in, below operators that keep rows.
//!
//! arrow 59.3 collects the rows of a hash repartition or a filter into batches, and gives each
//! batch of texts a buffer of up to 1 MiB of its own, however few bytes it has. An operator that
//! keeps rows requests memory for whole buffers: 1 MiB for 40 KiB of texts, so that under a memory
//! limit it spills or fails when it has used a small part of its share. [`CompactViews`] adds a
//! [`CompactViewsExec`] below it:
//!
//! ```text
//! Sort                               Sort
//!   Repartition(Hash)          =>      CompactViews
//!                                        Repartition(Hash)
//! ```

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, GenericByteViewArray, RecordBatch};
use datafusion::arrow::array::{RecordBatchOptions, types::ByteViewType};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, Statistics, internal_datafusion_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::execution_plan::{CardinalityEffect, replace_children_if_necessary};
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties,
    ReplaceChildrenOptions,
};
use futures::StreamExt;

/// Bytes that a column may waste: copying less is not worth it.
const WASTE_BYTES_MAX: usize = 16 * 1024;

/// The physical rule: runs last, on the single-process plan.
#[derive(Debug, Clone, Copy)]
pub(crate) enum CompactViews {
    /// Below all operators that keep rows: for a session with a memory limit.
    BelowKeepers,
    /// Below the build sides of hash joins. arrow 59.3 lists all buffers of the build side with
    /// each batch that a join returns, and the next join lists these for each of its batches: with
    /// millions of rows, lists of buffers take more time than the join.
    BelowBuilds,
}

impl PhysicalOptimizerRule for CompactViews {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            if !self.is_below(node.as_ref()) {
                return Ok(Transformed::no(node));
            }
            let mut children: Vec<_> = node.children().into_iter().map(Arc::clone).collect();
            let Some(first) = children.first().cloned() else { return Ok(Transformed::no(node)) };
            children[0] = compacted(first)?;
            replace_children_if_necessary(node, children).map(Transformed::yes)
        })
        .map(|compacting| compacting.data)
    }

    fn name(&self) -> &'static str {
        "compact_views"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

impl CompactViews {
    fn is_below(self, node: &dyn ExecutionPlan) -> bool {
        match self {
            Self::BelowKeepers => keeps_first_input(node),
            Self::BelowBuilds => node.is::<HashJoinExec>(),
        }
    }
}

/// True if the operator keeps all rows of its first input. A top-k keeps few, and copies them.
fn keeps_first_input(node: &dyn ExecutionPlan) -> bool {
    node.is::<HashJoinExec>()
        || node.is::<NestedLoopJoinExec>()
        || node.is::<CrossJoinExec>()
        || node.downcast_ref::<SortExec>().is_some_and(|sort| sort.fetch().is_none())
}

/// `input` with compact views. The node goes below a gather, which the split into stages looks for.
fn compacted(input: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    if !input.schema().fields().iter().any(|field| is_view(field.data_type())) {
        return Ok(input);
    }
    if input.is::<CoalescePartitionsExec>() {
        let below = input.children().into_iter().map(|child| compacted(Arc::clone(child)));
        let below = below.collect::<Result<_>>()?;
        return replace_children_if_necessary(input, below);
    }
    // An operator that has copied its rows already.
    if input.is::<SortExec>() || input.is::<CompactViewsExec>() {
        return Ok(input);
    }
    Ok(Arc::new(CompactViewsExec::new(input)))
}

fn is_view(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8View | DataType::BinaryView)
}

/// The operator: passes rows on, with the values of views in buffers of their size.
#[derive(Debug)]
pub(crate) struct CompactViewsExec {
    input: Arc<dyn ExecutionPlan>,
}

impl CompactViewsExec {
    /// Its name in plans, by which the planner knows that it treats every batch by itself.
    pub(crate) const NAME: &str = "CompactViewsExec";

    /// Compacts the rows of `input`.
    pub(crate) fn new(input: Arc<dyn ExecutionPlan>) -> Self {
        Self { input }
    }
}

impl DisplayAs for CompactViewsExec {
    fn fmt_as(&self, kind: DisplayFormatType, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match kind {
            DisplayFormatType::TreeRender => Ok(()),
            _ => f.write_str(Self::NAME),
        }
    }
}

impl ExecutionPlan for CompactViewsExec {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.pop().filter(|_| children.is_empty());
        let input = input.ok_or_else(|| internal_datafusion_err!("not exactly one input"))?;
        Ok(Arc::new(Self::new(input)))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
        self.replace_children(children, options)
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        let compact = input.map(|batch| compact(batch?));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), compact)))
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    fn statistics_from_inputs(
        &self,
        inputs: &[Arc<Statistics>],
        _args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        Ok(Arc::clone(&inputs[0]))
    }

    fn supports_limit_pushdown(&self) -> bool {
        true
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }
}

fn compact(batch: RecordBatch) -> Result<RecordBatch> {
    let (schema, columns, n_rows) = batch.into_parts();
    let columns = columns.into_iter().map(compact_column).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
    Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
}

fn compact_column(column: ArrayRef) -> ArrayRef {
    if let Some(texts) = column.as_string_view_opt().filter(|views| is_wasteful(views)) {
        Arc::new(texts.gc())
    } else if let Some(bytes) = column.as_binary_view_opt().filter(|views| is_wasteful(views)) {
        Arc::new(bytes.gc())
    } else {
        column
    }
}

/// True if the values take less than half of their buffers.
fn is_wasteful<T: ByteViewType + ?Sized>(views: &GenericByteViewArray<T>) -> bool {
    let held: usize = views.data_buffers().iter().map(|buffer| buffer.capacity()).sum();
    held > WASTE_BYTES_MAX && held > WASTE_BYTES_MAX + 2 * views.total_buffer_bytes_used()
}

#[cfg(test)]
mod tests {
    use datafusion::common::utils::memory::get_record_batch_memory_size;
    use datafusion::execution::SessionStateBuilder;
    use datafusion::physical_plan::displayable;
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::*;

    async fn plan(sql: &str) -> (SessionContext, Arc<dyn ExecutionPlan>) {
        let config = SessionConfig::new().with_target_partitions(2).with_batch_size(1024);
        let state = SessionStateBuilder::new().with_default_features().with_config(config);
        let state =
            state.with_physical_optimizer_rule(Arc::new(CompactViews::BelowKeepers)).build();
        let context = SessionContext::new_with_state(state);
        let plan = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        (context, plan)
    }

    fn find(plan: &Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>> {
        match plan.is::<CompactViewsExec>() {
            true => Some(Arc::clone(plan)),
            false => plan.children().into_iter().find_map(find),
        }
    }

    const TEXTS: &str = "(SELECT 'padding-' || md5(CAST(value AS VARCHAR)) AS s FROM range(50000))";

    /// Also shows when the rule can go: when batches of a repartition request what they hold.
    #[tokio::test]
    async fn repartitioned_texts_are_in_buffers_of_their_size() {
        let sql = format!("SELECT a.s FROM {TEXTS} a JOIN {TEXTS} b ON a.s = b.s");
        let mut sizes = Vec::new();
        for compacts in [false, true] {
            let (context, plan) = plan(&sql).await;
            let node = find(&plan).unwrap();
            let node = if compacts { node } else { Arc::clone(node.children()[0]) };
            let rows = datafusion::physical_plan::collect(node, context.task_ctx()).await.unwrap();
            assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 50_000);
            sizes.push(rows.iter().map(get_record_batch_memory_size).max().unwrap());
        }
        let [before, after] = sizes[..] else { panic!("two plans") };
        assert!(before > 1 << 20, "{before}: DataFusion's batches are small, drop the rule");
        assert!(after < before / 8, "{before} {after}");
    }

    #[tokio::test]
    async fn only_inputs_that_are_kept_are_compacted() {
        let kept = [
            format!("SELECT s FROM {TEXTS} ORDER BY s"),
            format!("SELECT a.s FROM {TEXTS} a JOIN {TEXTS} b ON a.s = b.s"),
            format!("SELECT a.s FROM {TEXTS} a JOIN {TEXTS} b ON a.s < b.s"),
            format!("SELECT a.s FROM {TEXTS} a CROSS JOIN {TEXTS} b"),
        ];
        for sql in kept {
            let plan = plan(&sql).await.1;
            assert!(find(&plan).is_some(), "{}", displayable(plan.as_ref()).indent(false));
        }
        let not_kept = [
            format!("SELECT s FROM {TEXTS} ORDER BY s LIMIT 3"),
            format!("SELECT s, count(*) FROM {TEXTS} GROUP BY s"),
            "SELECT value FROM range(10) ORDER BY value DESC".to_owned(),
        ];
        for sql in not_kept {
            let plan = plan(&sql).await.1;
            assert!(find(&plan).is_none(), "{}", displayable(plan.as_ref()).indent(false));
        }
    }
}
