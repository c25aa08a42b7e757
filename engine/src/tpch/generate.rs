//! `bigsql tpch generate`: the eight tables as Parquet files.
//!
//! ```text
//! out/lineitem/part-0.parquet  out/lineitem/part-1.parquet …  out/orders/part-0.parquet …
//! ```
//!
//! A folder a table, however many files, so that `from 'out/lineitem/'` always reads it. Each row
//! group is one [`Part`] of its table; threads generate and encode row groups, the next one in
//! order whenever one is free, and [`ParquetFile`] puts them into its file in order. Thus one
//! file takes all cores too.

use std::{
    fs,
    num::NonZero,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use arrow::array::RecordBatch;
use parking_lot::{Condvar, Mutex};
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, compute_leaves};

use crate::Error;
use crate::Result;

use super::{
    batches::Selection,
    parquet_file::{ParquetFile, Written, failed, unexpected},
    part::{PARTS_MAX, Part, divisible},
    table::{TableName, check_scale},
};

/// The files to generate.
#[derive(Clone, Debug)]
pub struct GenerateOptions {
    /// The scale factor: 1 is about 1 GB as text, 350 MB as Parquet.
    pub scale: f64,
    /// The folder, made if it is not there. A table's folder in it must be absent or empty.
    pub out: PathBuf,
    /// Files for each table but the two tiny ones, which have one.
    pub parts: usize,
}

/// The generated files.
#[derive(Clone, Debug, Default)]
pub struct Generated {
    /// Files written.
    pub files: usize,
    /// Rows in them.
    pub rows: u64,
    /// Bytes of them.
    pub bytes: u64,
}

/// Rows of a row group, about: 10 MB of `lineitem`. Several to a core at scale factor 1, so that
/// parallel readers get even shares, and long enough for dictionaries to pay.
const ROW_GROUP_ROWS: usize = 250_000;

/// Rows that a thread generates before it encodes them.
const BATCH_ROWS: usize = 8 * 1024;

/// Row groups in memory for each thread: the one it makes, and one that waits for those before it.
const ROW_GROUPS_PER_THREAD: usize = 2;

/// Writes the eight tables. Each file gets its name when it is complete; on an error nothing of
/// what was written is left.
pub fn generate(options: &GenerateOptions) -> Result<Generated> {
    generate_until(options, &AtomicBool::new(false))
}

/// As [`generate`], but gives up, with an error and nothing left, soon after `stop` becomes true.
pub fn generate_until(options: &GenerateOptions, stop: &AtomicBool) -> Result<Generated> {
    check_scale(options.scale).map_err(unexpected)?;
    if options.parts == 0 || options.parts > PARTS_MAX as usize {
        return Err(Error::config(format!("the parts must be between 1 and {PARTS_MAX}")));
    }
    let mut folders = Folders::create(&options.out)?;
    let files: Vec<_> = TableName::ALL
        .into_iter()
        // The largest first: the small ones then fill the cores while the last of it is made.
        .rev()
        .flat_map(|table| table_files(table, options))
        .collect();
    let generated = run(&files, options.scale, stop)?;
    folders.keep = true;
    Ok(generated)
}

fn table_files(table: TableName, options: &GenerateOptions) -> Vec<ParquetFile> {
    let folder = options.out.join(table.as_str());
    let keys = table.key_count(options.scale);
    let files = if divisible(table) { options.parts.min(keys.max(1)) } else { 1 };
    let rows = keys * table.rows_per_key() / files;
    let groups = if divisible(table) { rows.div_ceil(ROW_GROUP_ROWS).max(1) } else { 1 };
    let count = u32::try_from(files * groups).unwrap_or(PARTS_MAX);
    let file = |i: usize| {
        let first = u32::try_from(i * groups).unwrap_or(PARTS_MAX);
        let last = u32::try_from((i + 1) * groups).unwrap_or(PARTS_MAX);
        let parts = (first..last).map(|n| Part { number: n + 1, count }).collect();
        ParquetFile::new(table, folder.join(format!("part-{i}.parquet")), parts)
    };
    (0..files).map(file).collect()
}

/// Makes all row groups of all files with a thread for each core.
fn run(files: &[ParquetFile], scale: f64, stop: &AtomicBool) -> Result<Generated> {
    let groups: Vec<_> =
        files.iter().flat_map(|file| (0..file.parts.len()).map(move |i| (file, i))).collect();
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(groups.len());
    let queue = Queue {
        state: Mutex::new(QueueState::default()),
        changed: Condvar::new(),
        waiting_max: threads * ROW_GROUPS_PER_THREAD,
        stop,
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(next) = queue.next() {
                    let Some(&(file, group)) = groups.get(next) else { break };
                    queue.done(row_group(file, group, scale, stop));
                }
            });
        }
    });
    let state = queue.state.into_inner();
    match state.error {
        Some(error) => Err(error),
        None if stop.load(Ordering::Relaxed) => Err(stopped()),
        None => Ok(Generated { files: files.len(), rows: state.rows, bytes: state.bytes }),
    }
}

