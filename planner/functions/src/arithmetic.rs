//! Integer and decimal arithmetic that fails on overflow.
//!
//! DataFusion 55.2 computes `+`, `-`, `*` and negation of integers modulo 2 to the power of their
//! width: `9223372036854775807 + 1` is the smallest BIGINT. The flag of its operator that turns
//! overflow into an error is lost on the way to workers, and constant folding ignores it. So the
//! planner replaces the operators by these functions. Their columns are named like the operators,
//! and the error is the same for every width.

use std::fmt::Write;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, Datum};
use datafusion::arrow::compute::kernels::numeric::{
    add, add_wrapping, mul, neg, sub, sub_wrapping,
};
use datafusion::arrow::datatypes::{
    DECIMAL32_MAX_PRECISION, DECIMAL64_MAX_PRECISION, DECIMAL128_MAX_PRECISION,
    DECIMAL256_MAX_PRECISION, DataType, Decimal128Type, Decimal256Type, Field, FieldRef, Int32Type,
    Int64Type,
};
use datafusion::arrow::error::ArrowError;
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, exec_err, plan_err};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::binary::BinaryTypeCoercer;
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Expr, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use datafusion::physical_expr_common::datum::apply;

use crate::quotient::rounded_divide;

/// The checked function for `left op right`, if the operator is missing or wrong for some values of
/// these types.
pub fn checked(left: &DataType, op: Operator, right: &DataType) -> Option<ScalarUDF> {
    let op = match op {
        Operator::Divide if left.is_decimal() && right.is_decimal() => {
            return Some(rounded_divide());
        }
        Operator::Plus => Op::Add,
        Operator::Minus => Op::Subtract,
        Operator::Multiply => Op::Multiply,
        Operator::BitwiseShiftLeft => Op::ShiftLeft,
        Operator::BitwiseShiftRight => Op::ShiftRight,
        _ => return None,
    };
    let overflows = match (decimal(left), decimal(right)) {
        (Some(left), Some(right)) => op.digits(left, right)? > left.0,
        _ => left.is_integer() && left == right,
    };
    overflows.then(|| ScalarUDF::from(Checked::new(op)))
}

/// The maximum number of digits of decimals of this width, and the precision and scale of this one.
fn decimal(kind: &DataType) -> Option<(i16, i16, i16)> {
    let (most, digits, scale) = match kind {
        DataType::Decimal32(digits, scale) => (DECIMAL32_MAX_PRECISION, digits, scale),
        DataType::Decimal64(digits, scale) => (DECIMAL64_MAX_PRECISION, digits, scale),
        DataType::Decimal128(digits, scale) => (DECIMAL128_MAX_PRECISION, digits, scale),
        DataType::Decimal256(digits, scale) => (DECIMAL256_MAX_PRECISION, digits, scale),
        _ => return None,
    };
    Some((i16::from(most), i16::from(*digits), i16::from(*scale)))
}

/// The checked function for `-x` of a signed integer.
pub fn checked_negation() -> ScalarUDF {
    ScalarUDF::from(Checked::new(Op::Negate))
}

/// The functions of this module, for registration.
pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    [Op::Add, Op::Subtract, Op::Multiply, Op::Negate, Op::ShiftLeft, Op::ShiftRight]
        .into_iter()
        .map(|op| Arc::new(ScalarUDF::from(Checked::new(op))))
        .collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Op {
    Add,
    Subtract,
    Multiply,
    Negate,
    ShiftLeft,
    ShiftRight,
}

impl Op {
    /// The maximum number of digits of a result of two decimals.
    fn digits(self, left: (i16, i16, i16), right: (i16, i16, i16)) -> Option<i16> {
        let ((_, left, left_scale), (_, right, right_scale)) = (left, right);
        match self {
            Self::Add | Self::Subtract => {
                let whole = (left - left_scale).max(right - right_scale);
                Some(whole + left_scale.max(right_scale) + 1)
            }
            Self::Multiply => Some(left + right),
            Self::Negate | Self::ShiftLeft | Self::ShiftRight => None,
        }
    }

    fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract | Self::Negate => "-",
            Self::Multiply => "*",
            Self::ShiftLeft => "<<",
            Self::ShiftRight => ">>",
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    op: Op,
    signature: Signature,
}

