//! `min` and `max` of floats and of nested values in SQL's order: NaN, and a null inside, is the
//! largest value.
//!
//! DataFusion 55.2: with groups, the accumulators return NaN whenever there is one; without groups,
//! they order NaN by its sign. Nested values have another order than in ORDER BY, or none
//! ("uncomparable values"); here they are compared by `nested_key`. Other types use DataFusion's
//! functions.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, ArrowNumericType};
use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, DataType, Float16Type, Float32Type, Float64Type,
};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions_aggregate::min_max::{Max, Min};
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, GroupsAccumulator, ReversedUDAF,
    SetMonotonicity, Signature, StatisticsArgs,
};
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::prim_op::PrimitiveGroupsAccumulator;

use crate::float_key::keys;
use crate::nested_key::{has_nested_key, nested_keys};
use crate::recomputed::recomputed;

/// The functions of this module, for registration.
pub(crate) fn functions() -> Vec<Arc<AggregateUDF>> {
    [End::Least, End::Greatest].map(|end| Arc::new(end.function())).into()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum End {
    Least,
    Greatest,
}

impl End {
    fn function(self) -> AggregateUDF {
        AggregateUDF::from(Extreme { end: self, min: Min::new(), max: Max::new() })
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Extreme {
    end: End,
    min: Min,
    max: Max,
}

impl Extreme {
    fn original(&self) -> &dyn AggregateUDFImpl {
        match self.end {
            End::Least => &self.min,
            End::Greatest => &self.max,
        }
    }

    /// The groups accumulator of one float type.
    fn groups<T>(&self, kind: &DataType, limits: [T::Native; 2]) -> Box<dyn GroupsAccumulator>
    where
        T: ArrowNumericType + Send,
    {
        let is_nan = |x: T::Native| x.partial_cmp(&x).is_none();
        let [infinity, nan] = limits;
        match self.end {
            End::Least => {
                let step = move |least: &mut T::Native, new: T::Native| {
                    if new < *least || (is_nan(*least) && !is_nan(new)) {
                        *least = new;
                    }
                };
                let groups = PrimitiveGroupsAccumulator::<T, _>::new(kind, step);
                Box::new(groups.with_starting_value(nan))
            }
            End::Greatest => {
                let step = move |greatest: &mut T::Native, new: T::Native| {
                    if new > *greatest {
                        *greatest = new;
                    } else if is_nan(new) {
                        *greatest = nan;
                    }
                };
                let groups = PrimitiveGroupsAccumulator::<T, _>::new(kind, step);
                Box::new(groups.with_starting_value(infinity))
            }
        }
    }
}

type F16 = <Float16Type as ArrowPrimitiveType>::Native;

impl AggregateUDFImpl for Extreme {
    fn name(&self) -> &str {
        self.original().name()
    }

    fn signature(&self) -> &Signature {
        self.original().signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.original().return_type(types)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if has_nested_key(args.return_type()) {
            let found = ScalarValue::try_new_null(args.return_type())?;
            return Ok(Box::new(NestedExtreme { end: self.end, found, key: None }));
        }
        let floats = args.return_field.data_type().is_floating();
        let original = self.original().accumulator(args)?;
        Ok(if floats { Box::new(Keyed(original)) } else { original })
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if has_nested_key(args.return_type()) {
            return recomputed(&self.end.function(), &args);
        }
        let floats = args.return_field.data_type().is_floating();
        let original = self.original().create_sliding_accumulator(args)?;
        Ok(if floats { Box::new(Keyed(original)) } else { original })
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !has_nested_key(args.return_type()) && self.original().groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(match args.return_field.data_type() {
            kind @ DataType::Float16 => {
                self.groups::<Float16Type>(kind, [F16::NEG_INFINITY, F16::NAN])
            }
            kind @ DataType::Float32 => {
                self.groups::<Float32Type>(kind, [f32::NEG_INFINITY, f32::NAN])
            }
            kind @ DataType::Float64 => {
                self.groups::<Float64Type>(kind, [f64::NEG_INFINITY, f64::NAN])
            }
            _ => return self.original().create_groups_accumulator(args),
        })
    }

    fn is_descending(&self) -> Option<bool> {
        self.original().is_descending()
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.original().order_sensitivity()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.original().coerce_types(types)
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn value_from_stats(&self, args: &StatisticsArgs) -> Option<ScalarValue> {
        self.original().value_from_stats(args)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.original().documentation()
    }

    fn set_monotonicity(&self, kind: &DataType) -> SetMonotonicity {
        self.original().set_monotonicity(kind)
    }
}

/// The minimum or maximum of nested values, by their keys.
#[derive(Debug)]
struct NestedExtreme {
    end: End,
    found: ScalarValue,
    key: Option<Vec<u8>>,
}

impl Accumulator for NestedExtreme {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let keys = nested_keys(&values[0])?;
        let present = keys.iter().enumerate().filter_map(|(row, key)| Some((key?, row)));
        // The first of equal values.
        let best = match self.end {
            End::Least => present.min_by_key(|(key, _)| *key),
            End::Greatest => present.max_by(|a, b| a.0.cmp(b.0).then(b.1.cmp(&a.1))),
        };
        let Some((key, row)) = best else { return Ok(()) };
        let better = self.key.as_deref().is_none_or(|found| match self.end {
            End::Least => key < found,
            End::Greatest => key > found,
        });
        if better {
            self.found = ScalarValue::try_from_array(&values[0], row)?;
            self.key = Some(key.to_vec());
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.found.clone()])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.found.clone())
    }

    fn size(&self) -> usize {
        let key = self.key.as_ref().map_or(0, Vec::capacity);
        size_of_val(self) + key + self.found.size()
    }
}

/// DataFusion's accumulator, with the zeros and NaNs of its input normalized.
#[derive(Debug)]
struct Keyed(Box<dyn Accumulator>);

impl Accumulator for Keyed {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.update_batch(&[keys(&values[0])?])
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.retract_batch(&[keys(&values[0])?])
    }

    fn supports_retract_batch(&self) -> bool {
        self.0.supports_retract_batch()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.0.merge_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.0.state()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.0.evaluate()
    }

    fn size(&self) -> usize {
        self.0.size()
    }
}
