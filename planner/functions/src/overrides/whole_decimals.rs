//! `ceil` and `floor` of decimals as decimals without a fraction.
//!
//! DataFusion 55.2 returns the type of the argument, which has no room for `ceil(9.99)` if that is
//! a DECIMAL(3, 2).

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, ArrowNativeTypeOp, AsArray, PrimitiveArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, DecimalType, i256};
use datafusion::common::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};

use super::{Override, by_rows};

/// The direction of rounding.
#[derive(Debug, Clone, Copy)]
pub(super) enum Towards {
    Above,
    Below,
}

/// The type of the whole numbers for a decimal type with a fraction.
fn whole(kind: &DataType) -> Option<DataType> {
    Some(match kind {
        DataType::Decimal32(digits, 1..) => DataType::Decimal32(*digits, 0),
        DataType::Decimal64(digits, 1..) => DataType::Decimal64(*digits, 0),
        DataType::Decimal128(digits, 1..) => DataType::Decimal128(*digits, 0),
        DataType::Decimal256(digits, 1..) => DataType::Decimal256(*digits, 0),
        _ => return None,
    })
}

impl Override for Towards {
    fn result_type(&self, types: &[DataType]) -> Result<Option<DataType>> {
        Ok(types.first().and_then(whole))
    }

    fn call(&self, original: &ScalarUDF, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(kind) = args.args.first().and_then(|arg| whole(&arg.data_type())) else {
            return original.invoke_with_args(args);
        };
        by_rows(&args, |arrays| rounded(&arrays[0], *self, &kind))
    }
}

fn rounded(values: &ArrayRef, towards: Towards, to: &DataType) -> Result<ArrayRef> {
    let wide: ArrayRef = match values.data_type() {
        DataType::Decimal256(_, scale) => {
            let values = values.as_primitive::<Decimal256Type>();
            Arc::new(steps::<Decimal256Type>(values, *scale, i256::from_i128(10), towards)?)
        }
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale) => {
            let wide = cast(values, &DataType::Decimal128(38, *scale))?;
            Arc::new(steps::<Decimal128Type>(wide.as_primitive(), *scale, 10, towards)?)
        }
        _ => Arc::clone(values),
    };
    Ok(cast(&wide, to)?)
}

/// The whole numbers, with all digits that the type has room for.
fn steps<T: DecimalType>(
    values: &PrimitiveArray<T>,
    scale: i8,
    ten: T::Native,
    towards: Towards,
) -> Result<PrimitiveArray<T>> {
    let one = ten.pow_checked(u32::from(scale.unsigned_abs()))?;
    let zero = T::Native::default();
    let unit = ten.div_wrapping(ten);
    let numbers: PrimitiveArray<T> = values.unary(|value| {
        let (number, rest) = (value.div_wrapping(one), value.mod_wrapping(one));
        match towards {
            Towards::Above if rest > zero => number.add_wrapping(unit),
            Towards::Below if rest < zero => number.sub_wrapping(unit),
            _ => number,
        }
    });
    Ok(numbers.with_precision_and_scale(T::MAX_PRECISION, 0)?)
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    #[tokio::test]
    async fn whole_decimals_are_still_needed() {
        let sql = "SELECT ceil(arrow_cast(9.99, 'Decimal128(3, 2)'))";
        let rows = match SessionContext::new().sql(sql).await {
            Ok(frame) => frame.collect().await,
            Err(error) => Err(error),
        };
        rows.expect_err("DataFusion has room for ten");
    }
}
