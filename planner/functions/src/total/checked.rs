//! Sums of decimals, durations and intervals that check each addition.

use std::fmt::{Debug, Formatter};
use std::mem::size_of_val;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use datafusion::arrow::array::{
    Array, ArrayRef, ArrowNativeTypeOp, ArrowNumericType, AsArray, BooleanArray,
};
use datafusion::arrow::datatypes::{
    ArrowNativeType, DataType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    IntervalDayTime, IntervalMonthDayNano, i256,
};
use datafusion::common::{Result, ScalarValue, exec_datafusion_err};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::prim_op::PrimitiveGroupsAccumulator;

/// A number with checked addition. Arrow's own check formats an error message for each overflow,
/// which makes sums of groups several times slower.
pub(super) trait Addend: Copy {
    fn plus(self, other: Self) -> Option<Self>;

    fn minus(self, other: Self) -> Option<Self>;
}

macro_rules! addend {
    ($($t:ty),*) => {$(
        impl Addend for $t {
            #[inline]
            fn plus(self, other: Self) -> Option<Self> {
                self.checked_add(other)
            }

            #[inline]
            fn minus(self, other: Self) -> Option<Self> {
                self.checked_sub(other)
            }
        }
    )*};
}

addend!(i32, i64, i128, i256);

macro_rules! interval {
    ($($t:ty),*) => {$(
        impl Addend for $t {
            fn plus(self, other: Self) -> Option<Self> {
                self.add_checked(other).ok()
            }

            fn minus(self, other: Self) -> Option<Self> {
                self.sub_checked(other).ok()
            }
        }
    )*};
}

interval!(IntervalDayTime, IntervalMonthDayNano);

fn overflow(kind: &DataType) -> DataFusionError {
    exec_datafusion_err!(
        "overflow in sum: the result does not fit {kind}; cast the argument to a wider type"
    )
}

/// True if all sums have no more digits than their type allows.
fn fits(sums: &ArrayRef) -> bool {
    match sums.data_type() {
        DataType::Decimal32(digits, _) => {
            sums.as_primitive::<Decimal32Type>().validate_decimal_precision(*digits).is_ok()
        }
        DataType::Decimal64(digits, _) => {
            sums.as_primitive::<Decimal64Type>().validate_decimal_precision(*digits).is_ok()
        }
        DataType::Decimal128(digits, _) => {
            sums.as_primitive::<Decimal128Type>().validate_decimal_precision(*digits).is_ok()
        }
        DataType::Decimal256(digits, _) => {
            sums.as_primitive::<Decimal256Type>().validate_decimal_precision(*digits).is_ok()
        }
        _ => true,
    }
}

/// One sum, also in a sliding window.
pub(super) struct CheckedSum<T: ArrowNumericType> {
    sum: T::Native,
    count: u64,
    kind: DataType,
}

impl<T: ArrowNumericType> Debug for CheckedSum<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "CheckedSum({})", self.kind)
    }
}

impl<T: ArrowNumericType<Native: Addend>> CheckedSum<T> {
    pub(super) fn new(kind: &DataType) -> Self {
        Self { sum: T::Native::usize_as(0), count: 0, kind: kind.clone() }
    }

    /// Applies `step` to each value that is not null.
    fn each(
        &mut self,
        values: &ArrayRef,
        step: impl Fn(T::Native, T::Native) -> Option<T::Native>,
    ) -> Result<u64> {
        let values = values.as_primitive::<T>();
        let sum = if values.null_count() == 0 {
            values.values().iter().try_fold(self.sum, |sum, value| step(sum, *value))
        } else {
            values.iter().flatten().try_fold(self.sum, step)
        };
        self.sum = sum.ok_or_else(|| overflow(&self.kind))?;
        Ok((values.len() - values.null_count()) as u64)
    }
}

impl<T: ArrowNumericType<Native: Addend>> Accumulator for CheckedSum<T> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.count += self.each(&values[0], Addend::plus)?;
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.count -= self.each(&values[0], Addend::minus)?;
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let sum = (self.count > 0).then_some(self.sum);
        Ok(vec![ScalarValue::new_primitive::<T>(sum, &self.kind)?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let sum =
            ScalarValue::new_primitive::<T>((self.count > 0).then_some(self.sum), &self.kind)?;
        if fits(&sum.to_array()?) { Ok(sum) } else { Err(overflow(&self.kind)) }
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// Sums of groups: DataFusion's accumulator with checked addition.
pub(super) struct CheckedSums {
    sums: Box<dyn GroupsAccumulator>,
    /// Set by the addition, which cannot return an error.
    overflowed: Arc<AtomicBool>,
    kind: DataType,
}

impl CheckedSums {
    pub(super) fn new<T>(kind: &DataType) -> Self
    where
        T: ArrowNumericType<Native: Addend> + Send,
    {
        let overflowed = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&overflowed);
        let sums = PrimitiveGroupsAccumulator::<T, _>::new(
            kind,
            move |sum: &mut T::Native, value: T::Native| match sum.plus(value) {
                Some(next) => *sum = next,
                None => flag.store(true, Ordering::Relaxed),
            },
        );
        Self { sums: Box::new(sums), overflowed, kind: kind.clone() }
    }

    fn said(&self) -> Result<()> {
        if self.overflowed.load(Ordering::Relaxed) { Err(overflow(&self.kind)) } else { Ok(()) }
    }
}

impl GroupsAccumulator for CheckedSums {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        n_groups: usize,
    ) -> Result<()> {
        self.sums.update_batch(values, groups, filter, n_groups)?;
        self.said()
    }

    fn merge_batch(
        &mut self,
        states: &[ArrayRef],
        groups: &[usize],
        n_groups: usize,
    ) -> Result<()> {
        self.sums.merge_batch(states, groups, n_groups)?;
        self.said()
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        let sums = self.sums.evaluate(emit)?;
        if fits(&sums) { Ok(sums) } else { Err(overflow(&self.kind)) }
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        self.sums.state(emit)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        self.sums.convert_to_state(values, filter)
    }

    fn size(&self) -> usize {
        self.sums.size()
    }
}
