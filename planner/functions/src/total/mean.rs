//! `avg` of decimals: DataFusion's sums and counts, with a rounded mean (see [`crate::quotient`]).

use std::mem::size_of_val;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal256Array, Decimal256Builder, UInt64Array,
};
use datafusion::arrow::compute::{cast, sum};
use datafusion::arrow::datatypes::{
    DECIMAL256_MAX_PRECISION, DataType, Decimal256Type, UInt64Type, i256,
};
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, exec_err};
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};

use crate::quotient::mean;

/// Computes the mean from a state of `avg` over decimals: a count and a sum.
#[derive(Debug, Clone)]
pub(super) struct Rounded {
    /// The type of the mean.
    to: DataType,
}

impl Rounded {
    pub(super) fn new(to: &DataType) -> Self {
        Self { to: to.clone() }
    }

    /// Wraps DataFusion's accumulator, whose state is a list of values for DISTINCT.
    pub(super) fn over(
        self,
        sums: Box<dyn Accumulator>,
        is_distinct: bool,
    ) -> Box<dyn Accumulator> {
        Box::new(Mean { sums, is_distinct, rounded: self })
    }

    /// Wraps DataFusion's groups accumulator.
    pub(super) fn over_groups(
        self,
        sums: Box<dyn GroupsAccumulator>,
    ) -> Box<dyn GroupsAccumulator> {
        Box::new(Means { sums, rounded: self })
    }

    fn means(&self, counts: &ArrayRef, sums: &ArrayRef) -> Result<ArrayRef> {
        let (digits, scale) = decimal(&self.to)?;
        let (_, sum_scale) = decimal(sums.data_type())?;
        let up = u32::try_from(i16::from(scale) - i16::from(sum_scale)).unwrap_or_default();
        let up = i256::from_i128(10).wrapping_pow(up);
        let wide = cast(sums, &DataType::Decimal256(DECIMAL256_MAX_PRECISION, sum_scale))?;
        let (counts, wide) =
            (counts.as_primitive::<UInt64Type>(), wide.as_primitive::<Decimal256Type>());
        let mut means = Decimal256Builder::with_capacity(wide.len());
        for row in 0..wide.len() {
            if wide.is_null(row) || counts.is_null(row) || counts.value(row) == 0 {
                means.append_null();
                continue;
            }
            let mean = mean(wide.value(row), up, counts.value(row), digits);
            means.append_value(mean.ok_or_else(|| {
                exec_datafusion_err!(
                    "overflow: an average has more digits than its type; cast its argument to a decimal of \
                     fewer digits"
                )
            })?);
        }
        let means = means.finish().with_precision_and_scale(DECIMAL256_MAX_PRECISION, scale)?;
        Ok(cast(&means, &self.to)?)
    }
}

#[derive(Debug)]
struct Mean {
    sums: Box<dyn Accumulator>,
    is_distinct: bool,
    rounded: Rounded,
}

impl Accumulator for Mean {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.sums.update_batch(values)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.sums.merge_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.sums.retract_batch(values)
    }

    fn supports_retract_batch(&self) -> bool {
        self.sums.supports_retract_batch()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.sums.state()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let state = self.sums.state()?;
        let (count, sum) = match state.as_slice() {
            [ScalarValue::List(values)] if self.is_distinct => added(values.values())?,
            [count, sum] => (count.to_array()?, sum.to_array()?),
            _ => return exec_err!("the state of an average has {} parts", state.len()),
        };
        let means = self.rounded.means(&count, &sum)?;
        ScalarValue::try_from_array(&means, 0)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.sums.size()
    }
}

/// The number of values and their sum.
fn added(values: &ArrayRef) -> Result<(ArrayRef, ArrayRef)> {
    let (_, scale) = decimal(values.data_type())?;
    let kind = DataType::Decimal256(DECIMAL256_MAX_PRECISION, scale);
    let wide = cast(values, &kind)?;
    let wide = wide.as_primitive::<Decimal256Type>();
    let count = UInt64Array::from(vec![(wide.len() - wide.null_count()) as u64]);
    let sum = Decimal256Array::from(vec![sum(wide)]).with_data_type(kind);
    Ok((Arc::new(count), Arc::new(sum)))
}

/// The precision and scale of a decimal type.
fn decimal(kind: &DataType) -> Result<(u8, i8)> {
    match *kind {
        DataType::Decimal32(digits, scale)
        | DataType::Decimal64(digits, scale)
        | DataType::Decimal128(digits, scale)
        | DataType::Decimal256(digits, scale) => Ok((digits, scale)),
        ref other => exec_err!("{other} is not a decimal type"),
    }
}

struct Means {
    sums: Box<dyn GroupsAccumulator>,
    rounded: Rounded,
}

impl GroupsAccumulator for Means {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        n_groups: usize,
    ) -> Result<()> {
        self.sums.update_batch(values, groups, filter, n_groups)
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        n_groups: usize,
    ) -> Result<()> {
        self.sums.merge_batch(values, groups, n_groups)
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        let state = self.sums.state(emit)?;
        let [counts, sums] = state.as_slice() else {
            return exec_err!("the state of averages has {} parts", state.len());
        };
        self.rounded.means(counts, sums)
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
