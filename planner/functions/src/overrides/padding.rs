//! `lpad` and `rpad` to a negative length, which return the empty text.
//!
//! DataFusion 55.2 panics for a negative length in a column ("capacity overflow").

use datafusion::arrow::array::AsArray;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};

use super::Override;

#[derive(Debug)]
pub(super) struct Length;

impl Override for Length {
    fn call(&self, original: &ScalarUDF, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if let Some(length) = args.args.get_mut(1) {
            match length {
                ColumnarValue::Array(lengths) if lengths.data_type().is_integer() => {
                    let numbers = cast(lengths, &DataType::Int64)?;
                    let some =
                        numbers.as_primitive::<Int64Type>().unary::<_, Int64Type>(|n| n.max(0));
                    *lengths = cast(&some, &lengths.data_type().clone())?;
                }
                ColumnarValue::Scalar(ScalarValue::Int64(Some(n))) => *n = (*n).max(0),
                _ => {}
            }
        }
        original.invoke_with_args(args)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{Array, ArrayRef, Int64Array, StringArray};
    use datafusion::arrow::datatypes::Field;
    use datafusion::functions::unicode;

    use super::*;

    #[test]
    fn no_negative_lengths_are_still_needed() {
        let call = || {
            let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
            let lengths: ArrayRef = Arc::new(Int64Array::from(vec![2, -1]));
            let fields = [texts.data_type(), lengths.data_type()]
                .map(|kind| Arc::new(Field::new("x", kind.clone(), true)));
            unicode::lpad().invoke_with_args(ScalarFunctionArgs {
                args: [texts, lengths].map(ColumnarValue::Array).into(),
                arg_fields: fields.into(),
                number_rows: 2,
                return_field: Arc::new(Field::new("x", DataType::Utf8, true)),
                config_options: Arc::default(),
            })
        };
        let outcome = std::panic::catch_unwind(call);
        assert!(outcome.is_err() || outcome.is_ok_and(|padded| padded.is_err()), "it pads");
    }
}
