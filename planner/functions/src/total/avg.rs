//! The function `avg`: DataFusion's, with exact sums of integers, rounded means of decimals, means
//! of intervals, and float windows that never subtract.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Int64Type, UInt64Type};
use datafusion::common::types::{
    NativeType, logical_float64, logical_int8, logical_int16, logical_int32, logical_int64,
    logical_uint8, logical_uint16, logical_uint32, logical_uint64,
};
use datafusion::common::{Result, not_impl_err};
use datafusion::functions_aggregate::average::Avg as Original;
use datafusion::functions_aggregate::sum::Sum;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Coercion, Documentation, GroupsAccumulator,
    ReversedUDAF, Signature, TypeSignature, TypeSignatureClass, Volatility,
};

use super::distinct::Distinct;
use super::interval_mean::IntervalMean;
use super::mean::Rounded;
use super::sliding::Window;
use super::whole::{Outcome, STATE, Total, Totals};
use crate::recomputed::recomputed;
use crate::time::interval::INTERVAL;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Avg {
    original: Original,
    signature: Signature,
}

impl Default for Avg {
    fn default() -> Self {
        let native = TypeSignatureClass::Native;
        let exact = |class| TypeSignature::Coercible(vec![Coercion::new_exact(class)]);
        let widened = |to, from, kind| {
            TypeSignature::Coercible(vec![Coercion::new_implicit(native(to), from, kind)])
        };
        let unsigned = [logical_uint8(), logical_uint16(), logical_uint32()].map(native).to_vec();
        let signed = [logical_int8(), logical_int16(), logical_int32()].map(native).to_vec();
        let signature = Signature::one_of(
            vec![
                exact(TypeSignatureClass::Decimal),
                exact(TypeSignatureClass::Duration),
                exact(TypeSignatureClass::Interval),
                widened(logical_uint64(), unsigned, NativeType::UInt64),
                widened(logical_int64(), signed, NativeType::Int64),
                widened(logical_float64(), vec![TypeSignatureClass::Float], NativeType::Float64),
            ],
            Volatility::Immutable,
        );
        Self { original: Original::default(), signature }
    }
}

/// The type of the argument.
fn kind<'a>(args: &'a AccumulatorArgs) -> &'a DataType {
    args.expr_fields[0].data_type()
}

impl AggregateUDFImpl for Avg {
    fn name(&self) -> &str {
        self.original.name()
    }

    fn aliases(&self) -> &[String] {
        self.original.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [DataType::Interval(_)] => Ok(INTERVAL),
            _ => self.original.return_type(types),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let new_accumulator: super::distinct::NewAccumulator = match kind(&args) {
            DataType::Int64 => Box::new(|| Ok(Box::new(Total::<Int64Type>::new(Outcome::Mean)))),
            DataType::UInt64 => Box::new(|| Ok(Box::new(Total::<UInt64Type>::new(Outcome::Mean)))),
            decimal if decimal.is_decimal() => {
                let rounded = Rounded::new(args.return_field.data_type());
                let is_distinct = args.is_distinct;
                let original = self.original.accumulator(args)?;
                return Ok(rounded.over(original, is_distinct));
            }
            DataType::Interval(_) if args.is_distinct => {
                return not_impl_err!(
                    "avg(DISTINCT ..) of intervals is not supported: write avg over a query with \
                     SELECT DISTINCT"
                );
            }
            DataType::Interval(_) => return Ok(Box::new(IntervalMean::default())),
            _ => return self.original.accumulator(args),
        };
        if !args.is_distinct {
            return new_accumulator();
        }
        // The accumulator that collects distinct values for a sum also works for a mean.
        let return_field = Arc::new(Field::new("values", kind(&args).clone(), true));
        let values = Sum::default().accumulator(AccumulatorArgs { return_field, ..args })?;
        Ok(Box::new(Distinct::new(values, new_accumulator)))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let kind = args.input_fields[0].data_type();
        let sum = match kind {
            DataType::Int64 | DataType::UInt64 => STATE,
            DataType::Interval(_) => INTERVAL,
            _ => return self.original.state_fields(args),
        };
        if args.is_distinct {
            let item = Field::new_list_field(kind.clone(), true);
            let name = format_state_name(args.name, "avg distinct");
            return Ok(vec![Arc::new(Field::new_list(name, item, false))]);
        }
        Ok(vec![
            Arc::new(Field::new(format_state_name(args.name, "count"), DataType::UInt64, true)),
            Arc::new(Field::new(format_state_name(args.name, "sum"), sum, true)),
        ])
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !matches!(kind(&args), DataType::Interval(_))
            && self.original.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        match kind(&args) {
            DataType::Int64 => Ok(Box::new(Totals::<Int64Type>::new(Outcome::Mean))),
            DataType::UInt64 => Ok(Box::new(Totals::<UInt64Type>::new(Outcome::Mean))),
            decimal if decimal.is_decimal() => {
                let rounded = Rounded::new(args.return_field.data_type());
                Ok(rounded.over_groups(self.original.create_groups_accumulator(args)?))
            }
            _ => self.original.create_groups_accumulator(args),
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match (kind(&args), args.is_distinct) {
            (DataType::Float64, false) => Ok(Box::new(Window::new(Outcome::Mean))),
            (_, true) => recomputed(&AggregateUDF::from(Self::default()), &args),
            _ => self.accumulator(args),
        }
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.original.order_sensitivity()
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.original.documentation()
    }
}
