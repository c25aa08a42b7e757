//! Exact `median` of decimals, and approximate percentiles that are exact for few values.
//!
//! DataFusion 55.2 returns the median of an even number of decimals in the type of the decimals:
//! that of 1.1 and 1.2 is 1.1. This one has one more digit. DataFusion's `approx_percentile_cont`
//! and `approx_median` round to the middle between two values even if the digest holds each value
//! separately; these return the exact percentile then.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, BooleanArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, FieldRef, Float64Type,
};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::functions_aggregate::approx_median::ApproxMedian;
use datafusion::functions_aggregate::approx_percentile_cont::ApproxPercentileCont;
use datafusion::functions_aggregate::median::Median;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, EmitTo, GroupsAccumulator,
    Signature, Volatility,
};
use datafusion::physical_expr::expressions::Literal;

use crate::recomputed::recomputed;

/// The functions of this module, for registration.
pub(crate) fn functions() -> Vec<Arc<AggregateUDF>> {
    vec![
        Arc::new(AggregateUDF::from(ExactMedian {
            original: Median::new(),
            signature: Signature::user_defined(Volatility::Immutable),
        })),
        Arc::new(AggregateUDF::from(FewValues { original: ApproxMedian::new() })),
        Arc::new(AggregateUDF::from(FewValues { original: ApproxPercentileCont::new() })),
    ]
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ExactMedian {
    original: Median,
    signature: Signature,
}

impl AggregateUDFImpl for ExactMedian {
    fn name(&self) -> &str {
        self.original.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [kind] = types else {
            return plan_err!("median takes one argument");
        };
        Ok(vec![match kind {
            DataType::Null => DataType::Float64,
            kind if kind.is_integer() => DataType::Float64,
            kind if kind.is_numeric() => kind.clone(),
            other => {
                return plan_err!("median takes numbers, not {other}; cast the argument to one");
            }
        }])
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.original.return_type(&[wider(&types[0])])
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let fields = widened(args.input_fields);
        self.original.state_fields(StateFieldsArgs { input_fields: &fields, ..args })
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let fields = widened(args.expr_fields);
        let kind = fields[0].data_type().clone();
        let inner = self.original.accumulator(AccumulatorArgs { expr_fields: &fields, ..args })?;
        Ok(if kind.is_decimal() { Box::new(Wider { inner, kind }) } else { inner })
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.original.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        let fields = widened(args.expr_fields);
        let kind = fields[0].data_type().clone();
        let args = AccumulatorArgs { expr_fields: &fields, ..args };
        let inner = self.original.create_groups_accumulator(args)?;
        Ok(if kind.is_decimal() { Box::new(Wider { inner, kind }) } else { inner })
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.original.documentation()
    }
}

/// The type that can hold the middle between two values of type `kind`.
fn wider(kind: &DataType) -> DataType {
    match kind {
        DataType::Decimal32(digits, scale)
        | DataType::Decimal64(digits, scale)
        | DataType::Decimal128(digits, scale)
            if *digits < DECIMAL128_MAX_PRECISION =>
        {
            DataType::Decimal128(digits + 1, scale + 1)
        }
        DataType::Decimal256(digits, scale) if *digits < DECIMAL256_MAX_PRECISION => {
            DataType::Decimal256(digits + 1, scale + 1)
        }
        other => other.clone(),
    }
}

fn widened(fields: &[FieldRef]) -> Vec<FieldRef> {
    let wide = |field: &FieldRef| field.as_ref().clone().with_data_type(wider(field.data_type()));
    fields.iter().map(|field| Arc::new(wide(field))).collect()
}

/// DataFusion's accumulator over values with one more digit.
#[derive(Debug)]
struct Wider<A> {
    inner: A,
    kind: DataType,
}

impl<A> Wider<A> {
    fn cast(&self, values: &[ArrayRef]) -> Result<[ArrayRef; 1]> {
        Ok([cast(&values[0], &self.kind)?])
    }
}

impl Accumulator for Wider<Box<dyn Accumulator>> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = self.cast(values)?;
        self.inner.update_batch(&values)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = self.cast(values)?;
        self.inner.retract_batch(&values)
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.inner.evaluate()
    }

    fn size(&self) -> usize {
        self.inner.size()
    }
}

