//! The parts of a plan that tasks run: [`Fragment`], the operators between two exchanges, whose
//! inputs are [`Slot`]s that each task fills with the streams of its shard; [`ByExprs`], which
//! splits rows by a hash; and [`Values`], a leaf that contains its rows. Made by
//! [`cut`](super::cut).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result as PlanResult, internal_datafusion_err, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{
    DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, displayable,
};
use futures::{StreamExt, TryStreamExt};

use super::Call;
use crate::error::{Error, Result};
use crate::leaf_plan::{LeafPlan, LeafSource, Rows};
use crate::pipeline::slice::UserCode;
use crate::pipeline::slice::keyed::keys::{canonical, ids_of};
use crate::pipeline::slice::tree::node::{
    Narrow, Partition, Resolving, Source, SplitCx, TaskCx, Wide,
};
use crate::pipeline::slice::tree::order_sensitivity::OrderSensitivity;
use crate::pipeline::slice::tree::streams;

/// Checks each batch of a slice's rows before they are read as rows of a type.
pub(super) type Check = Arc<dyn Fn(&RecordBatch, &TaskCx) -> PlanResult<()> + Send + Sync>;

/// Operators, with a slot for each of their inputs.
pub(super) struct Fragment {
    pub(super) plan: Arc<dyn ExecutionPlan>,
    /// The slots, in the order in which their streams come.
    pub(super) slots: Vec<usize>,
    /// The schema of the output; that of `plan` may be less precise.
    pub(super) schema: SchemaRef,
    pub(super) check: Option<Check>,
    /// The verb that the fragment is a part of.
    pub(super) call: Call,
}

impl Fragment {
    fn rows(
        &self,
        inputs: Vec<SendableRecordBatchStream>,
        cx: &TaskCx,
    ) -> PlanResult<SendableRecordBatchStream> {
        let mut inputs: Vec<Option<SendableRecordBatchStream>> =
            inputs.into_iter().map(Some).collect();
        let failed = Arc::new(AtomicBool::new(false));
        let filled = Arc::clone(&self.plan).transform_up(|node| {
            let Some(slot) = node.downcast_ref::<Slot>() else { return Ok(Transformed::no(node)) };
            let at = self.slots.iter().position(|id| *id == slot.id);
            let input = at.and_then(|at| inputs.get_mut(at)).and_then(Option::take);
            let input =
                input.ok_or_else(|| internal_datafusion_err!("input {} is missing", slot.id))?;
            let rows = shaped(noting_errors(input, &failed), &slot.schema());
            Ok(Transformed::yes(streams::feed_as(
                rows,
                slot.properties().equivalence_properties().clone(),
            )))
        })?;
        // Operators are made for one execution. Drop the state that the template shares with its
        // copies, such as the hash table of a join.
        let plan = reset_plan_states(filled.data)?;
        let rows = whole(plan).execute(0, Arc::clone(&cx.context))?;
        let rows = self.naming_the_verb(rows, failed, cx);
        let Some(check) = self.check.clone() else { return Ok(shaped(rows, &self.schema)) };
        let (of, made) = (cx.clone(), Arc::clone(&self.schema));
        Ok(streams::each(rows, &self.schema, move |batch| {
            check(&batch, &of)?;
            reshaped(&batch, &made)
        }))
    }
}

impl Fragment {
    /// The rows. An error that does not come from an input names the verb that failed, like an
    /// error of a closure.
    fn naming_the_verb(
        &self,
        rows: SendableRecordBatchStream,
        failed: Arc<AtomicBool>,
        cx: &TaskCx,
    ) -> SendableRecordBatchStream {
        let Call { verb, place } = self.call;
        let code = UserCode { verb, place, shard: cx.shard };
        let schema = rows.schema();
        let rows = rows.map_err(move |error| match Error::peek(&error) {
            Error::Query { message, .. } if !failed.load(Ordering::Relaxed) => code.failed(message),
            _ => error,
        });
        streams::with_schema(schema, rows)
    }
}

/// The rows. Sets `failed` at the first error.
fn noting_errors(
    rows: SendableRecordBatchStream,
    failed: &Arc<AtomicBool>,
) -> SendableRecordBatchStream {
    let (schema, failed) = (rows.schema(), Arc::clone(failed));
    let noted = rows.inspect_err(move |_| failed.store(true, Ordering::Relaxed));
    streams::with_schema(schema, noted)
}

/// The rows with the columns of `schema`, without empty batches.
fn shaped(rows: SendableRecordBatchStream, schema: &SchemaRef) -> SendableRecordBatchStream {
    let made = Arc::clone(schema);
    streams::with_schema(
        Arc::clone(schema),
        rows.map(move |batch| batch.and_then(|batch| reshaped(&batch, &made)))
            .try_filter(|batch| std::future::ready(batch.num_rows() > 0)),
    )
}

