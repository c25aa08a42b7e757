//! The writer of a shard file: buffers the rows of each partition of a task until they fill a
//! block, and writes the blocks.

use std::fmt;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use arrow::array::{Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;

use super::encode::{BLOCK_BYTES_MAX, END_OF_STREAM, Encoder};
use super::queue::{Queue, is_block};
use super::window::{WINDOW_ROWS, Window};
use super::{Block, Error, Index, Result, compact, written};

/// Writes the file of one task. Removes the file if it is dropped before [`finish`](Self::finish).
/// After an error, all further calls fail.
pub(crate) struct ShardWriter {
    path: PathBuf,
    file: File,
    offset: u64,
    schema: SchemaRef,
    encoder: Encoder,
    window: Window,
    queues: Vec<Queue>,
    index: Index,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Rows may be lost, so the file cannot be finished.
    Failed,
    Finished,
}

impl ShardWriter {
    /// Creates a file, which must not exist yet.
    pub(crate) fn create(path: &Path, schema: SchemaRef, partitions: usize) -> Result<Self> {
        let failed = |cause| Error::Write { path: path.to_owned(), cause };
        let file = File::options().write(true).create_new(true).open(path).map_err(failed)?;
        Self::over(file, path.to_owned(), schema, partitions, BLOCK_BYTES_MAX)
    }

    /// Writes to `file`, which is at `path`.
    pub(super) fn over(
        file: File,
        path: PathBuf,
        schema: SchemaRef,
        partitions: usize,
        bytes_max: usize,
    ) -> Result<Self> {
        let mut writer = Self {
            path,
            file,
            offset: 0,
            encoder: Encoder::new(bytes_max)?,
            schema,
            window: Window::default(),
            queues: std::iter::repeat_with(Queue::default).take(partitions).collect(),
            index: Index::new(partitions),
            state: State::Open,
        };
        let bytes = writer.encoder.schema(&writer.schema)?;
        writer.offset = write_at(&writer.file, bytes, 0, &writer.path)?;
        Ok(writer)
    }

    /// Adds all rows to one partition. A large batch is not copied.
    pub(crate) fn append(&mut self, partition: usize, batch: RecordBatch) -> Result<()> {
        self.attempt(|writer| {
            writer.check_partition(partition)?;
            let batch = writer.conformed(batch)?;
            writer.settle()?;
            writer.push(partition, batch)
        })
    }

    /// Adds row i to the partition `ids[i]`.
    pub(crate) fn scatter(&mut self, ids: &[u32], batch: &RecordBatch) -> Result<()> {
        self.attempt(|writer| {
            let batch = writer.conformed(batch.clone())?;
            if ids.len() != batch.num_rows() {
                let (n, rows) = (ids.len(), batch.num_rows());
                return Err(Error::Rows(format!("{n} partition numbers for {rows} rows")));
            }
            if let Some(id) = ids.iter().max() {
                writer.check_partition(*id as usize)?;
            }
            for (i, ids) in ids.chunks(WINDOW_ROWS).enumerate() {
                let batch = batch.slice(i * WINDOW_ROWS, ids.len());
                if writer.window.would_overflow(&batch) {
                    writer.settle()?;
                }
                writer.window.push(ids, batch)?;
                if writer.window.is_full() {
                    writer.settle()?;
                }
            }
            Ok(())
        })
    }

    /// The bytes that are held in memory. The caller accounts for them, and calls
    /// [`flush_largest`](Self::flush_largest) until they fit into its memory.
    pub(crate) fn buffered_bytes(&self) -> usize {
        self.window.held() + self.queues.iter().map(Queue::held).sum::<usize>()
    }

    /// Writes the rows of the partition that holds the most memory, even if they do not fill a
    /// block.
    pub(crate) fn flush_largest(&mut self) -> Result<()> {
        self.attempt(|writer| {
            // Dealing only a few rows is slow, and frees nothing unless it fills queues.
            if writer.window.held() > writer.buffered_bytes() / 2 {
                writer.settle()?;
            }
            let partitions = 0..writer.queues.len();
            match partitions.max_by_key(|partition| writer.queues[*partition].held()) {
                Some(largest) => writer.flush(largest),
                None => Ok(()),
            }
        })
    }

    /// Writes the remaining rows and the end of the stream. Does not sync the file: it is lost with
    /// its machine in any case.
    pub(crate) fn finish(mut self) -> Result<Index> {
        if self.state == State::Failed {
            return Err(Error::Incomplete { path: self.path.clone() });
        }
        self.settle()?;
        for partition in 0..self.queues.len() {
            self.flush(partition)?;
        }
        write_at(&self.file, &END_OF_STREAM, self.offset, &self.path)?;
        self.state = State::Finished;
        Ok(std::mem::take(&mut self.index))
    }

    fn attempt(&mut self, work: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        if self.state == State::Failed {
            return Err(Error::Incomplete { path: self.path.clone() });
        }
        work(self).inspect_err(|_| self.state = State::Failed)
    }

    fn check_partition(&self, partition: usize) -> Result<()> {
        let n = self.queues.len();
        let error = || Error::Rows(format!("no partition {partition}: the shard file has {n}"));
        (partition < n).then_some(()).ok_or_else(error)
    }

    /// The batch with the schema of the file. Its own schema may have other names and metadata.
    fn conformed(&self, batch: RecordBatch) -> Result<RecordBatch> {
        let (_, columns, rows) = batch.into_parts();
        let fields = self.schema.fields();
        if fields.len() != columns.len() {
            let (n, expected) = (columns.len(), fields.len());
            return Err(Error::Rows(format!("{n} columns for a shard file of {expected}")));
        }
        for (field, column) in fields.iter().zip(&columns) {
            let (name, expected, found) = (field.name(), field.data_type(), column.data_type());
            if found != expected {
                let text =
                    format!("column \"{name}\" is {found}, but {expected} in its shard file");
                return Err(Error::Rows(text));
            }
            if !field.is_nullable() && column.logical_null_count() > 0 {
                let text =
                    format!("column \"{name}\" has nulls, but is not nullable in its shard file");
                return Err(Error::Rows(text));
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let schema = SchemaRef::clone(&self.schema);
        Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
    }

    /// Deals the rows in the window to the queues.
    fn settle(&mut self) -> Result<()> {
        for (partition, batch) in self.window.deal(&self.schema, self.queues.len())? {
            self.push(partition, batch)?;
        }
        Ok(())
    }

    /// Adds rows to a queue, in pieces of at most one block, and writes each block as it is filled.
    fn push(&mut self, partition: usize, batch: RecordBatch) -> Result<()> {
        // A stack halves a batch of any size without recursion.
        let mut pieces = vec![batch];
        while let Some(piece) = pieces.pop() {
            let (rows, bytes) = (piece.num_rows(), written::of_batch(&piece));
            let large = is_block(bytes / 2, rows / 2);
            if large && rows > 1 {
                pieces.push(piece.slice(rows / 2, rows - rows / 2));
                pieces.push(piece.slice(0, rows / 2));
            } else if rows > 0 {
                if large {
                    // A large row together with others might overflow the offsets of an array.
                    self.flush(partition)?;
                }
                self.queues[partition].push(piece, bytes, &self.schema)?;
                if self.queues[partition].is_full() {
                    self.flush(partition)?;
                }
            }
        }
        Ok(())
    }

    /// Writes all rows of a queue.
    fn flush(&mut self, partition: usize) -> Result<()> {
        for batch in compact::joined(&self.schema, self.queues[partition].take())? {
            let bytes = self.encoder.block(&batch)?;
            let block = Block {
                offset: self.offset,
                bytes: bytes.len() as u32,
                rows: batch.num_rows() as u32,
                crc: crc32fast::hash(bytes),
            };
            self.offset = write_at(&self.file, bytes, self.offset, &self.path)?;
            self.index.push(partition, block);
        }
        Ok(())
    }
}

impl fmt::Debug for ShardWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the rows.
        let (path, state) = (&self.path, &self.state);
        f.debug_struct("ShardWriter")
            .field("path", path)
            .field("state", state)
            .finish_non_exhaustive()
    }
}

impl Drop for ShardWriter {
    fn drop(&mut self) {
        if self.state != State::Finished {
            // An error cannot be reported here. The file is then removed with its folder.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Writes a whole block, and returns the offset of the next. Unbuffered: a buffer would be smaller
/// than most blocks.
fn write_at(file: &File, bytes: &[u8], offset: u64, path: &Path) -> Result<u64> {
    let failed = |cause| Error::Write { path: path.to_owned(), cause };
    file.write_all_at(bytes, offset).map_err(failed)?;
    Ok(offset + bytes.len() as u64)
}