impl Checked {
    fn new(op: Op) -> Self {
        let n_args = if op == Op::Negate { 1 } else { 2 };
        Self { op, signature: Signature::any(n_args, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &'static str {
        match self.op {
            Op::Add => "checked_add",
            Op::Subtract => "checked_subtract",
            Op::Multiply => "checked_multiply",
            Op::Negate => "checked_negate",
            Op::ShiftLeft => "checked_shift_left",
            Op::ShiftRight => "checked_shift_right",
        }
    }

    /// The name of the operator, so that columns keep their names.
    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let [left, right] = args else {
            return Ok(match args {
                [only] => format!("(- {})", only.schema_name()),
                _ => self.name().to_owned(),
            });
        };
        // Called at every level, so a chain of operators is written in a loop, not recursively.
        let mut chain = vec![(self.op, right)];
        let mut first = left;
        while let Expr::ScalarFunction(call) = first
            && let Some(checked) = call.func.inner().downcast_ref::<Self>()
            && let [left, right] = call.args.as_slice()
        {
            chain.push((checked.op, right));
            first = left;
        }
        let mut name = first.schema_name().to_string();
        for (op, operand) in chain.into_iter().rev() {
            write!(name, " {} {}", op.sign(), operand.schema_name())?;
        }
        Ok(name)
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [left, right] if left.is_decimal() && right.is_decimal() => {
                let op = match self.op {
                    Op::Add => Operator::Plus,
                    Op::Subtract => Operator::Minus,
                    _ => Operator::Multiply,
                };
                BinaryTypeCoercer::new(left, &op, right).get_result_type()
            }
            [first, rest @ ..] if first.is_integer() && rest.iter().all(|kind| kind == first) => {
                Ok(first.clone())
            }
            _ => plan_err!("{} takes integers of one type, or decimals", self.name()),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<DataType> =
            args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name(), self.return_type(&types)?, nullable)))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match (self.op, args.args.as_slice()) {
            (Op::Negate, [ColumnarValue::Array(values)]) => {
                Ok(ColumnarValue::Array(said(neg(values), self.op)?))
            }
            (Op::Negate, [ColumnarValue::Scalar(value)]) => {
                let negated = said(neg(&value.to_array()?), self.op)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&negated, 0)?))
            }
            (Op::ShiftLeft | Op::ShiftRight, [left, right]) => self.shift(left, right),
            (op, [left, right]) => apply(left, right, |left, right| {
                match op {
                    Op::Add => fast_add(left, right),
                    Op::Subtract => fast_subtract(left, right),
                    _ => mul(left, right),
                }
                .and_then(with_all_digits)
            })
            .map_err(|error| in_words(error, self.op)),
            _ => exec_err!("{} got {} arguments", self.name(), args.args.len()),
        }
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        Ok(match (self.op, inputs) {
            (Op::Add, [left, right]) => left.sort_properties.add(&right.sort_properties),
            (Op::Subtract, [left, right]) => left.sort_properties.sub(&right.sort_properties),
            (Op::Negate, [only]) => -only.sort_properties,
            _ => SortProperties::Unordered,
        })
    }
}

impl Checked {
    /// A shift by a negative count, or by the width or more, has no correct result: processors take
    /// the count modulo the width.
    fn shift(&self, left: &ColumnarValue, right: &ColumnarValue) -> Result<ColumnarValue> {
        let width = left.data_type().primitive_width().unwrap_or(8) * 8;
        let counts = right.to_array(1)?;
        let counts = datafusion::arrow::compute::cast(&counts, &DataType::Decimal128(20, 0))?;
        let counts = counts.as_primitive::<Decimal128Type>();
        if let Some(bad) = counts.iter().flatten().find(|count| !(0..width as i128).contains(count))
        {
            return exec_err!(
                "overflow: {} by {bad} bits of a {width}-bit integer; shift by 0 to {} bits",
                self.op.sign(),
                width - 1
            );
        }
        let kernel = |left: &dyn Datum, right: &dyn Datum| -> Result<ArrayRef, ArrowError> {
            shifted(self.op, left, right)
        };
        apply(left, right, kernel)
    }
}

