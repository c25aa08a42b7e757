//! Numbers of elements and positions in lists as signed integers.
//!
//! DataFusion 55.2 returns unsigned ones, and their sum with another integer is a decimal:
//! `bit_or(array_length(xs) + 1)` was an error, and `array_length(xs) / 2` had digits after the
//! point.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};

use super::Override;

#[derive(Debug)]
pub(super) struct Signed;

impl Override for Signed {
    fn result_type(&self, _types: &[DataType]) -> Result<Option<DataType>> {
        Ok(Some(DataType::Int64))
    }

    fn call(&self, original: &ScalarUDF, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let unsigned = args.return_field.as_ref().clone().with_data_type(DataType::UInt64);
        args.return_field = unsigned.into();
        original.invoke_with_args(args)?.cast_to(&DataType::Int64, None)
    }
}
