//! `array_agg` and `string_agg` with a cheap memory estimate.
//!
//! DataFusion 55.2 asks an accumulator for its size after every batch, and these two walk over all
//! their values to answer: without groups, time grows with the square of the number of batches.
//! Nine million values take minutes, most of all in the small batches of a query with little
//! memory. This accumulator adds the batches since the last walk to its result, and walks again
//! once they are an eighth of it.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions_aggregate::array_agg::ArrayAgg;
use datafusion::functions_aggregate::string_agg::StringAgg;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, GroupsAccumulator, ReversedUDAF,
    Signature,
};

use crate::recomputed::recomputed;

/// The functions of this module, for registration.
pub(crate) fn functions() -> Vec<Arc<AggregateUDF>> {
    [Kind::Array, Kind::Text].map(|kind| Arc::new(kind.function())).into()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Array,
    Text,
}

impl Kind {
    fn function(self) -> AggregateUDF {
        let original = match self {
            Self::Array => AggregateUDF::from(ArrayAgg::default()),
            Self::Text => AggregateUDF::from(StringAgg::default()),
        };
        AggregateUDF::from(Collected { kind: self, original })
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Collected {
    kind: Kind,
    original: AggregateUDF,
}

impl AggregateUDFImpl for Collected {
    fn name(&self) -> &str {
        self.original.inner().name()
    }

    fn signature(&self) -> &Signature {
        self.original.inner().signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.original.inner().return_type(types)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.original.inner().state_fields(args)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Measured::new(self.original.inner().accumulator(args)?)))
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

    fn with_beneficial_ordering(
        self: Arc<Self>,
        beneficial: bool,
    ) -> Result<Option<Arc<dyn AggregateUDFImpl>>> {
        let original = Arc::clone(self.original.inner()).with_beneficial_ordering(beneficial)?;
        Ok(original.map(|original| {
            let original = AggregateUDF::new_from_shared_impl(original);
            Arc::new(Self { kind: self.kind, original }) as _
        }))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Reversed(Arc::new(self.kind.function()))
    }

    fn supports_null_handling_clause(&self) -> bool {
        self.original.inner().supports_null_handling_clause()
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.original.inner().documentation()
    }
}

/// An accumulator and an estimate of its size.
#[derive(Debug)]
struct Measured {
    original: Box<dyn Accumulator>,
    /// The size found by the last walk, in bytes.
    known: usize,
    /// The size of the batches since then, in bytes.
    added: usize,
}

impl Measured {
    fn new(original: Box<dyn Accumulator>) -> Self {
        Self { known: original.size(), original, added: 0 }
    }

    fn took(&mut self, values: &[ArrayRef]) {
        let bytes = |array: &ArrayRef| array.to_data().get_slice_memory_size().unwrap_or_default();
        self.added += values.iter().map(bytes).sum::<usize>();
        if self.added > self.known / 8 {
            self.known = self.original.size();
            self.added = 0;
        }
    }
}

impl Accumulator for Measured {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.original.update_batch(values)?;
        self.took(values);
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.original.merge_batch(states)?;
        self.took(states);
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.original.evaluate()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.original.state()
    }

    fn size(&self) -> usize {
        self.known + self.added + size_of::<usize>() * 2
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    use datafusion::arrow::array::Int64Array;
    use datafusion::arrow::datatypes::Field;
    use datafusion::functions_aggregate::array_agg::ArrayAggAccumulator;

    use super::*;

    /// Counts the calls of `size`.
    #[derive(Debug, Default)]
    struct Asked {
        values: usize,
        times: Arc<AtomicUsize>,
    }

    impl Accumulator for Asked {
        fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
            self.values += values[0].len();
            Ok(())
        }

        fn merge_batch(&mut self, _: &[ArrayRef]) -> Result<()> {
            Ok(())
        }

        fn evaluate(&mut self) -> Result<ScalarValue> {
            Ok(ScalarValue::Null)
        }

        fn state(&mut self) -> Result<Vec<ScalarValue>> {
            Ok(vec![])
        }

        fn size(&self) -> usize {
            self.times.fetch_add(1, Ordering::Relaxed);
            self.values * 8
        }
    }

    /// The time that `size` takes after `batches` of one row.
    fn time_to_measure(batches: usize) -> Duration {
        let field: FieldRef = Arc::new(Field::new("x", DataType::Int64, true));
        let mut accumulator = ArrayAggAccumulator::try_new(field.data_type(), false).unwrap();
        let batch: ArrayRef = Arc::new(Int64Array::from(vec![7]));
        for _ in 0..batches {
            accumulator.update_batch(std::slice::from_ref(&batch)).unwrap();
        }
        let times = (0..20).map(|_| {
            let start = Instant::now();
            std::hint::black_box(accumulator.size());
            start.elapsed()
        });
        times.min().unwrap()
    }

    #[test]
    fn cheap_sizes_are_still_needed() {
        let (few, many) = (time_to_measure(10), time_to_measure(100_000));
        assert!(many > few * 20, "DataFusion does not walk over all values: {few:?}, {many:?}");
    }

    #[test]
    fn the_size_is_right_within_an_eighth_and_asked_for_seldom() {
        let asked = Asked::default();
        let times = Arc::clone(&asked.times);
        let mut measured = Measured::new(Box::new(asked));
        let batch: ArrayRef = Arc::new(Int64Array::from(vec![7; 100]));
        for n in 1..=10_000 {
            measured.update_batch(std::slice::from_ref(&batch)).unwrap();
            let (is, said) = (n * 800, measured.size());
            assert!(said >= is && said < is + is / 8 + 2_000, "{said} for {is}");
        }
        assert!(times.load(Ordering::Relaxed) < 150, "{times:?}");
    }
}
