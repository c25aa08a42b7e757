//! `reduce` as a DataFusion aggregate function: DataFusion's hash tables, early output under memory
//! pressure and spilling are used unchanged; only the values are combined by the user's closure.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BooleanArray};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::{Result, internal_datafusion_err, not_impl_err};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};
use datafusion::physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode, PhysicalGroupBy};

use crate::pipeline::slice::UserCode;
use crate::pipeline::slice::keyed::heap_bytes::taken;
use crate::pipeline::slice::keyed::pre_aggregation::PreAggregation;
use crate::pipeline::slice::tree::node::TaskCx;
use crate::pipeline::slice::tree::streams;
use crate::row::Value;

/// Reduces pairs by their first column, in one of two modes: before they are partitioned by key,
/// and after.
pub(crate) struct ReduceAggregate<V, F> {
    combine: Arc<F>,
    pairs: SchemaRef,
    kind: PhantomData<fn() -> V>,
}

impl<V, F> Clone for ReduceAggregate<V, F> {
    fn clone(&self) -> Self {
        Self {
            combine: Arc::clone(&self.combine),
            pairs: Arc::clone(&self.pairs),
            kind: PhantomData,
        }
    }
}

impl<V, F> ReduceAggregate<V, F>
where
    V: Value,
    F: Fn(V, V) -> V + Send + Sync + 'static,
{
    /// Reduces pairs of this schema; `combine` combines their values.
    pub(crate) fn new(combine: F, pairs: SchemaRef) -> Self {
        Self { combine: Arc::new(combine), pairs, kind: PhantomData }
    }

    /// The schema between the two phases: the columns of the pairs.
    pub(crate) fn partial_schema(&self) -> SchemaRef {
        let fields = self.pairs.fields().iter();
        Arc::new(Schema::new(
            fields.map(|f| f.as_ref().clone().with_nullable(true)).collect::<Vec<_>>(),
        ))
    }

    /// A pre-aggregation table for pairs that a closure produces.
    pub(crate) fn pre_aggregation<K: Value>(&self, code: UserCode) -> PreAggregation<K, V, F> {
        PreAggregation::new(Arc::clone(&self.combine), Arc::clone(&self.pairs), code)
    }

    /// Partial phase: one pair for each key that is in memory at a time; keys may occur again.
    pub(crate) fn partial(
        &self,
        input: SendableRecordBatchStream,
        code: UserCode,
        cx: &TaskCx,
    ) -> Result<SendableRecordBatchStream> {
        self.run(AggregateMode::Partial, input, &self.partial_schema(), code, cx)
    }

    /// Final phase: one pair per key.
    pub(crate) fn total(
        &self,
        input: SendableRecordBatchStream,
        code: UserCode,
        cx: &TaskCx,
    ) -> Result<SendableRecordBatchStream> {
        self.run(AggregateMode::Final, input, &self.pairs, code, cx)
    }

    fn run(
        &self,
        mode: AggregateMode,
        input: SendableRecordBatchStream,
        output: &SchemaRef,
        code: UserCode,
        cx: &TaskCx,
    ) -> Result<SendableRecordBatchStream> {
        let (key, value) = (self.pairs.field(0), self.pairs.field(1));
        let by: Arc<Column> = Arc::new(Column::new(key.name(), 0));
        let by = PhysicalGroupBy::new_single(vec![(by, key.name().clone())]);
        let function = self.function(value, code)?;
        let plan = AggregateExec::try_new(
            mode,
            by,
            vec![Arc::new(function)],
            vec![None],
            streams::feed(input),
            Arc::clone(&self.pairs),
        )?;
        let made = Arc::clone(output);
        let rows = plan.execute(0, Arc::clone(&cx.context))?;
        Ok(streams::each(rows, output, move |batch| {
            let columns = batch.columns().to_vec();
            Ok(RecordBatch::try_new(Arc::clone(&made), columns)?)
        }))
    }

    fn function(&self, value: &Field, code: UserCode) -> Result<AggregateFunctionExpr> {
        let function = AggregateUDF::from(Function::<V, F> {
            signature: Signature::any(1, Volatility::Immutable),
            combine: Arc::clone(&self.combine),
            code,
            kind: PhantomData,
        });
        AggregateExprBuilder::new(Arc::new(function), vec![Arc::new(Column::new(value.name(), 1))])
            .schema(Arc::clone(&self.pairs))
            .alias(value.name())
            .build()
    }
}

