//! Errors in text files, with the file, the line, the column and the value.

use datafusion::arrow::datatypes::DataType;
use datafusion::error::DataFusionError;

use crate::error::{SourceError, SourceErrorKind};
use crate::sql_name::sql_name;

/// The length of a value in an error.
const SHOWN_CHARS: usize = 60;

/// Something wrong at a place of a text.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    /// Where the row begins, in bytes from the first one that the reader of the text was given.
    pub(super) at: usize,
    /// The column, where one is to blame.
    column: Option<String>,
    message: String,
    hint: Option<String>,
}

impl Fault {
    /// A sentence in lower case, without a period.
    pub(super) fn new(at: usize, message: impl Into<String>) -> Self {
        Self { at, column: None, message: message.into(), hint: None }
    }

    /// The same at another place.
    pub(super) fn moved_to(self, at: usize) -> Self {
        Self { at, ..self }
    }

    /// Names the column.
    pub(super) fn column(mut self, column: impl Into<String>) -> Self {
        self.column = Some(column.into());
        self
    }

    /// Adds what the user can do.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The error for a user: the place is the `line` of `file`, counted from 1.
    pub(super) fn error(self, file: &str, line: u64) -> DataFusionError {
        let column = self.column.map(|name| format!(", column \"{name}\"")).unwrap_or_default();
        let message = format!("\"{file}\", line {line}{column}: {}", self.message);
        let error = SourceError::new(SourceErrorKind::Invalid, message);
        match self.hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
        .into_datafusion()
    }
}

/// An error that is about a file as a whole.
pub(super) fn whole(file: &str, message: &str) -> DataFusionError {
    let message = format!("\"{file}\" {message}");
    SourceError::new(SourceErrorKind::Invalid, message).into_datafusion()
}

/// The first bytes of files that are not text, with what they are and how to read them.
const NOT_TEXT: [(&[u8], &str, &str); 5] = [
    (&[0x1f, 0x8b], "compressed with gzip", "gzip"),
    (&[0x28, 0xb5, 0x2f, 0xfd], "compressed with Zstandard", "zstd"),
    (&[0xfd, b'7', b'z', b'X', b'Z'], "compressed with xz", "xz"),
    (b"BZh", "compressed with bzip2", "bzip2"),
    (b"PAR1", "Parquet", "parquet"),
];

/// The error for a byte that is not text.
pub(super) fn no_text(read: &[u8], at: usize) -> Fault {
    if let Some((_, what, name)) = NOT_TEXT.iter().find(|(first, ..)| read.starts_with(first)) {
        let hint = match *name {
            "parquet" => "give the file a name that ends in .parquet".to_owned(),
            name => format!(
                "give the file a name that ends in its compression, such as .csv.gz, or write \
                 CREATE EXTERNAL TABLE ... OPTIONS ('format.compression' '{name}')"
            ),
        };
        return Fault::new(0, format!("the file is not text, but {what}")).hint(hint);
    }
    let byte = read.get(at).copied().unwrap_or_default();
    Fault::new(at, format!("the text is not UTF-8: there is a byte 0x{byte:02x}"))
        .hint("convert the file, for example with iconv -f latin1 -t utf-8")
}

/// The start of the row after `at`, behind the row separator.
pub(super) fn row_at(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| byte.is_ascii_whitespace() || **byte == b',').count()
}

/// A value as it is shown in an error: the beginning of its first line, without characters that do
/// not print.
pub(super) fn shown(value: &str) -> String {
    let line = value.lines().next().unwrap_or_default();
    let mut shown: String = line
        .chars()
        .take(SHOWN_CHARS)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if line.len() < value.trim_end().len() || line.chars().nth(SHOWN_CHARS).is_some() {
        shown.push_str("...");
    }
    shown
}

/// A type as SQL calls it.
pub(crate) fn type_name(kind: &DataType) -> String {
    match kind {
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Int16 => "SMALLINT".to_owned(),
        DataType::Int32 => "INT".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::UInt64 => "BIGINT UNSIGNED".to_owned(),
        DataType::Float32 => "REAL".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Date32 => "DATE".to_owned(),
        DataType::Timestamp(_, None) => "TIMESTAMP".to_owned(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision}, {scale})"),
        DataType::List(_) => "list".to_owned(),
        DataType::Struct(_) => "object".to_owned(),
        other => sql_name(other).to_uppercase(),
    }
}

/// Words that programs write for "no value".
const NULL_WORDS: [&str; 12] =
    ["NA", "N/A", "n/a", "#N/A", "NULL", "Null", "null", "None", "\\N", "-", "?", "."];

/// The hint for a value that may mean null.
pub(super) fn perhaps_null(value: &str) -> Option<String> {
    let word = NULL_WORDS.iter().find(|word| **word == value)?;
    Some(format!(
        "if {word} means null, say so with CREATE EXTERNAL TABLE ... \
         OPTIONS ('format.null_regex' '^({})?$')",
        regex::escape(word)
    ))
}

/// The hint for a value that is not of the type that the first rows have.
pub(super) fn declare(column: &str, keyword: &str) -> String {
    format!(
        "the first rows decided the type: declare it instead with CREATE EXTERNAL TABLE t ({column} VARCHAR, ...) \
         STORED AS {keyword} LOCATION '...', or let more rows decide with \
         OPTIONS ('format.schema_infer_max_rec' '1000000')"
    )
}
