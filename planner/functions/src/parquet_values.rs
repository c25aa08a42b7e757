//! Decodes Parquet types that Arrow represents differently, from their bytes: `uuid_text(bytes)`
//! and `parquet_interval(bytes)`. File scans call them; users do not.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryArray, IntervalMonthDayNanoArray, StringViewBuilder,
};
use datafusion::arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalUnit};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// The size of a UUID, in bytes.
const UUID_BYTES: i32 = 16;

/// The size of an interval, in bytes: months, days and milliseconds of four bytes each.
const INTERVAL_BYTES: i32 = 12;

const NANOS_PER_MILLI: i64 = 1_000_000;

/// The bytes of a UUID as `12345678-1234-5678-1234-567812345678`.
pub fn uuid_text() -> Arc<ScalarUDF> {
    made_by(Made::Uuid)
}

/// The bytes of an interval as one with months, days and time.
///
/// The Parquet reader returns days and time only, or months only.
pub fn parquet_interval() -> Arc<ScalarUDF> {
    made_by(Made::Interval)
}

fn made_by(made: Made) -> Arc<ScalarUDF> {
    let signature = Signature::any(1, Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(OfBytes { made, signature }))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Made {
    Uuid,
    Interval,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OfBytes {
    made: Made,
    signature: Signature,
}

impl ScalarUDFImpl for OfBytes {
    fn name(&self) -> &'static str {
        match self.made {
            Made::Uuid => "uuid_text",
            Made::Interval => "parquet_interval",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match (self.made, arg_types) {
            (Made::Uuid, [DataType::FixedSizeBinary(UUID_BYTES)]) => Ok(DataType::Utf8View),
            (Made::Interval, [DataType::FixedSizeBinary(INTERVAL_BYTES)]) => {
                Ok(DataType::Interval(IntervalUnit::MonthDayNano))
            }
            (_, types) => plan_err!("{} does not take {types:?}", self.name()),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = args.args.as_slice() else {
            return exec_err!("{} takes one value", self.name());
        };
        let values = value.to_array(args.number_rows)?;
        let values = values.as_fixed_size_binary();
        Ok(ColumnarValue::Array(match self.made {
            Made::Uuid => uuids(values),
            Made::Interval => intervals(values),
        }))
    }
}

fn uuids(values: &FixedSizeBinaryArray) -> ArrayRef {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut texts = StringViewBuilder::with_capacity(values.len());
    let mut text = String::with_capacity(36);
    for value in values {
        let Some(bytes) = value else {
            texts.append_null();
            continue;
        };
        text.clear();
        for (at, byte) in bytes.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 0x0f)]));
        }
        texts.append_value(&text);
    }
    Arc::new(texts.finish())
}

fn intervals(values: &FixedSizeBinaryArray) -> ArrayRef {
    let interval = |bytes: &[u8]| {
        let number = |at: usize| {
            let bytes = bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
            i32::from_le_bytes(bytes.unwrap_or_default())
        };
        IntervalMonthDayNano::new(number(0), number(4), i64::from(number(8)) * NANOS_PER_MILLI)
    };
    Arc::new(values.iter().map(|bytes| bytes.map(interval)).collect::<IntervalMonthDayNanoArray>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_values() {
        let bytes: Vec<u8> = (0..16).map(|n| n * 17).collect();
        let uuid = FixedSizeBinaryArray::try_from_sparse_iter_with_size(
            [Some(bytes), None].into_iter(),
            UUID_BYTES,
        );
        let texts = uuids(&uuid.unwrap());
        assert_eq!(texts.as_string_view().value(0), "00112233-4455-6677-8899-aabbccddeeff");
        assert!(texts.is_null(1));
        let bytes = [1_i32, 2, 3000].map(i32::to_le_bytes).concat();
        let interval = FixedSizeBinaryArray::try_from_iter([bytes].into_iter()).unwrap();
        let expected = IntervalMonthDayNano::new(1, 2, 3_000_000_000);
        let found = intervals(&interval);
        assert_eq!(
            found.as_primitive::<datafusion::arrow::datatypes::IntervalMonthDayNanoType>().value(0),
            expected
        );
    }
}
