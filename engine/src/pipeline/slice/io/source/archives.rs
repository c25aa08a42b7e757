//! The files in tar archives. A task reads its archives from front to back: one part of it waits
//! for chunks of the archive, the other, on a thread of its own, takes entries out of them.

use std::cell::RefCell;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::Result as PlanResult;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use futures::StreamExt;
use tar::{Archive, Entry, EntryType};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::error::{Error, Result};
use crate::pipeline::slice::io::source::shares::{self, Part};
use crate::pipeline::slice::tree::node::{Op, Resolving, Source, TaskCx};
use crate::pipeline::slice::tree::typed;
use crate::pipeline::slice::{Paths, Slice};
use crate::row::Row;
use bigslice_files::{Content, StoredFile};

/// Batches that a task may be ahead of its reader.
const BATCHES_AHEAD_MAX: usize = 2;

/// Chunks of an archive that are read ahead.
const CHUNKS_AHEAD_MAX: usize = 4;

/// Bytes of entries in a batch, about.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Bytes of an entry, at most: a task holds it as a whole, and twice while it makes a row of it.
const ENTRY_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Bytes of all headers of an entry, at most. They have names and times; what has more is no
/// archive, or wants to fill our memory.
const HEADER_BYTES_MAX: u64 = 1024 * 1024;

/// Parts of names that archives have, which a compression may follow or replace.
const ENDINGS: [&str; 12] = [
    ".tar",
    ".tar.gz",
    ".tgz",
    ".tar.zst",
    ".tzst",
    ".tar.bz2",
    ".tbz2",
    ".tbz",
    ".tar.xz",
    ".txz",
    ".tar.gzip",
    ".tar.zstd",
];

/// A file in an archive.
#[derive(Debug, Clone, PartialEq, Eq, Row)]
pub struct TarEntry {
    /// The archive that it is in.
    pub archive: String,
    /// Its path in the archive; bytes that are not UTF-8 are replaced by `�`.
    pub path: String,
    /// What is in it.
    pub bytes: Bytes,
}

impl Slice<TarEntry> {
    /// The files in tar archives: paths, folders, patterns, `s3://...`, `https://...`, as for
    /// [`read`](Slice::read); of a folder or pattern those whose names say that they are archives, if
    /// there are any. Archives whose names end in `.gz`, `.zst`, `.bz2` or `.xz`, or `.tgz` and the
    /// like, are decompressed.
    ///
    /// There is a shard for each archive; if there are more than 4096, several archives in each.
    /// Entries are in the order that they have in their archive. Only files are rows: folders and
    /// links are left out. A task holds about one entry at a time.
    ///
    /// An entry of more than 256 MiB is an error that names the archive, and so is an archive that
    /// is damaged, changes meanwhile or has no end, as one that was cut short.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// #[bigslice::func]
    /// fn sizes(archives: Vec<String>) -> Result<Slice<(String, u64)>> {
    ///     Ok(Slice::tar(archives)?.map(|entry| (entry.path.to_owned(), entry.bytes.len() as u64)))
    /// }
    ///
    /// let folder = tempfile::tempdir().unwrap();
    /// let path = folder.path().join("texts.tar");
    /// let mut archive = tar::Builder::new(std::fs::File::create(&path).unwrap());
    /// let mut header = tar::Header::new_gnu();
    /// header.set_size(5);
    /// archive.append_data(&mut header, "a.txt", "hello".as_bytes()).unwrap();
    /// archive.finish().unwrap();
    ///
    /// let session = Session::builder().build().await?;
    /// let sizes = session.run(sizes(vec![path.to_str().unwrap().to_owned()])).await?;
    /// assert_eq!(sizes.collect().await?, [("a.txt".to_owned(), 5)]);
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// When no place is given.
    #[track_caller]
    pub fn tar(paths: impl Paths) -> Result<Self> {
        let (place, paths) = (Location::caller(), paths.into_paths());
        if paths.is_empty() {
            return Err(Error::query(format!("tar at {place}: there is no path to read")));
        }
        let archives = Archives { place, paths, schema: typed::schema::<TarEntry>() };
        Ok(Self::new("tar", place, Op::Source(Arc::new(archives))))
    }
}

struct Archives {
    place: &'static Location<'static>,
    paths: Vec<String>,
    schema: SchemaRef,
}