fn reshaped(batch: &RecordBatch, schema: &SchemaRef) -> PlanResult<RecordBatch> {
    if batch.schema_ref() == schema {
        return Ok(batch.clone());
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let columns = batch.columns().to_vec();
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

/// The plan with all of its rows in one partition.
fn whole(plan: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    match plan.output_partitioning().partition_count() {
        1 => plan,
        _ => Arc::new(CoalescePartitionsExec::new(plan)),
    }
}

/// Aggregates whose value depends on the order of their rows.
const BY_ORDER: [&str; 5] = ["first_value", "last_value", "nth_value", "array_agg", "string_agg"];

/// How a plan depends on the order of its inputs. An operator that is not known may emit rows in
/// any order.
fn order_of(plan: &Arc<dyn ExecutionPlan>) -> OrderSensitivity {
    let (mut counts, mut varies) = (false, false);
    let _ = plan.apply(|node| {
        let is_limit = node.is::<GlobalLimitExec>() || node.is::<LocalLimitExec>();
        let is_window = node.is::<WindowAggExec>() || node.is::<BoundedWindowAggExec>();
        let by_order = node.downcast_ref::<AggregateExec>().is_some_and(|aggregate| {
            let mut functions = aggregate.aggr_expr().iter();
            aggregate.limit_options().is_some()
                || functions.any(|function| BY_ORDER.contains(&function.fun().name()))
        });
        counts |= is_limit || is_window || by_order || node.fetch().is_some();
        let by_row = node.is::<Slot>()
            || node.is::<ProjectionExec>()
            || node.is::<FilterExec>()
            || node.is::<UnnestExec>()
            || node.is::<CooperativeExec>();
        // A sort with a limit keeps its few rows in memory, and never spills.
        let is_top = node.fetch().is_some() && node.is::<SortExec>();
        varies |= !(is_limit || is_top || by_row);
        Ok(TreeNodeRecursion::Continue)
    });
    match (counts, varies) {
        (false, false) => OrderSensitivity::Preserves,
        (true, false) => OrderSensitivity::Sensitive,
        (false, true) => OrderSensitivity::Unordered,
        (true, true) => OrderSensitivity::Nondeterministic,
    }
}

/// A plan as text, one line per operator.
pub(super) fn text(plan: &Arc<dyn ExecutionPlan>) -> String {
    displayable(plan.as_ref()).indent(false).to_string()
}

impl Narrow for Fragment {
    fn run(
        &self,
        input: SendableRecordBatchStream,
        cx: &TaskCx,
    ) -> PlanResult<SendableRecordBatchStream> {
        self.rows(vec![input], cx)
    }

    fn order_sensitivity(&self) -> OrderSensitivity {
        order_of(&self.plan)
    }

    fn describe(&self) -> Option<String> {
        (!self.plan.is::<Slot>()).then(|| text(&self.plan))
    }
}

impl Wide for Fragment {
    fn run(
        &self,
        inputs: Vec<SendableRecordBatchStream>,
        cx: &TaskCx,
    ) -> PlanResult<SendableRecordBatchStream> {
        self.rows(inputs, cx)
    }

    fn order_sensitivity(&self) -> OrderSensitivity {
        order_of(&self.plan)
    }

    fn describe(&self) -> Option<String> {
        (!self.plan.is::<Slot>()).then(|| text(&self.plan))
    }
}

/// The placeholder of an input in a [`Fragment`].
pub(super) type Slot = LeafPlan<SlotId>;

/// The number of a [`Slot`].
#[derive(Debug)]
pub(super) struct SlotId {
    pub(super) id: usize,
}

impl Slot {
    /// A slot for rows with these properties.
    pub(super) fn new(id: usize, known: EquivalenceProperties) -> Self {
        Self::of(SlotId { id }, known, 1)
    }
}

impl LeafSource for SlotId {
    const NAME: &'static str = "Slot";

    fn describe(
        &self,
        _schema: &Schema,
        _format: DisplayFormatType,
        f: &mut fmt::Formatter<'_>,
    ) -> fmt::Result {
        write!(f, "input {}", self.id)
    }

    fn open(&self, _: usize, _schema: &SchemaRef, _context: &TaskContext) -> PlanResult<Rows> {
        internal_err!("input {} was not connected", self.id)
    }
}

/// Splits rows by a hash of expressions, which is the same in every process. Values that operators
/// treat as equal have the same hash: all NaNs, and zero with either sign.
pub(super) struct ByExprs(pub(super) Vec<Arc<dyn PhysicalExpr>>);

impl Partition for ByExprs {
    fn partition(&self, batch: &RecordBatch, cx: &SplitCx, ids: &mut Vec<u32>) -> PlanResult<()> {
        let key = |expr: &Arc<dyn PhysicalExpr>| {
            Ok(canonical(&expr.evaluate(batch)?.into_array(batch.num_rows())?))
        };
        let keys: Vec<ArrayRef> = self.0.iter().map(key).collect::<PlanResult<_>>()?;
        ids_of(&keys, batch.num_rows(), cx.shards, ids)
    }

    fn describe(&self) -> Option<String> {
        let exprs: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        Some(exprs.join(", "))
    }
}

/// Rows that the plan itself contains, such as those of `VALUES`, in one shard.
pub(super) struct Values {
    pub(super) plan: Arc<dyn ExecutionPlan>,
    pub(super) schema: SchemaRef,
}

#[async_trait]
impl Source for Values {
    async fn shards(&self, _: &Resolving) -> Result<Vec<Arc<[u8]>>> {
        Ok(vec![Arc::default()])
    }

    fn open(&self, _: &[u8], cx: &TaskCx) -> PlanResult<SendableRecordBatchStream> {
        let plan = whole(reset_plan_states(Arc::clone(&self.plan))?);
        let rows = plan.execute(0, Arc::clone(&cx.context))?;
        let schema = Arc::clone(&self.schema);
        Ok(streams::each(rows, &self.schema, move |batch| {
            // The single row of a query without FROM has nulls without a type.
            let typed = batch.columns().iter().zip(schema.fields());
            let typed = typed.map(|(column, field)| cast(column, field.data_type()));
            let columns = typed.collect::<std::result::Result<Vec<_>, _>>()?;
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            Ok(RecordBatch::try_new_with_options(Arc::clone(&schema), columns, &options)?)
        }))
    }

    fn describe(&self) -> Option<String> {
        Some(text(&self.plan))
    }
}
