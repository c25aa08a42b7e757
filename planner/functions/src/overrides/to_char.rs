//! `to_char(t, 'YYYY-MM-DD HH24:MI:SS')`: PostgreSQL's patterns.
//!
//! DataFusion 55.2 supports only `strftime` patterns, and returns a PostgreSQL pattern unchanged.
//! Here a pattern without a `%` is PostgreSQL's, and unknown parts of it are refused.

use std::sync::Arc;

use datafusion::arrow::array::{AsArray, StringArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};

use super::Override;

#[derive(Debug)]
pub(super) struct Patterns;

impl Override for Patterns {
    fn call(&self, original: &ScalarUDF, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let of_duration =
            args.args.first().is_some_and(|time| matches!(time.data_type(), DataType::Duration(_)));
        match args.args.get_mut(1) {
            _ if of_duration => {}
            Some(ColumnarValue::Scalar(ScalarValue::Utf8(Some(pattern)))) => {
                *pattern = as_strftime(pattern)?;
            }
            Some(ColumnarValue::Array(patterns)) if *patterns.data_type() == DataType::Utf8 => {
                let read = patterns.as_string::<i32>().iter();
                let read: StringArray =
                    read.map(|text| text.map(as_strftime).transpose()).collect::<Result<_>>()?;
                *patterns = Arc::new(read);
                // One time and many patterns give many rows; DataFusion returns the first.
                if let Some(time @ ColumnarValue::Scalar(_)) = args.args.first_mut() {
                    *time = ColumnarValue::Array(time.to_array(args.number_rows)?);
                }
            }
            _ => {}
        }
        original.invoke_with_args(args)
    }
}

/// PostgreSQL's patterns and their `strftime` equivalents. A prefix of another pattern comes after
/// it.
const KNOWN: [(&str, &str); 34] = [
    ("YYYY", "%Y"),
    ("IYYY", "%G"),
    ("YY", "%y"),
    ("MONTH", "%B"),
    ("Month", "%B"),
    ("Mon", "%b"),
    ("MM", "%m"),
    ("MI", "%M"),
    ("MS", "%3f"),
    ("DDD", "%j"),
    ("DD", "%d"),
    ("Day", "%A"),
    ("Dy", "%a"),
    ("D", "D"),
    ("HH24", "%H"),
    ("HH12", "%I"),
    ("HH", "%I"),
    ("SS", "%S"),
    ("US", "%6f"),
    ("IW", "%V"),
    ("ID", "%u"),
    ("Q", "%q"),
    ("AM", "%p"),
    ("PM", "%p"),
    ("am", "%P"),
    ("pm", "%P"),
    ("yyyy", "%Y"),
    ("yy", "%y"),
    ("mm", "%m"),
    ("mi", "%M"),
    ("dd", "%d"),
    ("hh24", "%H"),
    ("hh12", "%I"),
    ("ss", "%S"),
];

fn as_strftime(pattern: &str) -> Result<String> {
    if pattern.contains('%') || !pattern.contains(|c: char| c.is_alphabetic()) {
        return Ok(pattern.to_owned());
    }
    let mut read = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        if c == '"' {
            // Quoted literal text.
            let end = rest[1..].find('"').map_or(rest.len(), |end| end + 1);
            read.push_str(&rest[1..end]);
            rest = rest.get(end + 1..).unwrap_or("");
            continue;
        }
        let known = KNOWN.iter().find(|(name, _)| rest.starts_with(name));
        match known {
            // For `strftime` Monday is 1, for PostgreSQL Sunday; PostgreSQL's MONTH is in capitals.
            Some((name @ ("D" | "MONTH"), _)) => return unknown(name, pattern),
            Some((name, strftime)) => {
                read.push_str(strftime);
                rest = &rest[name.len()..];
            }
            None if c.is_alphabetic() => {
                let end = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
                return unknown(&rest[..end], pattern);
            }
            None => {
                read.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    Ok(read)
}

fn unknown(part: &str, pattern: &str) -> Result<String> {
    exec_err!(
        "to_char does not know \"{part}\" in the pattern \"{pattern}\": it knows YYYY, YY, Q, MM, Mon, Month, DDD, DD, Dy, \
         Day, IYYY, IW, ID, HH24, HH12, MI, SS, MS, US and AM; a text stands in double quotes; or write the pattern of \
         strftime, as '%Y-%m-%d'"
    )
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::util::pretty::pretty_format_batches;
    use datafusion::prelude::SessionContext;

    use super::as_strftime;

    #[test]
    fn patterns_of_both_languages_are_read() {
        let read = |pattern| as_strftime(pattern).expect("known");
        assert_eq!(read("YYYY-MM-DD HH24:MI:SS.US"), "%Y-%m-%d %H:%M:%S.%6f");
        assert_eq!(read("%Y MM"), "%Y MM");
        assert_eq!(read("YYYY\"W\"IW"), "%YW%V");
        let error = as_strftime("YYYY RM").expect_err("not known").to_string();
        assert!(error.contains("\"RM\""), "{error}");
    }

    #[tokio::test]
    async fn patterns_are_still_needed() {
        let sql = "SELECT to_char(DATE '2024-02-01', 'YYYY-MM-DD') AS x";
        let rows = SessionContext::new().sql(sql).await.expect("planned").collect().await;
        let shown = pretty_format_batches(&rows.expect("ran")).expect("shown").to_string();
        assert!(shown.contains("YYYY-MM-DD"), "{shown}");
    }
}