struct Function<V, F> {
    signature: Signature,
    combine: Arc<F>,
    code: UserCode,
    kind: PhantomData<fn() -> V>,
}

impl<V, F> fmt::Debug for Function<V, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.code.verb, self.code.place)
    }
}

impl<V, F> PartialEq for Function<V, F> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.combine, &other.combine)
    }
}

impl<V, F> Eq for Function<V, F> {}

impl<V, F> Hash for Function<V, F> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.combine).cast::<()>().hash(state);
    }
}

impl<V, F> AggregateUDFImpl for Function<V, F>
where
    V: Value,
    F: Fn(V, V) -> V + Send + Sync + 'static,
{
    fn name(&self) -> &str {
        self.code.verb
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(V::data_type())
    }

    fn accumulator(&self, _args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        not_impl_err!("\"{}\" needs a key", self.code.verb)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(args.name, V::data_type(), true))])
    }

    fn groups_accumulator_supported(&self, _args: AccumulatorArgs<'_>) -> bool {
        true
    }

    fn create_groups_accumulator(
        &self,
        _args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        let combine = Arc::clone(&self.combine);
        Ok(Box::new(Groups::<V, F> { values: Vec::new(), heap: 0, combine, code: self.code }))
    }
}

/// One value per key.
struct Groups<V, F> {
    values: Vec<Option<V>>,
    /// The heap bytes of the values, with the overhead of their allocations. Kept up to date,
    /// because the size is asked for after each batch.
    heap: usize,
    combine: Arc<F>,
    code: UserCode,
}

impl<V: Value, F: Fn(V, V) -> V> Groups<V, F> {
    fn add(&mut self, values: &ArrayRef, groups: &[usize], total: usize) -> Result<()> {
        self.values.resize_with(total, || None);
        let column = V::column(values, None).map_err(|e| self.code.mismatch(&e))?;
        let (held, heap, combine) = (&mut self.values, &mut self.heap, self.combine.as_ref());
        self.code.call(|| {
            for (row, group) in groups.iter().enumerate() {
                let value = V::to_owned(V::get(&column, row));
                let place = &mut held[*group];
                let value = match place.take() {
                    Some(before) => {
                        *heap -= taken::<V>(&before);
                        combine(before, value)
                    }
                    None => value,
                };
                *heap += taken::<V>(&value);
                *place = Some(value);
            }
            Ok(())
        })
    }

    fn take(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        let values = emit.take_needed(&mut self.values);
        let mut builder = V::builder(values.len());
        // Each value is dropped once copied, so that all are never in memory twice.
        for value in values {
            let value = value.ok_or_else(|| internal_datafusion_err!("a key without a value"))?;
            self.heap -= taken::<V>(&value);
            V::append(&mut builder, value.view());
        }
        Ok(V::finish(&mut builder))
    }
}

impl<V, F> GroupsAccumulator for Groups<V, F>
where
    V: Value,
    F: Fn(V, V) -> V + Send + Sync + 'static,
{
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        _filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.add(&values[0], groups, total)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.add(&values[0], groups, total)
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        self.take(emit)
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.take(emit)?])
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        _filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        Ok(vec![Arc::clone(&values[0])])
    }

    fn size(&self) -> usize {
        self.values.capacity() * size_of::<Option<V>>() + self.heap
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::StringViewArray;

    use super::*;
    use crate::pipeline::slice::keyed::heap_bytes::ALLOCATION_BYTES;

    #[test]
    fn what_values_refer_to_counts() {
        let code = UserCode { verb: "reduce", place: std::panic::Location::caller(), shard: 0 };
        let combine = Arc::new(|a: String, b: String| a + &b);
        let mut groups = Groups { values: Vec::new(), heap: 0, combine, code };
        let text = "x".repeat(1000);
        let column: ArrayRef = Arc::new(StringViewArray::from(vec![text.as_str(); 4]));
        groups.add(&column, &[0, 1, 2, 0], 3).unwrap();
        let alone = groups.values.capacity() * size_of::<Option<String>>();
        assert_eq!(groups.size(), alone + 4 * 1000 + 3 * ALLOCATION_BYTES);
        assert_eq!(groups.take(EmitTo::First(1)).unwrap().len(), 1);
        assert_eq!(groups.heap, 2 * 1000 + 2 * ALLOCATION_BYTES);
        assert_eq!(groups.take(EmitTo::All).unwrap().len(), 2);
        assert_eq!(groups.heap, 0);
    }
}
