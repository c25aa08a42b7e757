//! `exact_float(integer)`: the equal double, or an error.
//!
//! A folder may have a column as BIGINT in one file and as DOUBLE in another. It is read as DOUBLE,
//! which represents every integer up to 2^53 but few above: a plain cast rounds those silently.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Float64Array, PrimitiveArray};
use datafusion::arrow::datatypes::{ArrowPrimitiveType, DataType, Int64Type, UInt64Type};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// The function `exact_float`.
pub fn exact_float() -> Arc<ScalarUDF> {
    let signature = Signature::any(1, Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(ExactFloat { signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ExactFloat {
    signature: Signature,
}

impl ScalarUDFImpl for ExactFloat {
    fn name(&self) -> &'static str {
        "exact_float"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types {
            [DataType::Int64 | DataType::UInt64] => Ok(DataType::Float64),
            _ => plan_err!("exact_float takes one BIGINT"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = args.args.as_slice() else {
            return exec_err!("exact_float takes one BIGINT");
        };
        let values = value.to_array(args.number_rows)?;
        let floats = match values.data_type() {
            DataType::UInt64 => floats::<UInt64Type>(&values, |value| {
                let float = value as f64;
                (float as u128 == u128::from(value)).then_some(float)
            })?,
            _ => floats::<Int64Type>(&values, |value| {
                let float = value as f64;
                (float as i128 == i128::from(value)).then_some(float)
            })?,
        };
        Ok(ColumnarValue::Array(floats))
    }
}

fn floats<T: ArrowPrimitiveType>(
    values: &ArrayRef,
    exact: impl Fn(T::Native) -> Option<f64>,
) -> Result<ArrayRef>
where
    T::Native: std::fmt::Display,
{
    let values: &PrimitiveArray<T> = values.as_primitive();
    let mut floats = Vec::with_capacity(values.len());
    for (at, value) in values.values().iter().enumerate() {
        match exact(*value) {
            Some(float) => floats.push(float),
            None if values.is_null(at) => floats.push(0.0),
            None => {
                return exec_err!(
                    "{value} is in a column that other files have as floats, and there is no float of that value: \
                     read the files one by one"
                );
            }
        }
    }
    Ok(Arc::new(Float64Array::new(floats.into(), values.nulls().cloned())))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::Int64Array;

    use super::*;

    #[test]
    fn what_would_be_rounded_is_an_error() {
        let exact = |value: i64| {
            let values: ArrayRef = Arc::new(Int64Array::from(vec![Some(value), None]));
            floats::<Int64Type>(&values, |value| {
                let float = value as f64;
                (float as i128 == i128::from(value)).then_some(float)
            })
        };
        let two_to_53 = 1 << 53;
        assert!(
            exact(two_to_53).is_ok() && exact(i64::MIN).is_ok() && exact(two_to_53 + 2).is_ok()
        );
        assert!(exact(two_to_53 + 1).is_err() && exact(i64::MAX).is_err());
    }
}
