//! Aggregates over sliding window frames, recomputed from the rows of each frame.
//!
//! DataFusion 55.2 refuses `string_agg`, `bool_or`, `bit_and` and others over `ROWS 1 PRECEDING`,
//! because their accumulators cannot retract a row. This wrapper keeps the rows of the frame, and
//! feeds them to a new accumulator for each result.

use std::collections::VecDeque;
use std::fmt::{Debug, Formatter};
use std::mem::size_of_val;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::functions_aggregate as upstream;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, GroupsAccumulator, ReversedUDAF,
    SetMonotonicity, Signature, StatisticsArgs,
};
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr};

/// The functions of this module, for registration.
pub(crate) fn functions() -> Vec<Arc<AggregateUDF>> {
    [
        upstream::bool_and_or::bool_and_udaf().as_ref().clone().with_aliases(["every"]),
        upstream::bool_and_or::bool_or_udaf().as_ref().clone(),
        upstream::bit_and_or_xor::bit_and_udaf().as_ref().clone(),
        upstream::bit_and_or_xor::bit_or_udaf().as_ref().clone(),
        upstream::approx_distinct::approx_distinct_udaf().as_ref().clone(),
    ]
    .map(|original| Arc::new(AggregateUDF::from(Moving { original })))
    .into()
}

/// DataFusion's function, with support for sliding frames.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Moving {
    original: AggregateUDF,
}

impl AggregateUDFImpl for Moving {
    fn name(&self) -> &str {
        self.original.inner().name()
    }

    fn aliases(&self) -> &[String] {
        self.original.inner().aliases()
    }

    fn signature(&self) -> &Signature {
        self.original.inner().signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.original.inner().return_type(types)
    }

    fn is_nullable(&self) -> bool {
        self.original.inner().is_nullable()
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        self.original.inner().return_field(fields)
    }

    fn default_value(&self, kind: &DataType) -> Result<ScalarValue> {
        self.original.inner().default_value(kind)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.original.inner().state_fields(args)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.original.inner().accumulator(args)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        recomputed(&self.original, &args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.original.inner().groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        self.original.inner().create_groups_accumulator(args)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.original.inner().order_sensitivity()
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.original.inner().coerce_types(types)
    }

    fn value_from_stats(&self, args: &StatisticsArgs) -> Option<ScalarValue> {
        self.original.inner().value_from_stats(args)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.original.inner().documentation()
    }

    fn set_monotonicity(&self, kind: &DataType) -> SetMonotonicity {
        self.original.inner().set_monotonicity(kind)
    }
}

/// An accumulator of `function` for a sliding frame.
pub(crate) fn recomputed(
    function: &AggregateUDF,
    args: &AccumulatorArgs,
) -> Result<Box<dyn Accumulator>> {
    let factory = Factory {
        function: function.clone(),
        return_field: Arc::clone(&args.return_field),
        schema: args.schema.clone(),
        ignore_nulls: args.ignore_nulls,
        order_bys: args.order_bys.to_vec(),
        name: args.name.to_owned(),
        is_distinct: args.is_distinct,
        exprs: args.exprs.to_vec(),
        expr_fields: args.expr_fields.to_vec(),
    };
    // Fails here if `function` refuses the arguments.
    factory.accumulator()?;
    Ok(Box::new(Recomputed { factory, batches: VecDeque::new() }))
}

/// What is needed to create an accumulator.
struct Factory {
    function: AggregateUDF,
    return_field: FieldRef,
    schema: Schema,
    ignore_nulls: bool,
    order_bys: Vec<PhysicalSortExpr>,
    name: String,
    is_distinct: bool,
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    expr_fields: Vec<FieldRef>,
}

impl Factory {
    fn accumulator(&self) -> Result<Box<dyn Accumulator>> {
        self.function.accumulator(AccumulatorArgs {
            return_field: Arc::clone(&self.return_field),
            schema: &self.schema,
            ignore_nulls: self.ignore_nulls,
            order_bys: &self.order_bys,
            is_reversed: false,
            name: &self.name,
            is_distinct: self.is_distinct,
            exprs: &self.exprs,
            expr_fields: &self.expr_fields,
        })
    }
}

/// Rows leave the frame in the order in which they entered it.
struct Recomputed {
    factory: Factory,
    batches: VecDeque<Vec<ArrayRef>>,
}

impl Debug for Recomputed {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "Recomputed({})", self.factory.name)
    }
}

impl Accumulator for Recomputed {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.batches.push_back(values.to_vec());
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let mut leaving = values.first().map_or(0, |column| column.len());
        while leaving > 0 {
            let Some(oldest) = self.batches.front_mut() else { break };
            let rows = oldest.first().map_or(0, |column| column.len());
            if rows <= leaving {
                self.batches.pop_front();
                leaving -= rows;
            } else {
                for column in oldest {
                    *column = column.slice(leaving, rows - leaving);
                }
                leaving = 0;
            }
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut accumulator = self.factory.accumulator()?;
        for batch in &self.batches {
            accumulator.update_batch(batch)?;
        }
        accumulator.evaluate()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        exec_err!("a sliding window has no partial state")
    }

    fn merge_batch(&mut self, _states: &[ArrayRef]) -> Result<()> {
        exec_err!("a sliding window has no partial state")
    }

    fn size(&self) -> usize {
        let columns = self.batches.iter().flatten();
        let bytes = columns.map(|c| c.to_data().get_slice_memory_size().unwrap_or_default());
        size_of_val(self) + bytes.sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    #[tokio::test]
    async fn frames_that_move_are_still_needed() {
        let sql = "SELECT bool_or(b) OVER (ORDER BY i ROWS 1 PRECEDING) \
                   FROM (VALUES (1, true), (2, false)) t(i, b)";
        let plain = SessionContext::new().sql(sql).await.expect("planned").collect().await;
        plain.expect_err("DataFusion takes back rows of bool_or");
    }
}
