//! The function `sum`: DataFusion's, with our accumulators for types that can overflow.

use std::sync::Arc;

use datafusion::arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DataType, Decimal32Type, Decimal64Type, Decimal128Type,
    Decimal256Type, DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType,
    DurationSecondType, Field, FieldRef, Int64Type, IntervalDayTimeType, IntervalMonthDayNanoType,
    IntervalUnit, IntervalYearMonthType, TimeUnit, UInt64Type,
};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions_aggregate::sum::Sum as Original;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, Expr, GroupsAccumulator, Operator,
    ReversedUDAF, SetMonotonicity, Signature, StatisticsArgs,
};

use super::checked::{CheckedSum, CheckedSums};
use super::distinct::{Distinct, DistinctWindow};
use super::sliding::Window;
use super::whole::{Outcome, STATE, Total, Totals};
use crate::recomputed::recomputed;

#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Sum {
    original: Original,
}

/// Calls the macro `$then` with the arrow type of a sum that is checked at each addition.
macro_rules! for_checked {
    ($kind:expr, $then:ident, $other:expr) => {
        match $kind {
            DataType::Decimal32(..) => $then!(Decimal32Type),
            DataType::Decimal64(..) => $then!(Decimal64Type),
            DataType::Decimal128(..) => $then!(Decimal128Type),
            DataType::Decimal256(..) => $then!(Decimal256Type),
            DataType::Duration(TimeUnit::Second) => $then!(DurationSecondType),
            DataType::Duration(TimeUnit::Millisecond) => $then!(DurationMillisecondType),
            DataType::Duration(TimeUnit::Microsecond) => $then!(DurationMicrosecondType),
            DataType::Duration(TimeUnit::Nanosecond) => $then!(DurationNanosecondType),
            DataType::Interval(IntervalUnit::YearMonth) => $then!(IntervalYearMonthType),
            DataType::Interval(IntervalUnit::DayTime) => $then!(IntervalDayTimeType),
            DataType::Interval(IntervalUnit::MonthDayNano) => $then!(IntervalMonthDayNanoType),
            _ => $other,
        }
    };
}

/// True if sums of ten billion rows cannot overflow, because the result has ten more digits than
/// the argument. Such sums need no check.
fn never_overflows(kind: &DataType) -> bool {
    matches!(kind, DataType::Decimal128(digits, _) if *digits < DECIMAL128_MAX_PRECISION)
}

impl Sum {
    /// The accumulator of a sum without DISTINCT.
    fn plain(args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let kind = args.return_field.data_type().clone();
        macro_rules! checked {
            ($t:ty) => {
                Ok(Box::new(CheckedSum::<$t>::new(&kind)))
            };
        }
        match &kind {
            DataType::Int64 => Ok(Box::new(Total::<Int64Type>::new(Outcome::Sum))),
            DataType::UInt64 => Ok(Box::new(Total::<UInt64Type>::new(Outcome::Sum))),
            kind if never_overflows(kind) => Original::default().accumulator(args),
            other => for_checked!(other, checked, Original::default().accumulator(args)),
        }
    }
}

impl AggregateUDFImpl for Sum {
    fn name(&self) -> &str {
        self.original.name()
    }

    fn signature(&self) -> &Signature {
        self.original.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.original.return_type(types)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if !args.is_distinct {
            return Self::plain(args);
        }
        let kind = args.return_field.data_type().clone();
        let values = self.original.accumulator(args)?;
        macro_rules! checked {
            ($t:ty) => {{
                let kind = kind.clone();
                Box::new(move || Ok(Box::new(CheckedSum::<$t>::new(&kind)) as Box<dyn Accumulator>))
            }};
        }
        let new_accumulator: super::distinct::NewAccumulator = match &kind {
            DataType::Int64 => Box::new(|| Ok(Box::new(Total::<Int64Type>::new(Outcome::Sum)))),
            DataType::UInt64 => Box::new(|| Ok(Box::new(Total::<UInt64Type>::new(Outcome::Sum)))),
            other => for_checked!(other, checked, return Ok(values)),
        };
        Ok(Box::new(Distinct::new(values, new_accumulator)))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let whole = matches!(args.return_type(), DataType::Int64 | DataType::UInt64);
        if args.is_distinct || !whole {
            return self.original.state_fields(args);
        }
        Ok(vec![Arc::new(Field::new(format_state_name(args.name, "sum"), STATE, true))])
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        let kind = args.return_field.data_type().clone();
        macro_rules! checked {
            ($t:ty) => {
                Ok(Box::new(CheckedSums::new::<$t>(&kind)))
            };
        }
        match &kind {
            DataType::Int64 => Ok(Box::new(Totals::<Int64Type>::new(Outcome::Sum))),
            DataType::UInt64 => Ok(Box::new(Totals::<UInt64Type>::new(Outcome::Sum))),
            kind if never_overflows(kind) => self.original.create_groups_accumulator(args),
            other => {
                for_checked!(other, checked, self.original.create_groups_accumulator(args))
            }
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match (args.return_field.data_type(), args.is_distinct) {
            (DataType::Int64, true) => Ok(Box::new(DistinctWindow::<Int64Type>::default())),
            (DataType::UInt64, true) => Ok(Box::new(DistinctWindow::<UInt64Type>::default())),
            (DataType::Float64, false) => Ok(Box::new(Window::new(Outcome::Sum))),
            (_, true) => recomputed(&AggregateUDF::from(Self::default()), &args),
            (kind, false) if never_overflows(kind) => {
                self.original.create_sliding_accumulator(args)
            }
            (_, false) => Self::plain(args),
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

    fn set_monotonicity(&self, kind: &DataType) -> SetMonotonicity {
        self.original.set_monotonicity(kind)
    }

    fn simplify_expr_op_literal(
        &self,
        function: &AggregateFunction,
        arg: &Expr,
        op: Operator,
        literal: &Expr,
        arg_is_left: bool,
    ) -> Result<Option<Expr>> {
        self.original.simplify_expr_op_literal(function, arg, op, literal, arg_is_left)
    }

    fn value_from_stats(&self, args: &StatisticsArgs) -> Option<ScalarValue> {
        self.original.value_from_stats(args)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::AsArray;
    use datafusion::prelude::SessionContext;

    use super::*;

    #[tokio::test]
    async fn checked_sum_is_still_needed() {
        let plain = SessionContext::new();
        let sql = "SELECT sum(x) FROM (VALUES (9223372036854775807), (1)) v(x)";
        let rows = plain.sql(sql).await.expect("planned").collect().await;
        let rows = rows.expect("DataFusion wraps without an error");
        assert_eq!(rows[0].column(0).as_primitive::<Int64Type>().value(0), i64::MIN);
    }
}
