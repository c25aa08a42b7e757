//! `timestamp_of(x)`: `CAST(x AS TIMESTAMP)`, which the planner writes so where `x` is no literal.
//!
//! DataFusion 55.2 makes nanoseconds of everything, which end with the year 2262. Here a timestamp keeps its unit, and dates
//! and texts get microseconds.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use super::cast::{Unfit, converted};
use super::parse::parse;

/// The function `timestamp_of`, or `try_timestamp_of`, which gives null where that fails.
pub(crate) fn timestamp_of(unfit: Unfit) -> Arc<ScalarUDF> {
    static BOTH: LazyLock<[Arc<ScalarUDF>; 2]> = LazyLock::new(|| {
        [Unfit::Fails, Unfit::IsNull]
            .map(|unfit| Arc::new(ScalarUDF::from(TimestampOf::new(unfit))))
    });
    Arc::clone(if unfit == Unfit::Fails { &BOTH[0] } else { &BOTH[1] })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TimestampOf {
    signature: Signature,
    unfit: Unfit,
}

impl TimestampOf {
    fn new(unfit: Unfit) -> Self {
        Self { signature: Signature::any(1, Volatility::Immutable), unfit }
    }
}

impl ScalarUDFImpl for TimestampOf {
    fn name(&self) -> &'static str {
        if self.unfit == Unfit::IsNull { "try_timestamp_of" } else { "timestamp_of" }
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
        let nullable =
            self.unfit == Unfit::IsNull || args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name(), self.return_type(&types)?, nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let to = args.return_field.data_type();
        match args.args.into_iter().next() {
            Some(ColumnarValue::Array(array)) => {
                Ok(ColumnarValue::Array(made(&array, to, self.unfit)?))
            }
            Some(ColumnarValue::Scalar(value)) => {
                let array = made(&value.to_array()?, to, self.unfit)?;
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

fn made(array: &ArrayRef, to: &DataType, unfit: Unfit) -> Result<ArrayRef> {
    let of_text = matches!(
        array.data_type(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(..)
    );
    if of_text && unfit == Unfit::Fails {
        check_digits(array)?;
    }
    converted(array, to, unfit)
}

/// Refuses text with more digits than microseconds have: cutting them off would be another time.
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
