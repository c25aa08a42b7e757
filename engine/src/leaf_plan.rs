//! The leaf of our own plans: [`LeafPlan`] is what all of them share, a [`LeafSource`] is where the
//! rows of one of them come from. `SealedScan` of `bigslice_files` is not one of them: it forwards
//! all that it is asked to the scan inside of it.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::task::{Poll, ready};

use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, Statistics, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::coop::cooperative;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, StatisticsArgs,
};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};

/// The rows of a partition.
pub(crate) type Rows = BoxStream<'static, Result<RecordBatch>>;

/// Where the rows of a [`LeafPlan`] come from.
pub(crate) trait LeafSource: fmt::Debug + Send + Sync + 'static {
    /// The operator's name.
    const NAME: &'static str;

    /// Writes the line for EXPLAIN; `schema` is the plan's.
    fn describe(
        &self,
        schema: &Schema,
        format: DisplayFormatType,
        f: &mut fmt::Formatter<'_>,
    ) -> fmt::Result;

    /// Opens a partition, whose batches must have the plan's `schema`. `partition` is one that the
    /// plan has.
    fn open(&self, partition: usize, schema: &SchemaRef, context: &TaskContext) -> Result<Rows>;

    /// The number of rows that a partition may stop after.
    fn limit(&self) -> Option<usize> {
        None
    }

    /// The number of rows of a partition, or of all partitions.
    fn row_count(&self, _partition: Option<usize>) -> Precision<usize> {
        Precision::Absent
    }
}

/// A leaf of a physical plan.
#[derive(Debug, Clone)]
pub(crate) struct LeafPlan<S> {
    source: S,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl<S: LeafSource> LeafPlan<S> {
    /// A scan that yields to other tasks between batches.
    pub(crate) fn scan(source: S, schema: SchemaRef, partitions: usize) -> Self {
        let leaf = Self::of(source, EquivalenceProperties::new(schema), partitions);
        let properties = leaf.properties.as_ref().clone();
        let properties = properties.with_scheduling_type(SchedulingType::Cooperative);
        Self { properties: Arc::new(properties), ..leaf }
    }

    /// A leaf whose rows have these properties, in partitions split in no known way.
    pub(crate) fn of(source: S, known: EquivalenceProperties, partitions: usize) -> Self {
        let properties = PlanProperties::new(
            known,
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        let metrics = ExecutionPlanMetricsSet::new();
        Self { source, properties: Arc::new(properties), metrics }
    }
}

impl<S> Deref for LeafPlan<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.source
    }
}

impl<S: LeafSource> DisplayAs for LeafPlan<S> {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.describe(&self.schema(), format, f)
    }
}

impl<S: LeafSource> ExecutionPlan for LeafPlan<S> {
    fn name(&self) -> &'static str {
        S::NAME
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![]
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if children.is_empty() { Ok(self) } else { internal_err!("{} has no children", S::NAME) }
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let partitions = self.properties.partitioning.partition_count();
        if partition >= partitions {
            return internal_err!("{} has {partitions} partitions, not {partition}", S::NAME);
        }
        let schema = self.schema();
        let rows = self.source.open(partition, &schema, &context)?;
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let rows = first_rows(rows, self.source.limit().unwrap_or(usize::MAX), metrics);
        let stream = RecordBatchStreamAdapter::new(schema, rows);
        Ok(match self.properties.scheduling_type {
            SchedulingType::Cooperative => Box::pin(cooperative(stream)),
            SchedulingType::NonCooperative => Box::pin(stream),
        })
    }

    fn statistics_from_inputs(
        &self,
        _inputs: &[Arc<Statistics>],
        args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema());
        statistics.num_rows = self.source.row_count(args.partition());
        statistics.calculate_total_byte_size(&self.schema());
        Ok(Arc::new(statistics))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// The first `limit` rows, counted and timed. `rows` is dropped as soon as it is not needed.
fn first_rows(
    rows: Rows,
    limit: usize,
    metrics: BaselineMetrics,
) -> impl Stream<Item = Result<RecordBatch>> {
    let mut left = limit;
    let mut rows = Some(rows);
    futures::stream::poll_fn(move |cx| {
        if left == 0 {
            rows = None;
        }
        let Some(open) = &mut rows else { return Poll::Ready(None) };
        let timer = metrics.elapsed_compute().timer();
        let next = ready!(open.poll_next_unpin(cx));
        timer.done();
        let batch = match next {
            Some(Ok(batch)) => batch,
            ended => {
                rows = None;
                return Poll::Ready(ended);
            }
        };
        let first = if batch.num_rows() > left { batch.slice(0, left) } else { batch };
        left -= first.num_rows();
        metrics.record_output(first.num_rows());
        Poll::Ready(Some(Ok(first)))
    })
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{AsArray, Int64Array};
    use datafusion::arrow::datatypes::{DataType, Field, Int64Type};
    use datafusion::physical_plan::collect;
    use futures::stream;

    use super::*;

    /// Endless partitions, each of batches of three rows.
    #[derive(Debug)]
    struct Threes(Option<usize>);

    impl LeafSource for Threes {
        const NAME: &'static str = "Threes";

        fn describe(
            &self,
            schema: &Schema,
            _format: DisplayFormatType,
            f: &mut fmt::Formatter<'_>,
        ) -> fmt::Result {
            write!(f, "Threes: {}", schema.field(0).name())
        }

        fn open(&self, at: usize, schema: &SchemaRef, _context: &TaskContext) -> Result<Rows> {
            let column = Arc::new(Int64Array::from_value(i64::try_from(at).unwrap(), 3));
            let batch = RecordBatch::try_new(Arc::clone(schema), vec![column])?;
            Ok(stream::repeat_with(move || Ok(batch.clone())).boxed())
        }

        fn limit(&self) -> Option<usize> {
            self.0
        }
    }

    #[tokio::test]
    async fn a_limit_holds_for_each_partition() {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        for limit in [0, 1, 3, 7] {
            let scan = Arc::new(LeafPlan::scan(Threes(Some(limit)), Arc::clone(&schema), 2));
            let plan = Arc::<LeafPlan<Threes>>::clone(&scan);
            let batches = collect(plan, Arc::default()).await.unwrap();
            let rows = batches.iter().flat_map(|b| b.column(0).as_primitive::<Int64Type>().iter());
            let mut rows: Vec<_> = rows.flatten().collect();
            rows.sort_unstable();
            assert_eq!(rows, [vec![0; limit], vec![1; limit]].concat());
            assert_eq!(scan.metrics().unwrap().output_rows(), Some(2 * limit));
        }
        let scan = LeafPlan::scan(Threes(None), schema, 2);
        assert!(scan.execute(2, Arc::default()).is_err());
    }
}
