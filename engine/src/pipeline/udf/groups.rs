//! The states of an aggregate, one per group, in a vector. Adding a row to a group is one
//! statically dispatched call of the user's function.

use std::fmt;

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::buffer::NullBuffer;
use arrow::compute::prep_null_mask_filter;
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};

use crate::pipeline::udf::fault::Fault;
use crate::pipeline::udf::function::Udf;
use crate::pipeline::udf::state::Aggregate;
use crate::row::Value;
use crate::row::function::{Arguments, called};

/// The states of all groups.
pub(super) struct Groups<S> {
    udf: &'static Udf,
    states: Vec<S>,
    /// The heap bytes of the states.
    heap_bytes: usize,
}

impl<S: Aggregate> Groups<S> {
    pub(super) fn new(udf: &'static Udf) -> Self {
        Self { udf, states: Vec::new(), heap_bytes: 0 }
    }

    /// Adds the rows of a batch; `group_of` returns the group of a row.
    fn add(
        &mut self,
        arrays: &[ArrayRef],
        rows: usize,
        group_of: impl Fn(usize) -> usize,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        let Self { udf, states, heap_bytes } = self;
        let filter = filter.map(let_through);
        udf.guarded(|| {
            let calls = called::<S::Arguments>(arrays, filter.as_ref());
            let columns = S::Arguments::open(arrays, calls.as_ref())?;
            for row in 0..rows {
                if calls.as_ref().is_some_and(|calls| calls.is_null(row)) {
                    continue;
                }
                let state = &mut states[group_of(row)];
                let before = owned_bytes(state);
                state.add(S::Arguments::get(&columns, row))?;
                *heap_bytes = (*heap_bytes + owned_bytes(state)).saturating_sub(before);
            }
            Ok(())
        })
    }

    /// Merges partial states.
    fn merge(&mut self, arrays: &[ArrayRef], group_of: impl Fn(usize) -> usize) -> Result<()> {
        let [array] = arrays else {
            return internal_err!(
                "expected one column of states for {}, got {}",
                self.udf.name,
                arrays.len()
            );
        };
        let Self { udf, states, heap_bytes } = self;
        udf.guarded(|| {
            let column = S::column(array, None)?;
            for row in 0..array.len() {
                let state = &mut states[group_of(row)];
                let before = owned_bytes(state);
                state.merge(<S as Value>::to_owned(S::get(&column, row)))?;
                *heap_bytes = (*heap_bytes + owned_bytes(state)).saturating_sub(before);
            }
            Ok(())
        })
    }

    fn grow(&mut self, groups: usize) -> Result<()> {
        let Self { udf, states, .. } = self;
        udf.guarded(|| {
            states.resize_with(groups.max(states.len()), S::empty);
            Ok(())
        })
    }

    fn take(&mut self, emit_to: EmitTo) -> Vec<S> {
        let taken = emit_to.take_needed(&mut self.states);
        if S::OWNS_MEMORY {
            self.heap_bytes = self.states.iter().map(Aggregate::heap_bytes).sum();
        }
        taken
    }
}

/// The heap bytes of a state; 0 without a call if the type owns none.
#[inline(always)]
fn owned_bytes<S: Aggregate>(state: &S) -> usize {
    if S::OWNS_MEMORY { state.heap_bytes() } else { 0 }
}

/// Valid where the filter is true.
fn let_through(filter: &BooleanArray) -> NullBuffer {
    NullBuffer::new(match filter.null_count() {
        0 => filter.values().clone(),
        _ => prep_null_mask_filter(filter).values().clone(),
    })
}

fn stored<S: Value>(states: &[S]) -> ArrayRef {
    let mut builder = S::builder(states.len());
    states.iter().for_each(|state| S::append(&mut builder, state.view()));
    S::finish(&mut builder)
}

fn finished<S: Aggregate>(udf: &Udf, states: Vec<S>) -> Result<ArrayRef> {
    udf.guarded(|| {
        let mut builder = S::Output::builder(states.len());
        states.into_iter().try_for_each(|state| Aggregate::finish(state, &mut builder))?;
        Ok::<_, Fault>(<S::Output as Value>::finish(&mut builder))
    })
}

impl<S: Aggregate> GroupsAccumulator for Groups<S> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.grow(total_num_groups)?;
        self.add(values, group_indices.len(), |row| group_indices[row], opt_filter)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let states = self.take(emit_to);
        finished(self.udf, states)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let states = self.take(emit_to);
        Ok(vec![stored(&states)])
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.grow(total_num_groups)?;
        self.merge(values, |row| group_indices[row])
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let rows = values.first().map_or(0, Array::len);
        let mut each = Self::new(self.udf);
        each.grow(rows)?;
        each.add(values, rows, |row| row, opt_filter)?;
        Ok(vec![stored(&each.states)])
    }

    fn size(&self) -> usize {
        self.states.capacity() * size_of::<S>() + self.heap_bytes
    }
}

/// The single state of all rows.
pub(super) struct Ungrouped<S>(Groups<S>);

impl<S: Aggregate> Ungrouped<S> {
    pub(super) fn new(udf: &'static Udf) -> Self {
        Self(Groups::new(udf))
    }
}

impl<S> fmt::Debug for Ungrouped<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ungrouped").field(&self.0.udf.name).finish()
    }
}

impl<S: Aggregate> Accumulator for Ungrouped<S> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.grow(1)?;
        self.0.add(values, values.first().map_or(0, Array::len), |_| 0, None)
    }

    /// May be called again after more rows, for a growing window.
    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.0.grow(1)?;
        let copies = self.0.states.iter().map(|state| <S as Value>::to_owned(state.view()));
        ScalarValue::try_from_array(&finished(self.0.udf, copies.collect())?, 0)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + GroupsAccumulator::size(&self.0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.0.grow(1)?;
        Ok(vec![ScalarValue::try_from_array(&stored(&self.0.states), 0)?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.0.grow(1)?;
        self.0.merge(states, |_| 0)
    }
}
