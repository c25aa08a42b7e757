//! Division of decimals with rounding, half away from zero.
//!
//! DataFusion 55.2 truncates: `2.00 / 3` is 0.666666. PostgreSQL, Spark and Trino round. The
//! planner replaces the operator by [`rounded_divide`], and `avg` divides by [`quotient`].

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Datum, PrimitiveArray};
use datafusion::arrow::compute::{try_binary, try_unary};
use datafusion::arrow::datatypes::{
    ArrowNativeType, ArrowNativeTypeOp, DataType, Decimal32Type, Decimal64Type, Decimal128Type,
    Decimal256Type, DecimalType, Field, FieldRef, i256,
};
use datafusion::arrow::error::ArrowError;
use datafusion::common::{Result, exec_datafusion_err, exec_err};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::binary::BinaryTypeCoercer;
use datafusion::logical_expr::{
    ColumnarValue, Expr, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use datafusion::physical_expr_common::datum::apply;

/// `rounded_divide(a, b)`: the quotient of two decimals.
pub(crate) fn rounded_divide() -> ScalarUDF {
    ScalarUDF::from(RoundedDivide { signature: Signature::any(2, Volatility::Immutable) })
}

/// `n / d`, rounded half away from zero. The numbers are the digits of decimals, which are never
/// the minimum of their width.
///
/// # Errors
/// If `d` is zero.
pub(crate) fn quotient<N: ArrowNativeTypeOp>(n: N, d: N) -> Result<N, ArrowError> {
    let cut = n.div_checked(d)?;
    let rest = n.sub_wrapping(cut.mul_wrapping(d));
    let size = |x: N| if x.is_lt(N::ZERO) { x.neg_wrapping() } else { x };
    let (left, whole) = (size(rest), size(d));
    if left.is_zero() || left.is_lt(whole.sub_wrapping(left)) {
        return Ok(cut);
    }
    match n.is_lt(N::ZERO) == d.is_lt(N::ZERO) {
        true => cut.add_checked(N::ONE),
        false => cut.sub_checked(N::ONE),
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RoundedDivide {
    signature: Signature,
}

impl ScalarUDFImpl for RoundedDivide {
    fn name(&self) -> &'static str {
        "rounded_divide"
    }

    /// The name of the operator, so that columns keep their names.
    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let [left, right] = args else { return Ok(self.name().to_owned()) };
        Ok(format!("{} / {}", left.schema_name(), right.schema_name()))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [left, right] if left.is_decimal() && right.is_decimal() => {
                BinaryTypeCoercer::new(left, &Operator::Divide, right).get_result_type()
            }
            _ => exec_err!("{} takes two decimals", self.name()),
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
        let [left, right] = args.args.as_slice() else {
            return exec_err!("{} got {} arguments", self.name(), args.args.len());
        };
        let to = args.return_field.data_type();
        apply(left, right, |left, right| divided(left, right, to)).map_err(in_words)
    }
}

fn divided(left: &dyn Datum, right: &dyn Datum, to: &DataType) -> Result<ArrayRef, ArrowError> {
    match to {
        DataType::Decimal32(digits, scale) => {
            of_width::<Decimal32Type>(left, right, (*digits, *scale))
        }
        DataType::Decimal64(digits, scale) => {
            of_width::<Decimal64Type>(left, right, (*digits, *scale))
        }
        DataType::Decimal128(digits, scale) => {
            of_width::<Decimal128Type>(left, right, (*digits, *scale))
        }
        DataType::Decimal256(digits, scale) => {
            of_width::<Decimal256Type>(left, right, (*digits, *scale))
        }
        other => {
            Err(ArrowError::InvalidArgumentError(format!("{other} is not the type of a quotient")))
        }
    }
}

fn of_width<T: DecimalType>(
    left: &dyn Datum,
    right: &dyn Datum,
    (digits, scale): (u8, i8),
) -> Result<ArrayRef, ArrowError> {
    let ((left, left_one), (right, right_one)) = (left.get(), right.get());
    let (left, right) = (left.as_primitive_opt::<T>(), right.as_primitive_opt::<T>());
    let (Some(left), Some(right)) = (left, right) else {
        let text = "the operands and the quotient must have the same width".to_owned();
        return Err(ArrowError::InvalidArgumentError(text));
    };
    // The additional digits of the quotient beyond those of the operands.
    let up = i16::from(scale) - i16::from(left.scale()) + i16::from(right.scale());
    let power = |n: i16| T::Native::usize_as(10).pow_checked(u32::from(n.unsigned_abs()));
    let (up, down) = (
        if up > 0 { power(up)? } else { T::Native::ONE },
        if up < 0 { power(up)? } else { T::Native::ONE },
    );
    let divide = |l: T::Native, r: T::Native| -> Result<T::Native, ArrowError> {
        quotient(l.mul_checked(up)?, r.mul_checked(down)?)
    };
    let one = |values: &PrimitiveArray<T>| values.is_valid(0).then(|| values.value(0));
    let result: PrimitiveArray<T> = match (left_one, right_one) {
        (false, true) => match one(right) {
            Some(r) => try_unary(left, |l| divide(l, r))?,
            None => PrimitiveArray::new_null(left.len()),
        },
        (true, false) => match one(left) {
            Some(l) => try_unary(right, |r| divide(l, r))?,
            None => PrimitiveArray::new_null(right.len()),
        },
        _ => try_binary(left, right, divide)?,
    };
    let result = result.with_precision_and_scale(digits, scale)?;
    let fits = result.validate_decimal_precision(digits);
    fits.map_err(|_| ArrowError::ArithmeticOverflow("/".to_owned()))?;
    Ok(Arc::new(result))
}

/// Rewords an overflow error; other errors pass unchanged.
fn in_words(error: DataFusionError) -> DataFusionError {
    let DataFusionError::ArrowError(arrow, _) = &error else { return error };
    match arrow.as_ref() {
        ArrowError::ArithmeticOverflow(_) => exec_datafusion_err!(
            "overflow: the quotient has more digits than its type allows; cast the operands to fewer"
        ),
        _ => error,
    }
}

/// `sum * up / count`, rounded; `None` if it has more than `digits` digits.
pub(crate) fn mean(sum: i256, up: i256, count: u64, digits: u8) -> Option<i256> {
    let narrow = || {
        let n = sum.to_i128()?.checked_mul(up.to_i128()?)?;
        quotient(n, i128::from(count)).ok().map(i256::from_i128)
    };
    let wide = || {
        let n = sum.checked_mul(up)?;
        quotient(n, i256::from_i128(i128::from(count))).ok()
    };
    let mean = narrow().or_else(wide)?;
    Decimal256Type::validate_decimal_precision(mean, digits, 0).ok().map(|()| mean)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Decimal128Array, Scalar};
    use datafusion::arrow::util::pretty::pretty_format_columns;
    use datafusion::prelude::SessionContext;

    use super::*;

    #[test]
    fn quotients_are_rounded_half_away_from_zero() {
        for (n, d, expected) in [
            (7, 2, 4),
            (-7, 2, -4),
            (7, -2, -4),
            (-7, -2, 4),
            (1, 3, 0),
            (2, 3, 1),
            (-2, 3, -1),
            (6, 3, 2),
        ] {
            assert_eq!(quotient(n, d).expect("no zero"), expected, "{n} / {d}");
            let wide = quotient(i256::from_i128(n), i256::from_i128(d)).expect("no zero");
            assert_eq!(wide, i256::from_i128(expected), "{n} / {d}");
        }
        assert!(quotient(1_i128, 0).is_err());
        assert_eq!(mean(i256::from_i128(2), i256::from_i128(10), 3, 2), Some(i256::from_i128(7)));
        assert_eq!(mean(i256::from_i128(i128::MAX), i256::from_i128(10_000), 2, 38), None);
    }

    #[test]
    fn columns_are_divided_by_columns_and_values() {
        let left = Decimal128Array::from(vec![Some(200), None, Some(-200), Some(5)]);
        let left = left.with_precision_and_scale(10, 2).expect("they fit");
        let right = Decimal128Array::from(vec![3, 0, 3, 10]);
        let right = right.with_precision_and_scale(10, 0).expect("they fit");
        let to = DataType::Decimal128(7, 6);
        let shown =
            |array: ArrayRef| pretty_format_columns("q", &[array]).expect("text").to_string();
        let all = shown(divided(&left, &right, &to).expect("no zero"));
        for value in ["0.666667", "-0.666667", "0.005000"] {
            assert!(all.contains(value), "{all}");
        }
        let whole = |value| {
            let value = Decimal128Array::from(vec![value]).with_precision_and_scale(10, 0);
            Scalar::new(value.expect("it fits"))
        };
        let three = whole(3);
        assert!(shown(divided(&left, &three, &to).expect("no zero")).contains("0.666667"));
        let zero = whole(0);
        assert!(divided(&left, &zero, &to).is_err());
    }

    #[tokio::test]
    async fn rounding_quotients_is_still_needed() {
        let plain = SessionContext::new();
        let sql = "SELECT arrow_cast(2, 'Decimal128(3, 2)') / arrow_cast(3, 'Decimal128(3, 2)')";
        let rows = plain.sql(sql).await.expect("planned").collect().await.expect("rows");
        let text = pretty_format_columns("q", &[Arc::clone(rows[0].column(0))]).expect("text");
        assert!(text.to_string().contains("0.666666 "), "{text}");
    }
}
