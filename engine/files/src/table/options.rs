//! The options of a format in a statement: under the names that DataFusion knows, with values that
//! it takes, or an error that says which option is wrong and what it may be.
//!
//! DataFusion 55.2 says of a wrong value neither the option nor what is allowed ("Error parsing
//! 'maybe' as bool"), or panics (a row group of 0 rows), and wants a level with the name of a
//! Parquet compression.

use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::ast::Value;

use crate::error::SourceError;
use bigslice_diagnostics::did_you_mean;

/// Prefixes of the options of formats.
const PREFIX: &str = "format.";

/// Names that users of other programs write, and ours for them.
const ALIASES: [(&str, &str); 8] = [
    ("header", "has_header"),
    ("delim", "delimiter"),
    ("sep", "delimiter"),
    ("separator", "delimiter"),
    ("null", "null_value"),
    ("nullstr", "null_value"),
    ("codec", "compression"),
    ("timestampformat", "timestamp_format"),
];

/// Options that are true or false.
const TRUTHS: [&str; 16] = [
    "has_header",
    "double_quote",
    "newlines_in_values",
    "truncated_rows",
    "ignore_leading_whitespace",
    "ignore_trailing_whitespace",
    "newline_delimited",
    "enable_page_index",
    "pruning",
    "skip_metadata",
    "dictionary_enabled",
    "bloom_filter_on_write",
    "bloom_filter_on_read",
    "allow_single_file_parallelism",
    "skip_arrow_metadata",
    "single_file_output",
];

/// Options that are one character.
const CHARACTERS: [&str; 5] = ["delimiter", "quote", "escape", "comment", "terminator"];

/// Numeric options, and whether 0 is allowed.
const NUMBERS: [(&str, bool); 8] = [
    ("max_row_group_size", false),
    ("data_pagesize_limit", false),
    ("write_batch_size", false),
    ("dictionary_page_size_limit", false),
    ("data_page_row_count_limit", false),
    ("schema_infer_max_rec", true),
    ("maximum_parallel_row_group_writers", false),
    ("maximum_buffered_record_batches_per_stream", false),
];

/// Options that are neither.
const OTHERS: [&str; 10] = [
    "compression",
    "compression_level",
    "null_value",
    "null_regex",
    "date_format",
    "datetime_format",
    "timestamp_format",
    "timestamp_tz_format",
    "time_format",
    "quote_style",
];

/// Compressions of text.
const OF_TEXT: [&str; 5] = ["gzip", "bzip2", "xz", "zstd", "uncompressed"];

/// Compressions of Parquet, with the levels that they have and the usual one.
const OF_PARQUET: [(&str, Option<(u32, u32, u32)>); 7] = [
    ("uncompressed", None),
    ("snappy", None),
    ("lz4", None),
    ("lz4_raw", None),
    ("gzip", Some((0, 9, 6))),
    ("brotli", Some((0, 11, 1))),
    ("zstd", Some((1, 22, 1))),
];

/// Changes a statement's options for a format (in capitals) to those of DataFusion.
pub(crate) fn normalize(
    options: &mut [(String, Value)],
    format: &str,
) -> Result<(), DataFusionError> {
    for (key, value) in options {
        let lower = key.to_ascii_lowercase();
        let bare = lower.strip_prefix(PREFIX).unwrap_or(&lower);
        if bare.contains('.') {
            continue;
        }
        let name = ALIASES.iter().find(|(alias, _)| *alias == bare).map_or(bare, |(_, name)| name);
        let text = match &value {
            Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => text.clone(),
            Value::Number(text, _) => text.clone(),
            Value::Boolean(truth) => truth.to_string(),
            _ => continue,
        };
        let text = checked(name, &text, format).map_err(|wrong| wrong.into_datafusion())?;
        let name = name.to_owned();
        // Other options stay as they are.
        *key = if name == "single_file_output" { name } else { format!("{PREFIX}{name}") };
        *value = Value::SingleQuotedString(text);
    }
    Ok(())
}

/// The value of an option as DataFusion takes it.
fn checked(name: &str, text: &str, format: &str) -> Result<String, SourceError> {
    if TRUTHS.contains(&name) {
        return match text.trim().to_ascii_lowercase().as_str() {
            "true" | "t" | "yes" | "on" | "1" => Ok("true".to_owned()),
            "false" | "f" | "no" | "off" | "0" => Ok("false".to_owned()),
            _ => Err(wrong(name, text, "true or false")),
        };
    }
    if CHARACTERS.contains(&name) {
        return character(name, text);
    }
    if let Some((_, zero)) = NUMBERS.iter().find(|(number, _)| *number == name) {
        let allowed = if *zero { "a whole number" } else { "a whole number from 1 on" };
        let number = text.trim().replace('_', "").parse::<u64>().ok();
        return match number.filter(|number| *zero || *number > 0) {
            Some(number) => Ok(number.to_string()),
            None => Err(wrong(name, text, allowed)),
        };
    }
    match (name, format) {
        ("compression", "PARQUET") => of_parquet(text),
        ("compression", _) => {
            let lower = text.trim().to_ascii_lowercase();
            let known = match lower.as_str() {
                "none" | "" => "uncompressed",
                "gz" => "gzip",
                "bz2" => "bzip2",
                "zst" => "zstd",
                other => other,
            };
            match OF_TEXT.contains(&known) {
                true => Ok(known.to_owned()),
                false => Err(wrong(name, text, &format!("{} or none", OF_TEXT.join(", ")))),
            }
        }
        _ => known(name, format).map(|()| text.to_owned()),
    }
}

