//! How values are written in the answers of the SQL cases. `testdata/sql/answers.py` formats the
//! values of the independent engine by the same rules, so that text can be compared with text.
//!
//! Null is `NULL`, empty text is `(empty)`, spaces are `(blank)`. Floats have nine significant
//! digits. Decimals and fractions of seconds lose trailing zeros. Timestamps with a time zone are
//! shown in UTC. Binary is hexadecimal. `[a, b]` is a list, and `{k: v}` a struct or a map.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use sqllogictest::DefaultColumnType;

/// All rows of some batches, as text.
pub(crate) fn rows(batches: &[RecordBatch]) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<_> = batch.columns().iter().map(cells).collect();
        rows.extend(
            (0..batch.num_rows())
                .map(|row| columns.iter().map(|column| column[row].clone()).collect::<Vec<_>>()),
        );
    }
    rows
}

/// The letter of a column's type in a case: I, R, or T for everything else.
pub(crate) fn letter(kind: &DataType) -> DefaultColumnType {
    match kind {
        DataType::Decimal32(_, 0)
        | DataType::Decimal64(_, 0)
        | DataType::Decimal128(_, 0)
        | DataType::Decimal256(_, 0) => DefaultColumnType::Integer,
        kind if kind.is_integer() => DefaultColumnType::Integer,
        kind if kind.is_numeric() => DefaultColumnType::FloatingPoint,
        _ => DefaultColumnType::Text,
    }
}

/// The text of each value of an array.
fn cells(array: &ArrayRef) -> Vec<String> {
    let texts: Vec<String> = match array.data_type() {
        DataType::Dictionary(_, kind) => return cells(&as_type(array, kind)),
        DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            let floats = as_type(array, &DataType::Float64);
            floats.as_primitive::<Float64Type>().values().iter().map(|x| number(*x)).collect()
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            let texts = as_type(array, &DataType::Utf8);
            texts.as_string::<i32>().iter().map(|text| written(text.unwrap_or(""))).collect()
        }
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => {
            let bytes = as_type(array, &DataType::Binary);
            bytes.as_binary::<i32>().iter().map(|bytes| hex(bytes.unwrap_or(&[]))).collect()
        }
        DataType::Timestamp(unit, Some(_)) => {
            let utc = as_type(array, &DataType::Timestamp(*unit, Some("UTC".into())));
            plain(&utc).iter().map(|t| format!("{}Z", trimmed(t.trim_end_matches('Z')))).collect()
        }
        DataType::Timestamp(..) | DataType::Time32(_) | DataType::Time64(_) => {
            plain(array).iter().map(|text| trimmed(text)).collect()
        }
        kind if kind.is_decimal() => plain(array).iter().map(|text| trimmed(text)).collect(),
        DataType::List(_) => {
            let lists = array.as_list::<i32>();
            (0..lists.len()).map(|row| list(&lists.value(row))).collect()
        }
        DataType::LargeList(_) => {
            let lists = array.as_list::<i64>();
            (0..lists.len()).map(|row| list(&lists.value(row))).collect()
        }
        DataType::FixedSizeList(..) => {
            let lists = array.as_fixed_size_list();
            (0..lists.len()).map(|row| list(&lists.value(row))).collect()
        }
        DataType::Struct(fields) => {
            let columns: Vec<_> = array.as_struct().columns().iter().map(cells).collect();
            let names: Vec<_> = fields.iter().map(|field| field.name()).collect();
            (0..array.len())
                .map(|row| braces(names.iter().zip(&columns).map(|(n, c)| (*n, &c[row]))))
                .collect()
        }
        DataType::Map(..) => {
            let maps = array.as_map();
            (0..maps.len())
                .map(|row| {
                    let entries = maps.value(row);
                    let (keys, values) = (cells(entries.column(0)), cells(entries.column(1)));
                    braces(keys.iter().zip(&values))
                })
                .collect()
        }
        _ => plain(array),
    };
    let nulls = array.logical_nulls();
    let is_null = |row| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
    let text = |(row, text)| if is_null(row) { "NULL".to_owned() } else { text };
    texts.into_iter().enumerate().map(text).collect()
}

fn as_type(array: &ArrayRef, kind: &DataType) -> ArrayRef {
    cast(array, kind).expect("every value has a place in the type it is shown as")
}

/// Arrow's own text.
fn plain(array: &ArrayRef) -> Vec<String> {
    let options = FormatOptions::new().with_null("NULL");
    let formatter = ArrayFormatter::try_new(array.as_ref(), &options).expect("a type with a text");
    (0..array.len()).map(|row| formatter.value(row).to_string()).collect()
}

/// Removes the trailing zeros of a fraction.
fn trimmed(text: &str) -> String {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text.to_owned()
    }
}

/// Nine significant digits; an exponent only if the number is far from 1.
fn number(x: f64) -> String {
    if x.is_nan() {
        return "NaN".to_owned();
    }
    if x.is_infinite() {
        return if x > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let text = format!("{x:.8e}");
    if x == 0.0 || (1e-5..1e17).contains(&x.abs()) {
        return text.parse::<f64>().expect("the text of a number").to_string();
    }
    let (digits, exponent) = text.split_once('e').expect("written with an exponent");
    format!("{}e{exponent}", trimmed(digits))
}

fn written(text: &str) -> String {
    match text {
        "" => "(empty)".to_owned(),
        text if text.trim().is_empty() => "(blank)".to_owned(),
        text => text.replace('\\', "\\\\").replace('\n', "\\n").replace('\t', "\\t"),
    }
}

fn hex(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "(empty)".to_owned();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn list(values: &ArrayRef) -> String {
    format!("[{}]", cells(values).join(", "))
}

fn braces<'a>(
    pairs: impl Iterator<Item = (impl std::fmt::Display + 'a, impl std::fmt::Display + 'a)>,
) -> String {
    let pairs: Vec<_> = pairs.map(|(name, value)| format!("{name}: {value}")).collect();
    format!("{{{}}}", pairs.join(", "))
}
