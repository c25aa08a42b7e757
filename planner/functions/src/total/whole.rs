//! Sums and means of integers, added with 128 bits: no order of rows and no split into partial sums
//! overflows if the result fits.

use std::fmt::Debug;
use std::marker::PhantomData;
use std::mem::size_of_val;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Decimal128Array, Float64Array,
    PrimitiveArray, UInt64Array,
};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::{DataType, Decimal128Type, Int64Type, UInt64Type};
use datafusion::common::{Result, ScalarValue, exec_datafusion_err};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::accumulate::NullState;
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::nulls::filtered_null_mask;

/// The type of a partial sum between the steps of an aggregation.
pub(super) const STATE: DataType = DataType::Decimal128(38, 0);

/// How the result is computed from sum and count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Sum,
    Mean,
}

/// The two types that integers are widened to before they are added.
pub(super) trait Whole: ArrowPrimitiveType + Debug + Send + Sync {
    const NAME: &'static str;

    /// The sum of all values.
    fn total(values: &[Self::Native]) -> i128;

    fn widen(value: Self::Native) -> i128;

    fn narrow(sum: i128) -> Option<Self::Native>;
}

/// This many 32-bit numbers can be added with 64 bits.
const HALVES_MAX: usize = 1 << 30;

impl Whole for Int64Type {
    const NAME: &'static str = "BIGINT";

    /// Adds the halves separately: processors have vectors of 64-bit lanes, but none of 128.
    fn total(values: &[i64]) -> i128 {
        let chunks = values.chunks(HALVES_MAX).map(|values| {
            let high: i64 = values.iter().map(|value| value >> 32).sum();
            let low: i64 = values.iter().map(|value| value & 0xffff_ffff).sum();
            (i128::from(high) << 32) + i128::from(low)
        });
        chunks.sum()
    }

    fn widen(value: i64) -> i128 {
        i128::from(value)
    }

    fn narrow(sum: i128) -> Option<i64> {
        i64::try_from(sum).ok()
    }
}

impl Whole for UInt64Type {
    const NAME: &'static str = "BIGINT UNSIGNED";

    fn total(values: &[u64]) -> i128 {
        let chunks = values.chunks(HALVES_MAX).map(|values| {
            let high: u64 = values.iter().map(|value| value >> 32).sum();
            let low: u64 = values.iter().map(|value| value & 0xffff_ffff).sum();
            (i128::from(high) << 32) + i128::from(low)
        });
        chunks.sum()
    }

    fn widen(value: u64) -> i128 {
        i128::from(value)
    }

    fn narrow(sum: i128) -> Option<u64> {
        u64::try_from(sum).ok()
    }
}

pub(super) fn overflow<T: Whole>(sum: i128) -> DataFusionError {
    exec_datafusion_err!(
        "integer overflow in sum: {sum} does not fit {}; cast the argument to DECIMAL(38, 0)",
        T::NAME
    )
}

#[expect(clippy::cast_precision_loss, reason = "a mean is a float")]
fn mean(sum: i128, count: u64) -> f64 {
    // Divides quotient and remainder separately: the sum of many large numbers has more digits than
    // the mean.
    let n = i128::from(count);
    (sum / n) as f64 + (sum % n) as f64 / count as f64
}

/// The sum and the number of values that are not null.
fn sum_of<T: Whole>(values: &PrimitiveArray<T>) -> (i128, u64) {
    let sum = match values.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => T::total(values.values()),
        Some(nulls) => {
            nulls.valid_slices().map(|(from, to)| T::total(&values.values()[from..to])).sum()
        }
    };
    (sum, (values.len() - values.null_count()) as u64)
}

/// One sum or mean, also in a sliding window.
#[derive(Debug)]
pub(super) struct Total<T> {
    outcome: Outcome,
    sum: i128,
    count: u64,
    kind: PhantomData<T>,
}

impl<T: Whole> Total<T> {
    pub(super) fn new(outcome: Outcome) -> Self {
        Self { outcome, sum: 0, count: 0, kind: PhantomData }
    }
}

impl<T: Whole> Accumulator for Total<T> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let (sum, count) = sum_of(values[0].as_primitive::<T>());
        self.sum += sum;
        self.count += count;
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let (sum, count) = sum_of(values[0].as_primitive::<T>());
        self.sum -= sum;
        self.count -= count;
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let sums = states[states.len() - 1].as_primitive::<Decimal128Type>();
        self.sum += sums.iter().flatten().sum::<i128>();
        self.count += match self.outcome {
            // A sum only needs to know whether there is any value.
            Outcome::Sum => (sums.len() - sums.null_count()) as u64,
            Outcome::Mean => states[0].as_primitive::<UInt64Type>().iter().flatten().sum(),
        };
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let sum = ScalarValue::Decimal128((self.count > 0).then_some(self.sum), 38, 0);
        Ok(match self.outcome {
            Outcome::Sum => vec![sum],
            Outcome::Mean => vec![ScalarValue::UInt64(Some(self.count)), sum],
        })
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let sum = (self.count > 0).then_some(self.sum);
        match self.outcome {
            Outcome::Sum => {
                let sum = sum.map(|sum| T::narrow(sum).ok_or_else(|| overflow::<T>(sum)));
                ScalarValue::new_primitive::<T>(sum.transpose()?, &T::DATA_TYPE)
            }
            Outcome::Mean => Ok(ScalarValue::Float64(sum.map(|sum| mean(sum, self.count)))),
        }
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// Sums or means of groups.
#[derive(Debug)]
pub(super) struct Totals<T> {
    outcome: Outcome,
    sums: Vec<i128>,
    /// Empty unless means are computed.
    counts: Vec<u64>,
    nulls: NullState,
    kind: PhantomData<T>,
}

