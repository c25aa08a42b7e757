//! The options for writing the files of a slice.

use std::fmt;
use std::panic::Location;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::error::{DataFusionError, Result};

/// What to do when the folder to write to has files already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Existing {
    /// It is an error, before anything is computed: old and new rows would silently become one
    /// table.
    #[default]
    Refuse,
    /// Adds the new files to the old ones, under unique names.
    Append,
    /// The files right in the folder are removed once the new ones are there; it may have no
    /// folders.
    Overwrite,
}

/// How text files are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// gzip; names end in `.gz`.
    Gzip,
    /// Zstandard; names end in `.zst`.
    Zstd,
}

/// How files are written.
///
/// ```
/// # use bigslice_files::sink as bigslice;
/// use bigslice::{Compression, Existing, WriteOptions};
///
/// let options = WriteOptions::new().existing(Existing::Append).compression(Compression::Gzip);
/// # drop(options);
/// ```
#[derive(Debug, Clone)]
pub struct WriteOptions {
    pub(super) existing: Existing,
    pub(super) compression: Option<Compression>,
    pub(super) header: bool,
    pub(super) delimiter: u8,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self { existing: Existing::Refuse, compression: None, header: true, delimiter: b',' }
    }
}

impl WriteOptions {
    /// A folder that must be empty or not there; no compression of text; CSV with a line of names
    /// and commas. Parquet is compressed within the file: by Zstandard, at its fastest.
    pub fn new() -> Self {
        Self::default()
    }

    /// What to do when the folder has files already.
    pub fn existing(self, existing: Existing) -> Self {
        Self { existing, ..self }
    }

    /// Compresses text files as a whole. A Parquet file is compressed within: there it decides how.
    pub fn compression(self, compression: Compression) -> Self {
        Self { compression: Some(compression), ..self }
    }

    /// Whether each CSV file begins with a line of names, as readers of CSV expect
    /// it unless an option says otherwise.
    pub fn header(self, header: bool) -> Self {
        Self { header, ..self }
    }

    /// The delimiter of CSV values. With tabs, file names end in `.tsv`.
    pub fn delimiter(self, delimiter: u8) -> Self {
        Self { delimiter, ..self }
    }
}

/// The format of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Parquet, compressed by Zstandard.
    Parquet,
    /// Delimited text.
    Csv,
    /// One JSON object per line.
    Json,
}

/// A sink of a slice, as the verb was called.
#[derive(Debug)]
pub struct SinkSpec {
    /// The name of the verb.
    pub verb: &'static str,
    /// Where it was called.
    pub place: &'static Location<'static>,
    /// The folder to write to.
    pub to: String,
    /// The format of the files.
    pub encoding: Encoding,
    /// The options that the user set.
    pub options: WriteOptions,
    /// The schema of the rows.
    pub schema: SchemaRef,
}

/// The verb and where it was called.
impl fmt::Display for SinkSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.verb, self.place)
    }
}

impl SinkSpec {
    /// The end of the files' names.
    pub(super) fn ending(&self) -> String {
        let kind = match self.encoding {
            Encoding::Parquet => return ".parquet".to_owned(),
            Encoding::Csv if self.options.delimiter == b'\t' => ".tsv",
            Encoding::Csv => ".csv",
            Encoding::Json => ".json",
        };
        let compressed = match self.options.compression {
            None => "",
            Some(Compression::Gzip) => ".gz",
            Some(Compression::Zstd) => ".zst",
        };
        format!("{kind}{compressed}")
    }

    /// That the files can hold the rows.
    pub(super) fn check(&self) -> Result<()> {
        let nested = self.schema.fields().iter().find(|field| field.data_type().is_nested());
        match (self.encoding, nested) {
            (Encoding::Csv, Some(field)) => Err(self.error(format!(
                "the column \"{}\" is {}, which CSV cannot hold",
                field.name(),
                field.data_type()
            ))),
            _ => Ok(()),
        }
    }

    /// The error for an invalid option.
    pub(super) fn error(&self, message: impl fmt::Display) -> DataFusionError {
        DataFusionError::Execution(format!("{self}: {message}"))
    }
}