/// The order in which threads take row groups.
struct Queue<'a> {
    state: Mutex<QueueState>,
    changed: Condvar,
    waiting_max: usize,
    stop: &'a AtomicBool,
}

#[derive(Default)]
struct QueueState {
    taken: usize,
    written: usize,
    rows: u64,
    bytes: u64,
    error: Option<Error>,
}

impl Queue<'_> {
    /// The next row group to make, as soon as not too many wait to be written. That always comes:
    /// what they wait for has been taken, and a thread that has taken one does not wait here.
    fn next(&self) -> Option<usize> {
        let mut state = self.state.lock();
        while state.taken - state.written >= self.waiting_max && state.error.is_none() {
            self.changed.wait(&mut state);
        }
        if state.error.is_some() || self.stop.load(Ordering::Relaxed) {
            return None;
        }
        state.taken += 1;
        Some(state.taken - 1)
    }

    fn done(&self, result: Result<Written>) {
        let mut state = self.state.lock();
        match result {
            Ok(written) => {
                state.written += written.groups;
                state.rows += written.rows;
                state.bytes += written.bytes;
            }
            // The first error is the cause; those after it may be its consequences.
            Err(error) => state.error = state.error.take().or(Some(error)),
        }
        self.changed.notify_all();
    }
}

/// Generates, encodes and hands in one row group.
fn row_group(file: &ParquetFile, group: usize, scale: f64, stop: &AtomicBool) -> Result<Written> {
    let schema = file.table.schema();
    let columns = (0..schema.fields().len()).collect();
    let part = file.parts[group];
    let selection =
        Selection { table: file.table, scale, part, schema, columns, batch_rows: BATCH_ROWS };
    let mut writers = file.column_writers(group)?;
    let mut rows = 0;
    for batch in selection.batches() {
        if stop.load(Ordering::Relaxed) {
            return Err(stopped());
        }
        let batch = batch.map_err(unexpected)?;
        rows += batch.num_rows() as u64;
        encode(&batch, &mut writers)?;
    }
    let chunks: Vec<ArrowColumnChunk> = writers
        .into_iter()
        .map(|writer| writer.close().map_err(unexpected))
        .collect::<Result<_>>()?;
    file.add(group, rows, chunks)
}

fn encode(batch: &RecordBatch, writers: &mut [ArrowColumnWriter]) -> Result<()> {
    let schema = batch.schema();
    // No table has nested columns, so that each column has one leaf.
    for ((field, column), writer) in schema.fields().iter().zip(batch.columns()).zip(writers) {
        for leaf in compute_leaves(field, column).map_err(unexpected)? {
            writer.write(&leaf).map_err(unexpected)?;
        }
    }
    Ok(())
}

/// The folders of the tables: those that were made here go again unless they are to be kept.
struct Folders {
    made: Vec<PathBuf>,
    tables: Vec<PathBuf>,
    keep: bool,
}

impl Folders {
    fn create(out: &Path) -> Result<Self> {
        let mut folders = Self { made: vec![], tables: vec![], keep: false };
        folders.make(out)?;
        for table in TableName::ALL {
            let folder = out.join(table.as_str());
            folders.make(&folder)?;
            let mut entries =
                fs::read_dir(&folder).map_err(|error| failed("list", &folder, &error))?;
            if entries.next().is_some() {
                let message = format!("the folder \"{}\" is not empty", folder.display());
                let hint = "name another folder, or remove what is in this one".to_owned();
                return Err(Error::unreadable(message).with_hint(hint));
            }
            folders.tables.push(folder);
        }
        Ok(folders)
    }

    fn make(&mut self, folder: &Path) -> Result<()> {
        if !folder.is_dir() {
            fs::create_dir_all(folder).map_err(|error| failed("create", folder, &error))?;
            self.made.push(folder.to_owned());
        }
        Ok(())
    }
}

impl Drop for Folders {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        // These folders were empty: what is in them now was written here. Nothing can be done
        // about what cannot be removed, and the error that led here is the one to report.
        for folder in &self.tables {
            let Ok(entries) = fs::read_dir(folder) else { continue };
            for entry in entries.flatten() {
                let _ = fs::remove_file(entry.path());
            }
        }
        for folder in self.made.iter().rev() {
            let _ = fs::remove_dir(folder);
        }
    }
}

fn stopped() -> Error {
    Error::query("the generation was stopped")
}
