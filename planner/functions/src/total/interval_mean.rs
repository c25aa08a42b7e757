//! The mean of intervals, which DataFusion 55.2 lacks.

use std::mem::size_of_val;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{IntervalMonthDayNano, IntervalMonthDayNanoType, UInt64Type};
use datafusion::common::{Result, ScalarValue, exec_datafusion_err};
use datafusion::logical_expr::Accumulator;

use super::checked::Addend;
use crate::time::interval::INTERVAL;
use crate::time::scale::{Scale, by_float};

/// A sum and a count, also in a sliding window.
#[derive(Debug)]
pub(super) struct IntervalMean {
    sum: IntervalMonthDayNano,
    count: u64,
}

impl Default for IntervalMean {
    fn default() -> Self {
        Self { sum: IntervalMonthDayNano::new(0, 0, 0), count: 0 }
    }
}

impl IntervalMean {
    fn each(
        &mut self,
        values: &ArrayRef,
        step: impl Fn(IntervalMonthDayNano, IntervalMonthDayNano) -> Option<IntervalMonthDayNano>,
    ) -> Result<u64> {
        let values = cast(values, &INTERVAL)?;
        let values = values.as_primitive::<IntervalMonthDayNanoType>();
        let sum = values.iter().flatten().try_fold(self.sum, step);
        self.sum = sum.ok_or_else(|| {
            exec_datafusion_err!("interval out of range: the sum for avg does not fit")
        })?;
        Ok((values.len() - values.null_count()) as u64)
    }
}

impl Accumulator for IntervalMean {
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

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let sum = ScalarValue::IntervalMonthDayNano(Some(self.sum));
        Ok(vec![ScalarValue::UInt64(Some(self.count)), sum])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.count += states[0].as_primitive::<UInt64Type>().iter().flatten().sum::<u64>();
        self.each(&states[1], Addend::plus)?;
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if self.count == 0 {
            return Ok(ScalarValue::IntervalMonthDayNano(None));
        }
        #[expect(clippy::cast_precision_loss, reason = "no table has so many rows")]
        let mean = by_float(Scale::Divide, self.sum, self.count as f64);
        Ok(ScalarValue::IntervalMonthDayNano(mean))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}
