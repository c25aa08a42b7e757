//! `regexp_replace` and `regexp_match` with PostgreSQL's semantics.
//!
//! DataFusion 55.2 reads `$1` and `${name}` in a replacement as groups, and `$$` as one `$`; in
//! SQL, `\1` to `\9` are groups, `\&` is the whole match, `\\` is a backslash, and `$` is a `$`. It
//! also leaves unmatched groups out of the result of `regexp_match`, so that the following groups
//! shift.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, ListBuilder, StringBuilder};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};
use regex::Regex;

use super::{Override, by_rows};

/// The replacement in DataFusion's syntax.
#[derive(Debug)]
pub(super) struct Replace;

impl Override for Replace {
    fn call(&self, original: &ScalarUDF, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if let Some(replacement) = args.args.get_mut(2) {
            match replacement {
                ColumnarValue::Scalar(
                    ScalarValue::Utf8(Some(text))
                    | ScalarValue::LargeUtf8(Some(text))
                    | ScalarValue::Utf8View(Some(text)),
                ) => *text = as_read(text),
                ColumnarValue::Array(texts) => {
                    let kind = texts.data_type().clone();
                    let plain = cast(texts, &DataType::Utf8)?;
                    let read: datafusion::arrow::array::StringArray =
                        plain.as_string::<i32>().iter().map(|text| text.map(as_read)).collect();
                    *texts = cast(&read, &kind)?;
                }
                ColumnarValue::Scalar(_) => {}
            }
        }
        original.invoke_with_args(args)
    }
}

/// Converts an SQL replacement to the syntax of the regex crate, after DataFusion has replaced `\1`
/// by `${1}`.
fn as_read(text: &str) -> String {
    let mut read = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('$', _) => read.push_str("$$"),
            ('\\', Some(digit @ '0'..='9')) => {
                read.extend(["${", digit.to_string().as_str(), "}"]);
                chars.next();
            }
            ('\\', Some('&')) => {
                read.push_str("${0}");
                chars.next();
            }
            ('\\', Some('\\')) => {
                // No group has this name, so it expands to nothing and ends the backslash.
                read.push_str("\\${_}");
                chars.next();
            }
            (c, _) => read.push(c),
        }
    }
    read
}

/// Each group at its position, null if it did not match.
#[derive(Debug)]
pub(super) struct Match;

impl Override for Match {
    fn call(&self, _original: &ScalarUDF, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let kind = args.return_field.data_type().clone();
        by_rows(&args, |arrays| {
            let plain: Vec<_> = arrays
                .iter()
                .map(|texts| Ok(cast(texts, &DataType::Utf8)?))
                .collect::<Result<_>>()?;
            Ok(cast(&matches(&plain)?, &kind)?)
        })
    }
}

fn matches(args: &[ArrayRef]) -> Result<ArrayRef> {
    let [texts, patterns, flags @ ..] = args else {
        return exec_err!("regexp_match takes a text and a pattern");
    };
    let (texts, patterns) = (texts.as_string::<i32>(), patterns.as_string::<i32>());
    let flags = flags.first().map(|flags| flags.as_string::<i32>());
    let mut found = ListBuilder::new(StringBuilder::new());
    let mut last: Option<((&str, &str), Regex)> = None;
    for row in 0..texts.len() {
        let flag = match flags {
            Some(flags) if flags.is_null(row) => None,
            Some(flags) => Some(flags.value(row)),
            None => Some(""),
        };
        let (true, true, Some(flag)) = (texts.is_valid(row), patterns.is_valid(row), flag) else {
            found.append_null();
            continue;
        };
        let source = (patterns.value(row), flag);
        if last.as_ref().is_none_or(|(known, _)| *known != source) {
            last = Some((source, compiled(source.0, flag)?));
        }
        let captures = last.as_ref().and_then(|(_, regex)| regex.captures(texts.value(row)));
        let Some(captures) = captures else {
            found.append_null();
            continue;
        };
        // Without groups, the result is the whole match.
        for group in captures.iter().skip(usize::from(captures.len() > 1)) {
            found.values().append_option(group.map(|group| group.as_str()));
        }
        found.append(true);
    }
    Ok(Arc::new(found.finish()))
}

fn compiled(pattern: &str, flags: &str) -> Result<Regex> {
    if flags.contains('g') {
        return exec_err!("regexp_match returns the first match and does not support the flag 'g'");
    }
    let source = if flags.is_empty() { pattern.to_owned() } else { format!("(?{flags}){pattern}") };
    Regex::new(&source)
        .or_else(|error| exec_err!("regexp_match cannot parse the pattern \"{pattern}\": {error}"))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::util::pretty::pretty_format_batches;
    use datafusion::prelude::SessionContext;

    use super::as_read;

    async fn plain(sql: &str) -> String {
        let rows = SessionContext::new().sql(sql).await.expect("planned").collect().await;
        pretty_format_batches(&rows.expect("ran")).expect("shown").to_string()
    }

    #[test]
    fn replacements_are_read_as_sql_means_them() {
        assert_eq!(as_read(r"a\1b\10"), "a${1}b${1}0");
        assert_eq!(as_read("$1 costs $$"), "$$1 costs $$$$");
        assert_eq!(as_read(r"\&\\1\q"), r"${0}\${_}1\q");
    }

    #[tokio::test]
    async fn dollars_are_still_needed() {
        let shown = plain("SELECT regexp_replace('a', '(a)', '$1$1') AS x").await;
        assert!(shown.contains("aa"), "{shown}");
    }

    #[tokio::test]
    async fn groups_in_their_places_are_still_needed() {
        let shown = plain("SELECT regexp_match('ac', '(a)(b)?(c)') AS x").await;
        assert!(shown.contains("[a, c]"), "{shown}");
    }
}
