//! Which format a file has by its name, and DataFusion's reader for it.
//!
//! A new format is a new [`Kind`]. It also needs: a keyword after `STORED AS` (`table/factory.rs`,
//! `table/install.rs`), a schema from its files (`table/schema.rs`), a writer in `sink` and its
//! checks in `table/statement.rs`, if it can be written, and `read_...` for slices (in the engine's
//! `pipeline/slice/io/source/files.rs`). `scan` says whether its files can be split.

use std::sync::Arc;

use datafusion::catalog::Session;
use datafusion::common::parsers::CompressionTypeVariant;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::arrow::ArrowFormat;
use datafusion::datasource::file_format::avro::AvroFormat;
use datafusion::datasource::file_format::csv::CsvFormat;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::datasource::file_format::json::JsonFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;

use crate::address::{query, without_query};

/// The kind of a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    Parquet,
    Csv,
    Tsv,
    Json,
    Arrow,
    Avro,
}

/// A kind of file and how it is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Format {
    /// The kind of the content.
    pub(crate) kind: Kind,
    /// The compression of the whole file.
    pub(crate) compression: CompressionTypeVariant,
}

impl Format {
    /// The format by a file's name: the last extension, before that of a compression.
    /// Of a web address without an extension, the format of a name in its query (`get?file=x.csv`).
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        let in_query = query(name).and_then(|query| {
            query
                .split(['&', '='])
                .find_map(|part| part.contains('.').then(|| Self::of_name(part))?)
        });
        let name = without_query(name).rsplit('/').next()?.to_ascii_lowercase();
        Self::of_path(&name).or(in_query)
    }

    /// Whether a file of this format is one for a table of the other. Tables of tabs are tables of
    /// CSV with a delimiter.
    pub(crate) fn is_read_as(self, table: Self) -> bool {
        let text = |kind| if kind == Kind::Tsv { Kind::Csv } else { kind };
        text(self.kind) == text(table.kind) && self.compression == table.compression
    }

    fn of_path(name: &str) -> Option<Self> {
        let (stem, compression) = split_compression(name);
        let kind = match stem.rsplit_once('.')?.1 {
            "parquet" | "pq" | "parq" => Kind::Parquet,
            "csv" => Kind::Csv,
            "tsv" | "tab" => Kind::Tsv,
            "json" | "jsonl" | "ndjson" => Kind::Json,
            "arrow" | "ipc" | "feather" | "arrows" => Kind::Arrow,
            "avro" => Kind::Avro,
            _ => return None,
        };
        let text = matches!(kind, Kind::Csv | Kind::Tsv | Kind::Json);
        (text || compression == CompressionTypeVariant::UNCOMPRESSED)
            .then_some(Self { kind, compression })
    }

    /// How `STORED AS` calls it.
    pub(crate) fn keyword(self) -> &'static str {
        match self.kind {
            Kind::Parquet => "PARQUET",
            Kind::Csv | Kind::Tsv => "CSV",
            Kind::Json => "JSON",
            Kind::Arrow => "ARROW",
            Kind::Avro => "AVRO",
        }
    }

    /// How an `OPTIONS` list calls the compression.
    pub(crate) fn compression_option(self) -> Option<&'static str> {
        compression_name(self.compression)
    }

    /// DataFusion's reader.
    pub(crate) fn reader(self, session: &dyn Session) -> Arc<dyn FileFormat> {
        let compression = FileCompressionType::from(self.compression);
        let options = session.default_table_options();
        match self.kind {
            Kind::Parquet => Arc::new(ParquetFormat::default().with_options(options.parquet)),
            Kind::Csv | Kind::Tsv => {
                let format = CsvFormat::default()
                    .with_options(options.csv)
                    .with_file_compression_type(compression);
                Arc::new(match self.kind {
                    Kind::Tsv => format.with_delimiter(b'\t'),
                    _ => format,
                })
            }
            Kind::Json => Arc::new(
                JsonFormat::default()
                    .with_options(options.json)
                    .with_file_compression_type(compression),
            ),
            Kind::Arrow => Arc::new(ArrowFormat),
            Kind::Avro => Arc::new(AvroFormat),
        }
    }
}

/// A reader that a user chose with options, with the compression by the name of the files, where
/// the options leave it open.
pub(crate) fn complete(
    reader: Arc<dyn FileFormat>,
    compression: Option<CompressionTypeVariant>,
) -> Arc<dyn FileFormat> {
    if let Some(csv) = reader.downcast_ref::<CsvFormat>() {
        let mut options = csv.options().clone();
        options.compression = compression.unwrap_or(options.compression);
        return Arc::new(CsvFormat::default().with_options(options));
    }
    if let Some(json) = reader.downcast_ref::<JsonFormat>() {
        let mut options = json.options().clone();
        options.compression = compression.unwrap_or(options.compression);
        return Arc::new(JsonFormat::default().with_options(options));
    }
    reader
}

/// The compression that the name of a file ends in.
pub(crate) fn compression_of_name(name: &str) -> CompressionTypeVariant {
    let name = without_query(name).to_ascii_lowercase();
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("tgz") => CompressionTypeVariant::GZIP,
        Some("tzst") => CompressionTypeVariant::ZSTD,
        Some("tbz2" | "tbz") => CompressionTypeVariant::BZIP2,
        Some("txz") => CompressionTypeVariant::XZ,
        _ => split_compression(&name).1,
    }
}

/// How an `OPTIONS` list calls a compression.
pub(crate) fn compression_name(compression: CompressionTypeVariant) -> Option<&'static str> {
    match compression {
        CompressionTypeVariant::GZIP => Some("gzip"),
        CompressionTypeVariant::BZIP2 => Some("bzip2"),
        CompressionTypeVariant::XZ => Some("xz"),
        CompressionTypeVariant::ZSTD => Some("zstd"),
        CompressionTypeVariant::UNCOMPRESSED => None,
    }
}

fn split_compression(name: &str) -> (&str, CompressionTypeVariant) {
    let Some((stem, extension)) = name.rsplit_once('.') else {
        return (name, CompressionTypeVariant::UNCOMPRESSED);
    };
    let compression = match extension {
        "gz" | "gzip" => CompressionTypeVariant::GZIP,
        "bz2" => CompressionTypeVariant::BZIP2,
        "xz" => CompressionTypeVariant::XZ,
        "zst" | "zstd" => CompressionTypeVariant::ZSTD,
        _ => return (name, CompressionTypeVariant::UNCOMPRESSED),
    };
    (stem, compression)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_formats() {
        let of = |name: &str| Format::of_name(name).map(|f| (f.kind, f.compression));
        assert_eq!(of("a/b.PARQUET"), Some((Kind::Parquet, CompressionTypeVariant::UNCOMPRESSED)));
        assert_eq!(of("b.csv.gz"), Some((Kind::Csv, CompressionTypeVariant::GZIP)));
        assert_eq!(of("b.jsonl.zst"), Some((Kind::Json, CompressionTypeVariant::ZSTD)));
        assert_eq!(of("b.tsv.bz2"), Some((Kind::Tsv, CompressionTypeVariant::BZIP2)));
        assert_eq!(of("b.feather"), Some((Kind::Arrow, CompressionTypeVariant::UNCOMPRESSED)));
        assert_eq!(of("b.parquet.gz"), None);
        assert_eq!(of("b.gz"), None);
        assert_eq!(of("csv"), None);
        assert_eq!(of("x.csv/part"), None);
    }
}
