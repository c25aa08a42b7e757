//! `partition_text(value)`: the text of a value in a folder name `column=value`, which reads back
//! as the same value.
//!
//! DataFusion 55.2: the writer of `PARTITIONED BY` ignores null masks (a null number is written as
//! the 0 below it, a null text as an empty one, apache/datafusion#24951), refuses half of the
//! types, and cannot tell the text `__HIVE_DEFAULT_PARTITION__` from null.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use datafusion::arrow::compute::{CastOptions, can_cast_types, cast_with_options};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// The folder name for null, by Hive's convention.
pub const NULL_PARTITION: &str = "__HIVE_DEFAULT_PARTITION__";

/// Precedes the two hex digits of a byte that must be percent-encoded in a folder name although its
/// character would be allowed there. DataFusion encodes a `%` itself, so this private-use character
/// passes through DataFusion, and becomes `%` when the file is named.
pub const PARTITION_ESCAPE: char = '\u{e000}';

/// The function `partition_text`.
pub fn partition_text() -> Arc<ScalarUDF> {
    let signature = Signature::any(1, Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(PartitionText { signature }))
}

/// `partition_kept(value)`: the value unchanged, for columns that are also kept in the file and so
/// must keep their type. It fails if the folder name would need another text than DataFusion
/// writes.
pub fn partition_kept() -> Arc<ScalarUDF> {
    let signature = Signature::any(1, Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(PartitionKept { signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct PartitionKept {
    signature: Signature,
}

impl ScalarUDFImpl for PartitionKept {
    fn name(&self) -> &'static str {
        "partition_kept"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types {
            [kind] => Ok(kind.clone()),
            _ => plan_err!("partition_kept takes one value"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = args.args.as_slice() else {
            return exec_err!("partition_kept takes one value");
        };
        let is_text = is_text(&value.data_type());
        let values = value.to_array(args.number_rows)?;
        let texts = cast_with_options(&values, &DataType::Utf8, &CastOptions::default())?;
        for text in texts.as_string::<i32>() {
            let plain = text.is_some_and(|text| escaped(text, is_text) == text);
            if !plain {
                let value = text.map_or_else(|| "null".to_owned(), |text| format!("'{text}'"));
                return exec_err!(
                    "cannot name a folder after {value} if the column is kept in its files: \
                     leave out keep_partition_by_columns"
                );
            }
        }
        Ok(value.clone())
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct PartitionText {
    signature: Signature,
}

impl ScalarUDFImpl for PartitionText {
    fn name(&self) -> &'static str {
        "partition_text"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types {
            [kind] if !kind.is_nested() && can_cast_types(kind, &DataType::Utf8) => {
                Ok(DataType::Utf8)
            }
            [kind] => plan_err!("cannot name folders after values of type {kind}"),
            _ => plan_err!("partition_text takes one value"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = args.args.as_slice() else {
            return exec_err!("partition_text takes one value");
        };
        let is_text = is_text(&value.data_type());
        let values = value.to_array(args.number_rows)?;
        let strict = CastOptions { safe: false, ..CastOptions::default() };
        let values = match values.data_type() {
            // Equal instants have one text.
            DataType::Timestamp(unit, Some(_)) => cast_with_options(
                &values,
                &DataType::Timestamp(*unit, Some("UTC".into())),
                &strict,
            )?,
            _ => values,
        };
        let texts = cast_with_options(&values, &DataType::Utf8, &strict)?;
        Ok(ColumnarValue::Array(names(&texts, is_text)))
    }
}

fn is_text(kind: &DataType) -> bool {
    match kind {
        DataType::Dictionary(_, values) => is_text(values),
        kind => kind.is_string(),
    }
}

fn names(texts: &ArrayRef, is_text: bool) -> ArrayRef {
    let texts = texts.as_string::<i32>();
    let mut names = StringBuilder::with_capacity(texts.len(), texts.values().len());
    for text in texts {
        match text {
            None => names.append_value(NULL_PARTITION),
            Some(text) => names.append_value(escaped(text, is_text)),
        }
    }
    Arc::new(names.finish())
}

fn escaped(text: &str, is_text: bool) -> String {
    // A number with leading zeros reads back as a number without them. An escape marks it as text.
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits && text.len() > 1 && text.starts_with('0');
    // A timestamp reads back as one, and may be shown differently from how it was written.
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':')];
    let moment = marks.iter().all(|(at, mark)| text.as_bytes().get(*at) == Some(mark));
    let other = text == NULL_PARTITION || (is_text && (number || moment));
    let mut name = String::with_capacity(text.len());
    for (at, character) in text.char_indices() {
        if character == PARTITION_ESCAPE || (other && at == 0) {
            for byte in character.to_string().bytes() {
                name.push(PARTITION_ESCAPE);
                name.push_str(&format!("{byte:02X}"));
            }
        } else {
            name.push(character);
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::*;

    #[test]
    fn what_would_read_back_as_another_value_is_escaped() {
        assert_eq!(escaped("a/b", true), "a/b");
        assert_eq!(escaped("007", true), "\u{e000}3007");
        assert_eq!(escaped("0", true), "0");
        assert_eq!(escaped("2024-02-29T12:30:00", true), "\u{e000}32024-02-29T12:30:00");
        assert_eq!(escaped("2024-02-29T12:30:00", false), "2024-02-29T12:30:00");
        assert_eq!(escaped("007", false), "007");
        assert_eq!(escaped(NULL_PARTITION, true), "\u{e000}5F_HIVE_DEFAULT_PARTITION__");
        assert_eq!(escaped("\u{e000}", true), "\u{e000}EE\u{e000}80\u{e000}80");
    }

    #[tokio::test]
    async fn names_of_folders_are_still_needed() {
        let context = SessionContext::new();
        let folders = async |value: &str| {
            let folder = tempfile::tempdir().unwrap();
            let to = folder.path().display();
            let copy = format!(
                "COPY (SELECT {value} AS p, 1 AS x) TO '{to}/' STORED AS PARQUET PARTITIONED BY (p)"
            );
            context.sql(&copy).await?.collect().await?;
            let entries = std::fs::read_dir(folder.path())?;
            let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
            names.collect::<Result<Vec<_>>>()
        };
        assert_eq!(folders("nullif(1, 1)").await.unwrap(), ["p=0"]);
        assert_eq!(folders("nullif('a', 'a')").await.unwrap(), ["p="]);
        assert!(folders("INTERVAL '1 day'").await.is_err());
        let null = format!("p={NULL_PARTITION}");
        assert_eq!(folders(&format!("'{NULL_PARTITION}'")).await.unwrap(), [null]);
    }
}