#[async_trait]
impl Source for Archives {
    async fn shards(&self, resolving: &Resolving) -> Result<Vec<Arc<[u8]>>> {
        let named = |name: &str| {
            let name = name.to_ascii_lowercase();
            ENDINGS.iter().any(|ending| name.ends_with(ending))
        };
        let files = shares::find(&self.paths, resolving, named).await?;
        shares::encoded(&shares::whole(files))
    }

    fn open(&self, spec: &[u8], cx: &TaskCx) -> PlanResult<SendableRecordBatchStream> {
        let parts: Vec<Part> = crate::base::wire::decode(spec)?;
        let mut stream =
            RecordBatchReceiverStream::builder(Arc::clone(&self.schema), BATCHES_AHEAD_MAX);
        let (place, schema, out) = (self.place, Arc::clone(&self.schema), stream.tx());
        let (rows_max, runtime) =
            (cx.context.session_config().batch_size().max(1), cx.context.runtime_env());
        stream.spawn(async move {
            for part in parts {
                let (schema, out) = (Arc::clone(&schema), out.clone());
                let batches = Batches {
                    schema,
                    builder: TarEntry::builder(0),
                    rows: 0,
                    bytes: 0,
                    rows_max,
                    out,
                };
                let read = read(part.file, &runtime, batches).await;
                // In words that travel.
                let read = read.map_err(|e| Error::from(e).within(&format!("tar at {place}")))?;
                if read.is_break() {
                    break;
                }
            }
            Ok(())
        });
        Ok(stream.build())
    }
}

/// Makes rows of an archive; a break once the reader is gone.
async fn read(
    file: StoredFile,
    runtime: &RuntimeEnv,
    batches: Batches,
) -> PlanResult<ControlFlow<()>> {
    let content = file.read_all(runtime).await?;
    let (sender, chunks) = channel(CHUNKS_AHEAD_MAX);
    let unpacked = tokio::task::spawn_blocking(move || unpack(&file, chunks, batches));
    pump(content, sender).await;
    unpacked.await.map_err(|e| DataFusionError::ExecutionJoin(Box::new(e)))?
}

/// What the thread that unpacks is sent. The channel closes without an end when the task is given
/// up.
enum Next {
    Chunk(Bytes),
    Failed(DataFusionError),
    End,
}

async fn pump(mut content: Content, sender: Sender<Next>) {
    while let Some(chunk) = content.next().await {
        let (next, failed) = match chunk {
            Ok(chunk) => (Next::Chunk(chunk), false),
            Err(error) => (Next::Failed(error), true),
        };
        if sender.send(next).await.is_err() || failed {
            return;
        }
    }
    // The task that unpacks may have stopped.
    drop(sender.send(Next::End).await);
}

/// Takes entries out of chunks.
fn unpack(
    file: &StoredFile,
    chunks: Receiver<Next>,
    mut batches: Batches,
) -> PlanResult<ControlFlow<()>> {
    let state = Rc::new(RefCell::new(State::default()));
    let chunks = Chunks { chunks, now: Bytes::new(), state: Rc::clone(&state) };
    let mut archive = Archive::new(chunks);
    let name = file.name.as_str();
    let done = entries(name, &mut archive, &state, &mut batches);
    let done = done.and_then(|done| {
        if done.is_continue() {
            // What comes after the end is nothing, but ends the compression, with a checksum.
            io::copy(&mut archive.into_inner(), &mut io::sink())?;
        }
        Ok(done)
    });
    let state = state.take();
    match (done, state.failed) {
        (_, Some(error)) => Err(error),
        (Ok(done), None) => Ok(done),
        (Err(_), None) if state.stopped => Ok(ControlFlow::Break(())),
        (Err(error), None) => {
            let message = format!("the archive \"{name}\" cannot be read: {error}");
            let hint = "it may be damaged or cut short, or be no tar archive";
            Err(Error::unreadable(message).with_hint(hint).into())
        }
    }
}