impl<T: Whole> Totals<T> {
    pub(super) fn new(outcome: Outcome) -> Self {
        Self {
            outcome,
            sums: Vec::new(),
            counts: Vec::new(),
            nulls: NullState::new(),
            kind: PhantomData,
        }
    }

    fn grow(&mut self, n_groups: usize) {
        self.sums.resize(n_groups, 0);
        if self.outcome == Outcome::Mean {
            self.counts.resize(n_groups, 0);
        }
    }

    fn take(&mut self, emit: EmitTo) -> (Vec<i128>, Vec<u64>, Option<NullBuffer>) {
        let counts = match self.outcome {
            Outcome::Sum => Vec::new(),
            Outcome::Mean => emit.take_needed(&mut self.counts),
        };
        (emit.take_needed(&mut self.sums), counts, self.nulls.build(emit))
    }

    fn states(&self, sums: Decimal128Array, counts: Vec<u64>) -> Result<Vec<ArrayRef>> {
        let sums = Arc::new(sums.with_precision_and_scale(38, 0)?) as ArrayRef;
        Ok(match self.outcome {
            Outcome::Sum => vec![sums],
            Outcome::Mean => vec![Arc::new(UInt64Array::from(counts)), sums],
        })
    }
}

impl<T: Whole> GroupsAccumulator for Totals<T> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        n_groups: usize,
    ) -> Result<()> {
        self.grow(n_groups);
        let values = values[0].as_primitive::<T>();
        let (sums, counts) = (&mut self.sums, &mut self.counts);
        match self.outcome {
            Outcome::Sum => {
                self.nulls.accumulate(groups, values, filter, n_groups, |group, value| {
                    sums[group] += T::widen(value);
                });
            }
            Outcome::Mean => {
                self.nulls.accumulate(groups, values, filter, n_groups, |group, value| {
                    sums[group] += T::widen(value);
                    counts[group] += 1;
                });
            }
        }
        Ok(())
    }

    fn merge_batch(
        &mut self,
        states: &[ArrayRef],
        groups: &[usize],
        n_groups: usize,
    ) -> Result<()> {
        self.grow(n_groups);
        let sums = states[states.len() - 1].as_primitive::<Decimal128Type>();
        let all = &mut self.sums;
        self.nulls.accumulate(groups, sums, None, n_groups, |group, sum| all[group] += sum);
        if self.outcome == Outcome::Mean {
            let counts = states[0].as_primitive::<UInt64Type>();
            for (group, count) in groups.iter().zip(counts.values()) {
                self.counts[*group] += count;
            }
        }
        Ok(())
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        let (sums, counts, nulls) = self.take(emit);
        self.states(Decimal128Array::new(sums.into(), nulls), counts)
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        let (sums, counts, nulls) = self.take(emit);
        let is_null =
            |row: usize| nulls.as_ref().is_some_and(|nulls: &NullBuffer| nulls.is_null(row));
        match self.outcome {
            Outcome::Sum => {
                let mut narrow = Vec::with_capacity(sums.len());
                for (row, sum) in sums.into_iter().enumerate() {
                    let sum = if is_null(row) { 0 } else { sum };
                    narrow.push(T::narrow(sum).ok_or_else(|| overflow::<T>(sum))?);
                }
                Ok(Arc::new(PrimitiveArray::<T>::new(narrow.into(), nulls)))
            }
            Outcome::Mean => {
                let means: Vec<f64> = sums
                    .into_iter()
                    .zip(counts)
                    .map(|(sum, count)| if count == 0 { 0.0 } else { mean(sum, count) })
                    .collect();
                Ok(Arc::new(Float64Array::new(means.into(), nulls)))
            }
        }
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let values = values[0].as_primitive::<T>();
        let nulls = filtered_null_mask(filter, values);
        let sums: Vec<i128> = values.values().iter().map(|value| T::widen(*value)).collect();
        let counts = match (self.outcome, &nulls) {
            (Outcome::Sum, _) => Vec::new(),
            (Outcome::Mean, None) => vec![1; sums.len()],
            (Outcome::Mean, Some(nulls)) => nulls.iter().map(u64::from).collect(),
        };
        self.states(Decimal128Array::new(sums.into(), nulls), counts)
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<i128>()
            + self.counts.capacity() * size_of::<u64>()
            + self.nulls.size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_add_up() {
        let values = [i64::MAX, i64::MAX, i64::MIN, -1, 7, 1 << 40];
        let expected: i128 = values.iter().map(|value| i128::from(*value)).sum();
        assert_eq!(<Int64Type as Whole>::total(&values), expected);
        let values = [u64::MAX, u64::MAX, 1, 1 << 40];
        let expected: i128 = values.iter().map(|value| i128::from(*value)).sum();
        assert_eq!(<UInt64Type as Whole>::total(&values), expected);
    }

    #[test]
    fn the_mean_of_equal_numbers_is_that_number() {
        let large = (1_i64 << 53) + 2;
        assert_eq!(mean(i128::from(large) * 3, 3), 9_007_199_254_740_994.0);
        assert_eq!(mean(-3, 2), -1.5);
    }
}
