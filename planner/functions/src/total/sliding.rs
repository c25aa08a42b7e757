//! Sums and means of floats in a sliding window, without subtraction.
//!
//! Subtracting what leaves the window from a running sum loses small numbers beside a large one,
//! and an infinity or a NaN never leaves. Instead the window is a queue of two stacks: suffix sums
//! of the older rows, and one sum of the newer rows.

use std::mem::{size_of, size_of_val};

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::Float64Type;
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::Accumulator;

use super::whole::Outcome;

#[derive(Clone, Copy, Debug, Default)]
struct Part {
    sum: f64,
    count: u64,
}

impl Part {
    fn with(self, value: Option<f64>) -> Self {
        value.map_or(self, |value| Self { sum: self.sum + value, count: self.count + 1 })
    }
}

/// Rows leave the window in the order in which they entered it.
#[derive(Debug)]
pub(super) struct Window {
    outcome: Outcome,
    /// For each older row, the sum from it to the last older row; the oldest row is last.
    older: Vec<Part>,
    newer: Vec<Option<f64>>,
    /// The sum of `newer`.
    sum: Part,
}

impl Window {
    pub(super) fn new(outcome: Outcome) -> Self {
        Self { outcome, older: Vec::new(), newer: Vec::new(), sum: Part::default() }
    }
}

impl Accumulator for Window {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in values[0].as_primitive::<Float64Type>() {
            self.newer.push(value);
            self.sum = self.sum.with(value);
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for _ in 0..values[0].len() {
            if self.older.is_empty() {
                let mut sum = Part::default();
                while let Some(value) = self.newer.pop() {
                    sum = sum.with(value);
                    self.older.push(sum);
                }
                self.sum = Part::default();
            }
            self.older.pop();
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let older = self.older.last().copied().unwrap_or_default();
        let count = older.count + self.sum.count;
        // Not `0.0 + sum` for no rows: that would lose the sign of a zero.
        let sum = match (older.count, self.sum.count) {
            (0, _) => self.sum.sum,
            (_, 0) => older.sum,
            _ => older.sum + self.sum.sum,
        };
        #[expect(clippy::cast_precision_loss, reason = "a mean is a float")]
        let value = match self.outcome {
            Outcome::Sum => sum,
            Outcome::Mean => sum / count as f64,
        };
        Ok(ScalarValue::Float64((count > 0).then_some(value)))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        exec_err!("a sliding window has no partial state")
    }

    fn merge_batch(&mut self, _states: &[ArrayRef]) -> Result<()> {
        exec_err!("a sliding window has no partial state")
    }

    fn size(&self) -> usize {
        size_of_val(self)
            + self.older.capacity() * size_of::<Part>()
            + self.newer.capacity() * size_of::<Option<f64>>()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::Float64Array;

    use super::*;

    #[test]
    fn an_infinity_leaves_the_window() {
        let mut window = Window::new(Outcome::Sum);
        let column = |values: Vec<Option<f64>>| Arc::new(Float64Array::from(values)) as ArrayRef;
        let mut sums = Vec::new();
        window.update_batch(&[column(vec![Some(f64::INFINITY), None])]).expect("added");
        for value in [1e300, 1.0, 2.0] {
            window.update_batch(&[column(vec![Some(value)])]).expect("added");
            window.retract_batch(&[column(vec![Some(0.0)])]).expect("left");
            sums.push(window.evaluate().expect("a sum"));
        }
        let expected = [1e300, 1e300, 3.0].map(|sum| ScalarValue::Float64(Some(sum)));
        assert_eq!(sums, expected);
    }
}