impl GroupsAccumulator for Wider<Box<dyn GroupsAccumulator>> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        n_groups: usize,
    ) -> Result<()> {
        let values = self.cast(values)?;
        self.inner.update_batch(&values, groups, filter, n_groups)
    }

    fn merge_batch(
        &mut self,
        states: &[ArrayRef],
        groups: &[usize],
        n_groups: usize,
    ) -> Result<()> {
        self.inner.merge_batch(states, groups, n_groups)
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        self.inner.evaluate(emit)
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        self.inner.state(emit)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        self.inner.convert_to_state(&self.cast(values)?, filter)
    }

    fn size(&self) -> usize {
        self.inner.size()
    }
}

/// An approximate percentile that is exact while its digest holds each value separately.
#[derive(Debug, PartialEq, Eq, Hash)]
struct FewValues<F> {
    original: F,
}

/// The requested percentile, if it is a literal that we can read; the median has no such argument.
fn percentile(args: &AccumulatorArgs) -> Option<f64> {
    let Some(literal) = args.exprs.get(1) else { return Some(0.5) };
    let value = literal.downcast_ref::<Literal>()?.value().cast_to(&DataType::Float64).ok()?;
    let ScalarValue::Float64(Some(percentile)) = value else { return None };
    let descending = args.order_bys.first().is_some_and(|order| order.options.descending);
    Some(if descending { 1.0 - percentile } else { percentile })
}

impl<F: AggregateUDFImpl + Eq + std::hash::Hash> AggregateUDFImpl for FewValues<F> {
    fn name(&self) -> &str {
        self.original.name()
    }

    fn signature(&self) -> &Signature {
        self.original.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.original.return_type(types)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.original.state_fields(args)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let percentile = percentile(&args);
        let kind = args.return_field.data_type().clone();
        let digest = self.original.accumulator(args)?;
        Ok(match percentile {
            Some(percentile) => Box::new(Few { digest, percentile, kind }),
            None => digest,
        })
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match functions().into_iter().find(|function| function.name() == self.name()) {
            Some(function) => recomputed(&function, &args),
            None => self.original.create_sliding_accumulator(args),
        }
    }

    fn supports_within_group_clause(&self) -> bool {
        self.original.supports_within_group_clause()
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.original.documentation()
    }
}

#[derive(Debug)]
struct Few {
    digest: Box<dyn Accumulator>,
    percentile: f64,
    kind: DataType,
}

impl Accumulator for Few {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.digest.update_batch(values)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.digest.merge_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.digest.state()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let exact = single_values(&self.digest.state()?).and_then(|v| at(v, self.percentile));
        match exact {
            Some(exact) => ScalarValue::Float64(Some(exact)).cast_to(&self.kind),
            None => self.digest.evaluate(),
        }
    }

    fn size(&self) -> usize {
        self.digest.size()
    }
}

/// The values of a digest in which each centroid is one value. The state of a digest ends with the
/// list of its centroids: a mean and a weight each.
fn single_values(state: &[ScalarValue]) -> Option<Vec<f64>> {
    let ScalarValue::List(list) = state.last()? else { return None };
    let centroids = list.values().as_primitive_opt::<Float64Type>()?.values();
    let single = centroids.chunks_exact(2).all(|centroid| centroid[1] == 1.0);
    single.then(|| centroids.chunks_exact(2).map(|centroid| centroid[0]).collect())
}

/// The percentile of `values`, interpolated between the two nearest.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positions are small and in range"
)]
fn at(mut values: Vec<f64>, percentile: f64) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let position = percentile * values.len().checked_sub(1)? as f64;
    let lower = *values.get(position.floor() as usize)?;
    let upper = *values.get(position.ceil() as usize)?;
    let share = position.fract();
    Some(if share == 0.0 || lower == upper { lower } else { lower * (1.0 - share) + upper * share })
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::*;

    #[test]
    fn percentiles_of_few_values() {
        assert_eq!(at(vec![3.0, 1.0], 0.5), Some(2.0));
        assert_eq!(at(vec![3.0, 1.0, 7.0], 0.5), Some(3.0));
        assert_eq!(at(vec![3.0], 0.9), Some(3.0));
        assert_eq!(at(Vec::new(), 0.5), None);
    }

    #[tokio::test]
    async fn exact_percentiles_are_still_needed() {
        let sql = "SELECT approx_median(x), median(x::decimal(3, 1)) FROM \
                   (VALUES (1.1::double), (1.2), (9.0), (0.0)) v(x)";
        let plain = SessionContext::new().sql(sql).await.expect("planned").collect().await;
        let rows = plain.expect("ran");
        let decimal = datafusion::arrow::util::display::array_value_to_string(rows[0].column(1), 0);
        assert_eq!(decimal.expect("shown"), "1.1");
    }
}
