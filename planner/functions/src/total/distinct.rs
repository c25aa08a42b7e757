//! Sums and means of distinct values. DataFusion's accumulator collects the values; at the end they
//! are added up like values without DISTINCT.

use std::collections::HashMap;
use std::fmt::{Debug, Formatter};
use std::mem::{size_of, size_of_val};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, ListArray};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::Accumulator;

use super::whole::{self, Whole};

/// Creates the accumulator that adds the values up.
pub(super) type NewAccumulator = Box<dyn Fn() -> Result<Box<dyn Accumulator>> + Send + Sync>;

pub(super) struct Distinct {
    values: Box<dyn Accumulator>,
    new_accumulator: NewAccumulator,
}

impl Distinct {
    pub(super) fn new(values: Box<dyn Accumulator>, new_accumulator: NewAccumulator) -> Self {
        Self { values, new_accumulator }
    }
}

impl Debug for Distinct {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Distinct").field("values", &self.values).finish_non_exhaustive()
    }
}

impl Accumulator for Distinct {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.values.update_batch(values)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.values.merge_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.values.state()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut total = (self.new_accumulator)()?;
        for state in self.values.state()? {
            let list: Arc<ListArray> = match state {
                ScalarValue::List(list) => list,
                other => return exec_err!("distinct values are not a list but {other}"),
            };
            total.update_batch(&[list.as_ref().values().slice(0, list.as_ref().values().len())])?;
        }
        total.evaluate()
    }

    fn size(&self) -> usize {
        self.values.size()
    }
}

/// The sum of the distinct integers in a sliding window.
#[derive(Debug)]
pub(super) struct DistinctWindow<T: Whole> {
    counts: HashMap<i128, usize>,
    sum: i128,
    kind: std::marker::PhantomData<T>,
}

impl<T: Whole> Default for DistinctWindow<T> {
    fn default() -> Self {
        Self { counts: HashMap::new(), sum: 0, kind: std::marker::PhantomData }
    }
}

impl<T: Whole> Accumulator for DistinctWindow<T> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in values[0].as_primitive::<T>().iter().flatten().map(T::widen) {
            let count = self.counts.entry(value).or_default();
            if *count == 0 {
                self.sum += value;
            }
            *count += 1;
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in values[0].as_primitive::<T>().iter().flatten().map(T::widen) {
            match self.counts.get_mut(&value) {
                Some(count) if *count > 1 => *count -= 1,
                Some(_) => {
                    self.counts.remove(&value);
                    self.sum -= value;
                }
                None => {}
            }
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let sum = (!self.counts.is_empty()).then_some(self.sum);
        let sum = sum.map(|sum| T::narrow(sum).ok_or_else(|| whole::overflow::<T>(sum)));
        ScalarValue::new_primitive::<T>(sum.transpose()?, &T::DATA_TYPE)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        exec_err!("a sliding window has no partial state")
    }

    fn merge_batch(&mut self, _states: &[ArrayRef]) -> Result<()> {
        exec_err!("a sliding window has no partial state")
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.counts.capacity() * size_of::<(i128, usize)>()
    }
}