/// That an option of text is one; those of Parquet are many, and DataFusion knows them.
fn known(name: &str, format: &str) -> Result<(), SourceError> {
    let numbers = NUMBERS.iter().map(|(name, _)| *name);
    let all: Vec<&str> =
        TRUTHS.into_iter().chain(CHARACTERS).chain(numbers).chain(OTHERS).collect();
    if format == "PARQUET" || all.contains(&name) {
        return Ok(());
    }
    let error = SourceError::invalid(format!("{format} files have no option \"{name}\""));
    let of_csv = "options are has_header, delimiter, quote, escape, double_quote, comment, terminator, null_value, \
                  null_regex, compression, date_format, timestamp_format, truncated_rows and schema_infer_max_rec";
    Err(match did_you_mean(name, all.into_iter()) {
        Some(hint) => error.hint(hint),
        None if format == "CSV" => error.hint(of_csv),
        None => error,
    })
}

/// One character, as it is or by the escape that other programs have for it.
fn character(name: &str, text: &str) -> Result<String, SourceError> {
    let meant = match text {
        "\\t" | "tab" => "\t",
        "\\0" => "\0",
        "\\n" => "\n",
        "\\r" => "\r",
        "\\\\" => "\\",
        other => other,
    };
    match meant.len() {
        1 => Ok(meant.to_owned()),
        _ => Err(wrong(name, text, "one ASCII character, such as ';' or '\\t' for a tab")),
    }
}

/// A compression of Parquet with its level.
fn of_parquet(text: &str) -> Result<String, SourceError> {
    let lower = text.trim().to_ascii_lowercase();
    let (codec, level) = match lower.split_once('(') {
        Some((codec, level)) => (codec.trim(), Some(level.trim_end_matches(')').trim())),
        None => (lower.as_str(), None),
    };
    let codec = match codec {
        "none" | "" => "uncompressed",
        "gz" => "gzip",
        "zst" => "zstd",
        other => other,
    };
    let allowed = || {
        let each = OF_PARQUET.map(|(codec, levels)| match levels {
            Some((least, most, _)) => format!("{codec}({least}) to {codec}({most})"),
            None => codec.to_owned(),
        });
        format!("{} or none", each.join(", "))
    };
    let Some((codec, levels)) = OF_PARQUET.iter().find(|(known, _)| *known == codec) else {
        return Err(wrong("compression", text, &allowed()));
    };
    match (levels, level) {
        (None, None) => Ok((*codec).to_owned()),
        (Some((.., usual)), None) => Ok(format!("{codec}({usual})")),
        (Some((least, most, _)), Some(level)) => {
            let level = level.parse::<u32>().ok().filter(|level| (least..=most).contains(&level));
            level.map(|level| format!("{codec}({level})")).ok_or_else(|| {
                wrong("compression", text, &format!("{codec}({least}) to {codec}({most})"))
            })
        }
        (None, Some(_)) => Err(wrong("compression", text, &format!("{codec}, without a level"))),
    }
}

fn wrong(name: &str, text: &str, allowed: &str) -> SourceError {
    SourceError::invalid(format!("the option \"{name}\" cannot be '{text}'"))
        .hint(format!("it may be {allowed}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(key: &str, value: &str, format: &str) -> Result<String, String> {
        let mut options = [(key.to_owned(), Value::SingleQuotedString(value.to_owned()))];
        normalize(&mut options, format).map_err(|error| error.to_string())?;
        Ok(format!("{}={}", options[0].0, options[0].1.clone().into_string().unwrap()))
    }

    #[test]
    fn usual_names_and_values_are_taken() {
        let taken = |key, value, format| one(key, value, format).unwrap();
        assert_eq!(taken("header", "FALSE", "CSV"), "format.has_header=false");
        assert_eq!(taken("format.delimiter", "\\t", "CSV"), "format.delimiter=\t");
        assert_eq!(taken("nullstr", "NA", "CSV"), "format.null_value=NA");
        assert_eq!(taken("compression", "zstd", "PARQUET"), "format.compression=zstd(1)");
        assert_eq!(taken("compression", "none", "PARQUET"), "format.compression=uncompressed");
        assert_eq!(
            taken("format.max_row_group_size", "1000", "PARQUET"),
            "format.max_row_group_size=1000"
        );
        assert_eq!(
            taken("execution.keep_partition_by_columns", "true", "CSV"),
            "execution.keep_partition_by_columns=true"
        );
    }

    #[test]
    fn wrong_values_are_named_with_what_is_allowed() {
        let error = |key, value, format| one(key, value, format).unwrap_err();
        assert!(error("format.has_header", "maybe", "CSV").contains("true or false"));
        assert!(error("delimiter", "||", "CSV").contains("\"delimiter\" cannot be '||'"));
        assert!(error("format.quote", "", "CSV").contains("one ASCII character"));
        assert!(error("format.max_row_group_size", "0", "PARQUET").contains("from 1 on"));
        assert!(
            error("format.max_row_group_size", "abc", "PARQUET").contains("max_row_group_size")
        );
        assert!(error("compression", "zstd(99)", "PARQUET").contains("zstd(1) to zstd(22)"));
        assert!(error("delimeter", ";", "CSV").contains("did you mean \"delimiter\"?"));
    }

    #[test]
    fn checked_options_are_still_needed() {
        use datafusion::config::{ConfigFileType, TableOptions};

        let mut options = TableOptions::new();
        options.set_config_format(ConfigFileType::CSV);
        let error = options.set("format.has_header", "maybe").unwrap_err().to_string();
        assert!(!error.contains("has_header"), "DataFusion names options now: {error}");
    }
}