fn entries(
    name: &str,
    archive: &mut Archive<Chunks>,
    state: &RefCell<State>,
    batches: &mut Batches,
) -> io::Result<ControlFlow<()>> {
    let mut entries = archive.entries()?;
    loop {
        state.borrow_mut().header_left = Some(HEADER_BYTES_MAX);
        let Some(entry) = entries.next() else { break };
        state.borrow_mut().header_left = None;
        let Some(row) = row(name, entry?)? else { continue };
        if batches.push(&row)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    state.borrow_mut().header_left = None;
    // An archive ends in a block of zeros, which is not read on from.
    if state.borrow().ended {
        return Err(io::Error::other("it has no end"));
    }
    batches.end()
}

/// The row of an entry, if it has one.
fn row(archive: &str, mut entry: Entry<'_, Chunks>) -> io::Result<Option<TarEntry>> {
    let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
    let (kind, size) = (entry.header().entry_type(), entry.size());
    // Before there were types, folders were recognized by their names.
    let is_file = matches!(kind, EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse)
        && !path.ends_with('/');
    let cut = |read: u64| {
        let message = format!("it ends after {read} of the {size} bytes of \"{path}\"");
        if read == size { Ok(()) } else { Err(io::Error::other(message)) }
    };
    if !is_file {
        cut(io::copy(&mut entry, &mut io::sink())?)?;
        return Ok(None);
    }
    if size > ENTRY_BYTES_MAX {
        return Err(io::Error::other(format!(
            "\"{path}\" in it has {size} bytes, more than the {ENTRY_BYTES_MAX} of a row"
        )));
    }
    if let Some(extensions) = entry.pax_extensions()? {
        for extension in extensions {
            if extension?.key_bytes().starts_with(b"GNU.sparse.") {
                return Err(io::Error::other(format!(
                    "\"{path}\" in it is stored without its zeros in a way that is not known here"
                )));
            }
        }
    }
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes)?;
    cut(bytes.len() as u64)?;
    Ok(Some(TarEntry { archive: archive.to_owned(), path, bytes: bytes.into() }))
}

/// What is known of an archive beside its entries.
#[derive(Default)]
struct State {
    /// The archive could not be read on.
    failed: Option<DataFusionError>,
    /// Its end was read.
    ended: bool,
    /// The reader is gone.
    stopped: bool,
    /// Bytes that headers may still have, while they are read.
    header_left: Option<u64>,
}

/// Chunks as something to read from.
struct Chunks {
    chunks: Receiver<Next>,
    now: Bytes,
    state: Rc<RefCell<State>>,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.state.borrow_mut();
        while self.now.is_empty() && !state.ended {
            match self.chunks.blocking_recv() {
                Some(Next::Chunk(chunk)) => self.now = chunk,
                Some(Next::End) => state.ended = true,
                Some(Next::Failed(error)) => {
                    state.failed = Some(error);
                    return Err(io::Error::other("the archive cannot be read"));
                }
                None => {
                    state.stopped = true;
                    return Err(io::Error::other("the archive need not be read"));
                }
            }
        }
        let bytes = buffer.len().min(self.now.len());
        if let Some(left) = &mut state.header_left {
            *left = left.checked_sub(bytes as u64).ok_or_else(|| {
                io::Error::other(format!(
                    "the headers of an entry are longer than {HEADER_BYTES_MAX} bytes"
                ))
            })?;
        }
        buffer[..bytes].copy_from_slice(&self.now.split_to(bytes));
        Ok(bytes)
    }
}

/// Entries on their way to the reader.
struct Batches {
    schema: SchemaRef,
    builder: <TarEntry as Row>::Builder,
    rows: usize,
    bytes: usize,
    rows_max: usize,
    out: Sender<PlanResult<RecordBatch>>,
}

impl Batches {
    fn push(&mut self, entry: &TarEntry) -> io::Result<ControlFlow<()>> {
        TarEntry::append(&mut self.builder, Row::view(entry));
        self.rows += 1;
        self.bytes += entry.bytes.len();
        let full = self.rows == self.rows_max || self.bytes >= BATCH_BYTES;
        if full { self.end() } else { Ok(ControlFlow::Continue(())) }
    }

    fn end(&mut self) -> io::Result<ControlFlow<()>> {
        if self.rows == 0 {
            return Ok(ControlFlow::Continue(()));
        }
        (self.rows, self.bytes) = (0, 0);
        let batch = typed::batch::<TarEntry>(&self.schema, &mut self.builder);
        let batch = batch.map_err(io::Error::other)?;
        Ok(match self.out.blocking_send(Ok(batch)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        })
    }
}
