//! `mode` and `percentile_disc`, which DataFusion 55.2 lacks: `percentile_disc(0.5) WITHIN GROUP
//! (ORDER BY x)`, also written `percentile_disc(x, 0.5)`, and `mode() WITHIN GROUP (ORDER BY x)`,
//! also written `mode(x)`.
//!
//! Both return one of the values, of any type that can be sorted. Of several values that are as
//! frequent, `mode` returns the first in the order.

use std::mem::size_of_val;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::compute::{SortOptions, concat, filter, is_not_null, partition, sort};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr::expressions::Literal;

use crate::float_key::keys;
use crate::recomputed::recomputed;

/// The functions of this module, for registration.
pub(crate) fn functions() -> Vec<Arc<AggregateUDF>> {
    [Kind::Mode, Kind::PercentileDisc].map(|kind| Arc::new(kind.function())).into()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Mode,
    PercentileDisc,
}

impl Kind {
    fn function(self) -> AggregateUDF {
        let signature = Signature::user_defined(Volatility::Immutable);
        AggregateUDF::from(OrderedSet { kind: self, signature })
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OrderedSet {
    kind: Kind,
    signature: Signature,
}

impl AggregateUDFImpl for OrderedSet {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Mode => "mode",
            Kind::PercentileDisc => "percentile_disc",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let value = match (self.kind, types) {
            (Kind::Mode, [value]) | (Kind::PercentileDisc, [value, _]) => value,
            (Kind::Mode, _) => return plan_err!("mode() needs WITHIN GROUP (ORDER BY x) after it"),
            (Kind::PercentileDisc, _) => {
                return plan_err!(
                    "percentile_disc takes a number from 0 to 1, and needs WITHIN GROUP \
                     (ORDER BY x) after it"
                );
            }
        };
        let value = match value {
            DataType::Dictionary(_, values) => values.as_ref().clone(),
            other if other.is_nested() => {
                return plan_err!("{} takes values that can be sorted, not {other}", self.name());
            }
            other => other.clone(),
        };
        Ok(match self.kind {
            Kind::Mode => vec![value],
            Kind::PercentileDisc => vec![value, DataType::Float64],
        })
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types[0].clone())
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let values = DataType::new_list(args.input_fields[0].data_type().clone(), true);
        let name = format_state_name(args.name, self.name());
        Ok(vec![Arc::new(Field::new(name, values, true))])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let pick = match self.kind {
            Kind::Mode => Pick::MostFrequent,
            Kind::PercentileDisc => Pick::At(share(&args)?),
        };
        let descending = args.order_bys.first().is_some_and(|order| order.options.descending);
        Ok(Box::new(Values {
            of: args.return_field.data_type().clone(),
            held: Vec::new(),
            pick,
            descending,
            once: args.is_distinct,
        }))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        recomputed(&self.kind.function(), &args)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn supports_within_group_clause(&self) -> bool {
        true
    }
}

/// The number from 0 to 1.
fn share(args: &AccumulatorArgs) -> Result<f64> {
    let literal = args.exprs.get(1).and_then(|share| share.downcast_ref::<Literal>());
    match literal.map(|literal| literal.value().cast_to(&DataType::Float64)).transpose()? {
        Some(ScalarValue::Float64(Some(share))) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => exec_err!("the first argument of percentile_disc must be a constant from 0 to 1"),
    }
}

#[derive(Clone, Copy, Debug)]
enum Pick {
    MostFrequent,
    At(f64),
}

#[derive(Debug)]
struct Values {
    of: DataType,
    held: Vec<ArrayRef>,
    pick: Pick,
    descending: bool,
    /// True if equal values count once.
    once: bool,
}

impl Values {
    fn hold(&mut self, values: &ArrayRef) -> Result<()> {
        let known = filter(values.as_ref(), &is_not_null(values.as_ref())?)?;
        if !known.is_empty() {
            self.held.push(keys(&known)?);
        }
        Ok(())
    }

    fn all(&mut self) -> Result<ArrayRef> {
        let held: Vec<&dyn Array> = self.held.iter().map(AsRef::as_ref).collect();
        match held.as_slice() {
            [] => Ok(datafusion::arrow::array::new_empty_array(&self.of)),
            held => Ok(concat(held)?),
        }
    }
}

impl Accumulator for Values {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.hold(&values[0])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for values in states[0].as_list::<i32>().iter().flatten() {
            self.hold(&values)?;
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![SingleRowListArrayBuilder::new(self.all()?).build_list_scalar()])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let all = self.all()?;
        if all.is_empty() {
            return ScalarValue::try_from(&self.of);
        }
        let options = SortOptions { descending: self.descending, nulls_first: false };
        let sorted = sort(&all, Some(options))?;
        let runs = partition(std::slice::from_ref(&sorted))?.ranges();
        let at = match self.pick {
            Pick::MostFrequent if self.once => 0,
            Pick::MostFrequent => {
                let most = runs.iter().map(ExactSizeIterator::len).max();
                let first = runs.iter().find(|run| Some(run.len()) == most);
                first.map_or(0, |run| run.start)
            }
            Pick::At(share) if self.once => runs[position(share, runs.len())].start,
            Pick::At(share) => position(share, sorted.len()),
        };
        ScalarValue::try_from_array(&sorted, at)
    }

    fn size(&self) -> usize {
        let held: usize = self.held.iter().map(|array| array.get_array_memory_size()).sum();
        size_of_val(self) + self.held.capacity() * size_of::<ArrayRef>() + held
    }
}

/// The position of the first of `n` sorted values that at least this share of them does not exceed.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positions are in range, and exact below 2^53"
)]
fn position(share: f64, n: usize) -> usize {
    ((share * n as f64).ceil() as usize).clamp(1, n.max(1)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_of_shares() {
        let at = |share| position(share, 4);
        assert_eq!([0.0, 0.25, 0.26, 0.5, 0.75, 1.0].map(at), [0, 0, 1, 1, 2, 3]);
        assert_eq!(position(0.5, 1), 0);
    }
}
