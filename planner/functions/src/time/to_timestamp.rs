//! `to_timestamp(text)` and related functions accept the same text as a cast to a timestamp.
//!
//! DataFusion 55.2 accepts fewer formats: see [`parse`](super::parse). What it accepts is left to
//! it, as are numbers and explicit formats.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{Result, ScalarValue};
use datafusion::functions::datetime;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature,
};

use super::cast::{OutOfRange, converted};

/// The functions that parse timestamps.
pub(crate) fn functions() -> [Arc<ScalarUDF>; 5] {
    let config = ConfigOptions::default();
    [
        datetime::to_timestamp(&config),
        datetime::to_timestamp_seconds(&config),
        datetime::to_timestamp_millis(&config),
        datetime::to_timestamp_micros(&config),
        datetime::to_timestamp_nanos(&config),
    ]
    .map(|upstream| Arc::new(ScalarUDF::from(ToTimestamp { upstream })))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ToTimestamp {
    upstream: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for ToTimestamp {
    fn name(&self) -> &str {
        self.upstream.name()
    }

    fn aliases(&self) -> &[String] {
        self.upstream.aliases()
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.upstream.documentation()
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.upstream.inner().schema_name(args)
    }

    fn signature(&self) -> &Signature {
        self.upstream.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.upstream.inner().return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.upstream.inner().return_field_from_args(args)
    }

    fn with_updated_config(&self, config: &ConfigOptions) -> Option<ScalarUDF> {
        let upstream = Arc::new(self.upstream.inner().with_updated_config(config)?);
        Some(ScalarUDF::from(Self { upstream }))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let to = args.return_field.data_type().clone();
        let text = match args.args.as_slice() {
            [text] if text.data_type().is_string() => Some(text.clone()),
            _ => None,
        };
        let failed = match self.upstream.invoke_with_args(args) {
            Ok(read) => return Ok(read),
            Err(error) => error,
        };
        match text {
            None => Err(failed),
            Some(ColumnarValue::Array(array)) => {
                Ok(ColumnarValue::Array(converted(&array, &to, OutOfRange::Error)?))
            }
            Some(ColumnarValue::Scalar(value)) => {
                let array = converted(&value.to_array()?, &to, OutOfRange::Error)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?))
            }
        }
    }
}
