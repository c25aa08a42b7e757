//! `not_null(value, column)`: the value, or an error that names the column if it is null. The
//! planner puts it around what is inserted into a column that is NOT NULL.
//!
//! DataFusion 55.2 names the column by its position, or by its place in VALUES.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::Array;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

/// The function `not_null`.
pub fn not_null() -> Arc<ScalarUDF> {
    static NOT_NULL: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        let signature = Signature::any(2, Volatility::Immutable);
        Arc::new(ScalarUDF::from(NotNull { signature }))
    });
    Arc::clone(&NOT_NULL)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct NotNull {
    signature: Signature,
}

impl ScalarUDFImpl for NotNull {
    fn name(&self) -> &'static str {
        "not_null"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [value, _] => Ok(value.clone()),
            _ => exec_err!("not_null takes a value and the name of a column"),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let Some(value) = args.arg_fields.first() else {
            return exec_err!("not_null takes a value and the name of a column");
        };
        Ok(Arc::new(Field::new(self.name(), value.data_type().clone(), false)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value, ColumnarValue::Scalar(column)] = args.args.as_slice() else {
            return exec_err!("not_null takes a value and the name of a column");
        };
        let has_nulls = args.number_rows > 0
            && match value {
                ColumnarValue::Array(array) => array.logical_null_count() > 0,
                ColumnarValue::Scalar(value) => value.is_null(),
            };
        if has_nulls {
            let column = column.try_as_str().flatten().unwrap_or_default();
            return exec_err!("the column \"{column}\" is NOT NULL, and a row has null there");
        }
        Ok(value.clone())
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::Int64Array;
    use datafusion::common::ScalarValue;
    use datafusion::common::config::ConfigOptions;

    use super::*;

    fn checked(values: Vec<Option<i64>>) -> Result<ColumnarValue> {
        let number_rows = values.len();
        not_null().invoke_with_args(ScalarFunctionArgs {
            args: vec![
                ColumnarValue::Array(Arc::new(Int64Array::from(values))),
                ColumnarValue::Scalar(ScalarValue::from("a")),
            ],
            arg_fields: vec![
                Arc::new(Field::new("value", DataType::Int64, true)),
                Arc::new(Field::new("column", DataType::Utf8, false)),
            ],
            number_rows,
            return_field: Arc::new(Field::new("not_null", DataType::Int64, false)),
            config_options: Arc::new(ConfigOptions::default()),
        })
    }

    #[test]
    fn a_null_is_an_error_that_names_the_column() {
        assert!(checked(vec![Some(1), Some(2)]).is_ok());
        let error = checked(vec![Some(1), None]).unwrap_err().to_string();
        assert!(error.contains("\"a\" is NOT NULL"), "{error}");
    }
}
