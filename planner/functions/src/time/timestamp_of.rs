//! `timestamp_of(x)`: the function that the planner uses for `CAST(x AS TIMESTAMP)` if `x` is not a
//! literal.
//!
//! DataFusion 55.2 converts everything to nanoseconds, which end in the year 2262. Here a timestamp
//! keeps its unit, and dates and texts become microseconds.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use super::cast::{OutOfRange, converted};
use super::parse::parse;

/// The function `timestamp_of`, or `try_timestamp_of`, which returns null on failure.
pub fn timestamp_of(out_of_range: OutOfRange) -> Arc<ScalarUDF> {
    static BOTH: LazyLock<[Arc<ScalarUDF>; 2]> = LazyLock::new(|| {
        [OutOfRange::Error, OutOfRange::Null]
            .map(|out_of_range| Arc::new(ScalarUDF::from(TimestampOf::new(out_of_range))))
    });
    Arc::clone(if out_of_range == OutOfRange::Error { &BOTH[0] } else { &BOTH[1] })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TimestampOf {
    signature: Signature,
    out_of_range: OutOfRange,
}

impl TimestampOf {
    fn new(out_of_range: OutOfRange) -> Self {
        Self { signature: Signature::any(1, Volatility::Immutable), out_of_range }
    }
}

impl ScalarUDFImpl for TimestampOf {
    fn name(&self) -> &'static str {
        if self.out_of_range == OutOfRange::Null { "try_timestamp_of" } else { "timestamp_of" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let [of] = types else { return plan_err!("a cast to TIMESTAMP takes one value") };
        Ok(DataType::Timestamp(unit_of(of), None))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<_> = args.arg_fields.iter().map(|f| f.data_type().clone()).collect();
        let nullable = self.out_of_range == OutOfRange::Null
            || args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name(), self.return_type(&types)?, nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let to = args.return_field.data_type();
        match args.args.into_iter().next() {
            Some(ColumnarValue::Array(array)) => {
                Ok(ColumnarValue::Array(made(&array, to, self.out_of_range)?))
            }
            Some(ColumnarValue::Scalar(value)) => {
                let array = made(&value.to_array()?, to, self.out_of_range)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?))
            }
            None => exec_err!("a cast to TIMESTAMP takes one value"),
        }
    }
}

fn unit_of(of: &DataType) -> TimeUnit {
    match of {
        DataType::Timestamp(unit, _) => *unit,
        DataType::Date32 | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            TimeUnit::Microsecond
        }
        DataType::Dictionary(_, value) => unit_of(value),
        _ => TimeUnit::Nanosecond,
    }
}

fn made(array: &ArrayRef, to: &DataType, out_of_range: OutOfRange) -> Result<ArrayRef> {
    let of_text = matches!(
        array.data_type(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(..)
    );
    if of_text && out_of_range == OutOfRange::Error {
        check_digits(array)?;
    }
    converted(array, to, out_of_range)
}

/// Refuses text with more digits than microseconds: truncating them would change the time.
fn check_digits(array: &ArrayRef) -> Result<()> {
    let texts = cast(array, &DataType::Utf8)?;
    for text in texts.as_string::<i32>().iter().flatten() {
        // The point, and seven digits.
        let long = text.len() > 26 && text.find('.').is_some_and(|point| text.len() > point + 7);
        if long && parse(text).is_some_and(|parsed| parsed.point.nanos % 1_000 != 0) {
            return exec_err!(
                "timestamp \"{text}\" has more digits than microseconds: cast it to TIMESTAMP(9)"
            );
        }
    }
    Ok(())
}
