//! A Parquet file whose row groups are made by several threads at the same time.
//!
//! [`generate`](super::generate()) asks it for a row group's column writers and gives it the
//! encoded columns back, in any order; the file has them in the right one. It is written under a
//! temporary name and gets its own with the last row group.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use datafusion::error::DataFusionError;
use parking_lot::Mutex;
use parquet::{
    arrow::{
        ArrowWriter,
        arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory},
    },
    basic::Compression,
    file::{
        properties::{WriterProperties, WriterPropertiesBuilder},
        writer::SerializedFileWriter,
    },
    schema::types::ColumnPath,
};
use tempfile::NamedTempFile;

use crate::Error;
use crate::Result;

use super::{part::Part, table::TableName};

/// A file to be written: a row group for each of its parts.
pub(super) struct ParquetFile {
    pub(super) table: TableName,
    pub(super) parts: Vec<Part>,
    path: PathBuf,
    /// Opened by the first row group, `None` before it and after the last.
    open: Mutex<Option<Open>>,
}

struct Open {
    writer: SerializedFileWriter<NamedTempFile>,
    row_groups: ArrowRowGroupWriterFactory,
    /// The row group to be written next.
    next: usize,
    /// Those that came before their turn, with their rows.
    waiting: BTreeMap<usize, (u64, Vec<ArrowColumnChunk>)>,
}

/// What a row group added to its file and to those that had waited for it.
#[derive(Default)]
pub(super) struct Written {
    pub(super) groups: usize,
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

impl ParquetFile {
    pub(super) fn new(table: TableName, path: PathBuf, parts: Vec<Part>) -> Self {
        Self { table, parts, path, open: Mutex::new(None) }
    }

    /// Writers for the columns of a row group, which encode into memory.
    pub(super) fn column_writers(&self, group: usize) -> Result<Vec<ArrowColumnWriter>> {
        let mut open = self.open.lock();
        if open.is_none() {
            *open = Some(self.create()?);
        }
        let open = open.as_ref().ok_or_else(closed)?;
        open.row_groups.create_column_writers(group).map_err(unexpected)
    }

    /// Takes a row group, and writes it and those that waited for it if it is its turn. After the
    /// last one the file is complete.
    pub(super) fn add(
        &self,
        group: usize,
        rows: u64,
        columns: Vec<ArrowColumnChunk>,
    ) -> Result<Written> {
        let mut slot = self.open.lock();
        let open = slot.as_mut().ok_or_else(closed)?;
        open.waiting.insert(group, (rows, columns));
        let mut written = Written::default();
        while let Some((rows, columns)) = open.waiting.remove(&open.next) {
            let mut row_group = open.writer.next_row_group().map_err(unexpected)?;
            for column in columns {
                column.append_to_row_group(&mut row_group).map_err(unexpected)?;
            }
            row_group.close().map_err(unexpected)?;
            open.next += 1;
            written.groups += 1;
            written.rows += rows;
        }
        if open.next == self.parts.len() {
            let open = slot.take().ok_or_else(closed)?;
            written.bytes = self.complete(open.writer)?;
        }
        Ok(written)
    }

    fn create(&self) -> Result<Open> {
        let folder = self.path.parent().ok_or_else(closed)?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(".part-").suffix(".tmp");
        #[cfg(unix)]
        builder.permissions({
            use std::os::unix::fs::PermissionsExt;
            // What any program gives a file, less the user's mask: a temporary file would be
            // readable by its owner alone.
            fs::Permissions::from_mode(0o666)
        });
        let file = builder
            .tempfile_in(folder)
            .map_err(|error| failed("create a file in", folder, &error))?;
        let writer_properties = properties();
        let writer = ArrowWriter::try_new(file, self.table.schema(), Some(writer_properties))
            .map_err(unexpected)?;
        let (writer, row_groups) = writer.into_serialized_writer().map_err(unexpected)?;
        Ok(Open { writer, row_groups, next: 0, waiting: BTreeMap::new() })
    }

    /// Writes the footer and gives the file its name. Returns its size.
    fn complete(&self, writer: SerializedFileWriter<NamedTempFile>) -> Result<u64> {
        let file = writer.into_inner().map_err(unexpected)?;
        let file =
            file.persist(&self.path).map_err(|error| failed("write", &self.path, &error.error))?;
        let metadata = file.metadata().map_err(|error| failed("read", &self.path, &error))?;
        Ok(metadata.len())
    }
}

/// Columns whose values hardly repeat within a row group. A dictionary of them is given up
/// half-way, after most of the work of making it.
const UNIQUE_COLUMNS: [&str; 21] = [
    "c_acctbal",
    "c_address",
    "c_comment",
    "c_custkey",
    "c_name",
    "c_phone",
    "l_comment",
    "l_extendedprice",
    "l_partkey",
    "o_comment",
    "o_orderkey",
    "o_totalprice",
    "p_comment",
    "p_name",
    "p_partkey",
    "ps_comment",
    "s_address",
    "s_comment",
    "s_name",
    "s_phone",
    "s_suppkey",
];

/// Snappy: every reader has it, and it takes the least time to write and to read.
fn properties() -> WriterProperties {
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY);
    let without_dictionary = |properties: WriterPropertiesBuilder, column: &str| {
        properties.set_column_dictionary_enabled(ColumnPath::from(column), false)
    };
    UNIQUE_COLUMNS.into_iter().fold(properties, without_dictionary).build()
}

/// An error of the file system with the operation and the path.
pub(super) fn failed(what: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::unreadable(format!("cannot {what} \"{}\": {error}", path.display()))
}

/// An error of the encoder, or of the disk below it.
pub(super) fn unexpected(error: impl Into<DataFusionError>) -> Error {
    error.into().into()
}

fn closed() -> Error {
    Error::internal("a row group was added to a file that is not open")
}