/// The shift itself; all counts are less than the width.
fn shifted(op: Op, left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef, ArrowError> {
    use datafusion::arrow::array::downcast_integer;
    use datafusion::arrow::compute::kernels::bitwise::{bitwise_shift_left, bitwise_shift_right};
    let (left, left_one) = left.get();
    let (right, right_one) = right.get();
    let n_rows = if left_one { right.len() } else { left.len() };
    let spread = |values: &dyn Array, one: bool| -> Result<ArrayRef, ArrowError> {
        if one {
            let first = datafusion::arrow::array::UInt32Array::from(vec![0; n_rows]);
            datafusion::arrow::compute::take(values, &first, None)
        } else {
            Ok(values.slice(0, values.len()))
        }
    };
    let (left, right) = (spread(left, left_one)?, spread(right, right_one)?);
    macro_rules! shift {
        ($t:ty) => {{
            let (left, right) = (left.as_primitive::<$t>(), right.as_primitive::<$t>());
            Ok(match op {
                Op::ShiftLeft => Arc::new(bitwise_shift_left(left, right)?) as ArrayRef,
                _ => Arc::new(bitwise_shift_right(left, right)?) as ArrayRef,
            })
        }};
    }
    downcast_integer! {
        left.data_type() => (shift),
        other => Err(ArrowError::InvalidArgumentError(format!("cannot shift {other}"))),
    }
}

fn said(result: Result<ArrayRef, ArrowError>, op: Op) -> Result<ArrayRef> {
    result.map_err(|error| in_words(error.into(), op))
}

/// Rewords an overflow error; other errors pass unchanged.
fn in_words(error: DataFusionError, op: Op) -> DataFusionError {
    let DataFusionError::ArrowError(arrow, _) = &error else { return error };
    let ArrowError::ArithmeticOverflow(text) = arrow.as_ref() else { return error };
    let what = text.rsplit_once(": ").map_or(op.sign(), |(_, what)| what);
    exec_datafusion_err!("overflow: {what} is out of range; cast an operand to a wider type")
}

/// Fails if a decimal result has more digits than its type. Arrow checks only the width, which has
/// room for some numbers of 39 digits.
fn with_all_digits(result: ArrayRef) -> Result<ArrayRef, ArrowError> {
    let checked = match result.data_type() {
        DataType::Decimal128(digits, _) => {
            let values = result.as_primitive::<Decimal128Type>();
            let end = 10_i128.pow(u32::from(*digits));
            // No branch per row. The values of null rows may give a false alarm, so they are
            // checked again.
            let any = values.values().iter().fold(false, |any, x| any | (*x >= end) | (*x <= -end));
            if any { values.validate_decimal_precision(*digits) } else { Ok(()) }
        }
        DataType::Decimal256(digits, _) => {
            result.as_primitive::<Decimal256Type>().validate_decimal_precision(*digits)
        }
        _ => Ok(()),
    };
    let kind = result.data_type();
    checked.map_err(|_| {
        ArrowError::ArithmeticOverflow(format!(
            "overflow: the result has more digits than {kind} allows"
        ))
    })?;
    Ok(result)
}

/// `left + right`. Adds with wrapping, which is vectorized, and compares the signs afterwards; only
/// if one is wrong does it go through the rows one by one.
fn fast_add(left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef, ArrowError> {
    let sum = add_wrapping(left, right)?;
    let wrong = any_sign(left, right, &sum, |l, r, sum| (l ^ sum) & (r ^ sum));
    if wrong == Some(false) { Ok(sum) } else { add(left, right) }
}

/// `left - right`, in the same way.
fn fast_subtract(left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef, ArrowError> {
    let difference = sub_wrapping(left, right)?;
    let wrong = any_sign(left, right, &difference, |l, r, rest| (l ^ r) & (l ^ rest));
    if wrong == Some(false) { Ok(difference) } else { sub(left, right) }
}

/// True if `mark` is negative for any row; `None` for types that this check does not cover.
fn any_sign(
    left: &dyn Datum,
    right: &dyn Datum,
    result: &ArrayRef,
    mark: impl Fn(i64, i64, i64) -> i64,
) -> Option<bool> {
    match result.data_type() {
        DataType::Int32 => any_sign_of::<Int32Type>(left, right, result, mark),
        DataType::Int64 => any_sign_of::<Int64Type>(left, right, result, mark),
        _ => None,
    }
}

fn any_sign_of<T: ArrowPrimitiveType>(
    left: &dyn Datum,
    right: &dyn Datum,
    result: &ArrayRef,
    mark: impl Fn(i64, i64, i64) -> i64,
) -> Option<bool>
where
    i64: From<T::Native>,
{
    let ((left, left_one), (right, right_one)) = (left.get(), right.get());
    let (left, right) = (left.as_primitive::<T>().values(), right.as_primitive::<T>().values());
    let result = result.as_primitive::<T>().values();
    let all = |l: T::Native, r: T::Native, x: T::Native| mark(l.into(), r.into(), x.into());
    let marks = match (left_one, right_one) {
        (false, false) => left
            .iter()
            .zip(right.iter())
            .zip(result.iter())
            .fold(0, |marks, ((l, r), x)| marks | all(*l, *r, *x)),
        (true, _) => {
            let l = *left.first()?;
            right.iter().zip(result.iter()).fold(0, |marks, (r, x)| marks | all(l, *r, *x))
        }
        (false, true) => {
            let r = *right.first()?;
            left.iter().zip(result.iter()).fold(0, |marks, (l, x)| marks | all(*l, r, *x))
        }
    };
    Some(marks < 0)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Int64Array, Scalar};

    use super::*;

    #[test]
    fn sums_at_the_ends_of_the_range_are_exact_or_errors() {
        let left = Int64Array::from(vec![Some(i64::MAX), None, Some(i64::MIN), Some(-1)]);
        let one = Scalar::new(Int64Array::from(vec![1]));
        let minus = Scalar::new(Int64Array::from(vec![-1]));
        assert!(fast_add(&left, &one).is_err());
        assert!(fast_add(&left, &minus).is_err());
        assert!(fast_subtract(&one, &left).is_err());
        let fits = Int64Array::from(vec![Some(i64::MAX - 1), None, Some(i64::MIN), Some(-1)]);
        let sum = fast_add(&fits, &one).expect("fits");
        let expected = Int64Array::from(vec![Some(i64::MAX), None, Some(i64::MIN + 1), Some(0)]);
        assert_eq!(sum.as_primitive::<Int64Type>(), &expected);
    }

    #[tokio::test]
    async fn checked_arithmetic_is_still_needed() {
        let plain = datafusion::prelude::SessionContext::new();
        let sum = plain.sql("SELECT x + 1 FROM (VALUES (9223372036854775807)) v(x)").await;
        let rows =
            sum.expect("planned").collect().await.expect("DataFusion wraps without an error");
        assert_eq!(rows[0].column(0).as_primitive::<Int64Type>().value(0), i64::MIN);
    }
}
