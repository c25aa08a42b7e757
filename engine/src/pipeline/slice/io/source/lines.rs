//! The lines of text files. A file is divided anywhere; a line belongs to the part that its first
//! byte is in, whose task reads on until the line ends.

use std::ops::ControlFlow;
use std::panic::Location;
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
use futures::TryStreamExt;
use tokio::sync::mpsc::Sender;

use crate::error::{Error, Result};
use crate::pipeline::slice::io::source::cutter::{Cutter, TooLong};
use crate::pipeline::slice::io::source::shares::{self, Part};
use crate::pipeline::slice::tree::node::{Op, Resolving, Source, TaskCx};
use crate::pipeline::slice::tree::typed;
use crate::pipeline::slice::{Paths, Slice};
use crate::row::Row;
use bigslice_files::Content;

/// Batches that a task may be ahead of its reader.
const BATCHES_AHEAD_MAX: usize = 2;

/// Bytes of lines in a batch, about, however few lines that are.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Bytes that are read at a time to find the end of the last line of a part: most lines are
/// shorter, and a request costs about as much as these.
const BEYOND_BYTES: u64 = 64 * 1024;

/// Bytes of a line that may be allowed, at most: what a column can hold in one value, with room.
const LINE_BYTES_LIMIT: usize = 1024 * 1024 * 1024;

/// How [`Slice::lines_with`] reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinesOptions {
    /// Bytes of files that one shard has, at most, unless there would be more than 4096 shards
    /// then. Without a limit of your own it is 128 MiB, a few seconds of work.
    pub shard_bytes: u64,
    /// Bytes of a line, at most, without its end; 16 MiB if you do not say. What is no text may
    /// have no end of a line for long, and a task holds a line as a whole.
    pub line_bytes_max: usize,
}

impl Default for LinesOptions {
    fn default() -> Self {
        Self { shard_bytes: 128 * 1024 * 1024, line_bytes_max: 16 * 1024 * 1024 }
    }
}

impl Slice<String> {
    /// The lines of text files, without their ends (`\n` or `\r\n`): paths, folders, patterns,
    /// `s3://...`, `https://...`, as for [`read`](Slice::read). Files whose names end in `.gz`,
    /// `.zst`, `.bz2` or `.xz` are decompressed.
    ///
    /// Each line comes once, empty ones too; the last one need not end. Lines are in the order of
    /// the places, of the names of files at each, and of the text, within a shard and from shard to
    /// shard. There is a shard for each core, or more where one would have above 128 MiB of files,
    /// or fewer where one would have less than 1 MiB: a shard has several small files, or a part of
    /// a large one. Files that are compressed, or on a web server that gives no parts of files, are
    /// not divided. A task holds some lines at a time.
    ///
    /// A line that is not UTF-8 or has more than 16 MiB ends the run with an error that names the
    /// file and where in it the line begins; a file that changes meanwhile is an error too.
    /// [`lines_bytes`](Slice::lines_bytes) takes text in any encoding, [`lines_with`](Self::lines_with) longer lines.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// #[bigslice::func]
    /// fn words(paths: Vec<String>) -> Result<Slice<(String, u64)>> {
    ///     Ok(Slice::lines(paths)?
    ///         .emit(|line, out| line.split(' ').for_each(|word| out.push((word, 1))))
    ///         .reduce(|a, b| a + b))
    /// }
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let folder = folder.path();
    /// std::fs::write(folder.join("a.txt"), "to be or\r\nnot to be").unwrap();
    /// let session = Session::builder().build().await?;
    /// let paths = vec![folder.join("*.txt").to_str().unwrap().to_owned()];
    /// let mut counted = session.run(words(paths)).await?.collect().await?;
    /// counted.sort();
    /// assert_eq!(counted[0], ("be".to_owned(), 2));
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// When no place is given.
    #[track_caller]
    pub fn lines(paths: impl Paths) -> Result<Self> {
        text("lines", Location::caller(), paths.into_paths(), LinesOptions::default())
    }

    /// [`lines`](Self::lines), in larger or smaller shards, or with longer lines.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::LinesOptions;
    /// use bigslice::prelude::*;
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("a.txt").to_str().unwrap().to_owned();
    /// std::fs::write(&path, "to be\nor\nnot to be\n").unwrap();
    /// let session = Session::builder().build().await?;
    /// let options = LinesOptions { shard_bytes: 4, ..LinesOptions::default() };
    /// let run = session.run(Slice::lines_with(path, options)?).await?;
    /// assert_eq!(run.shards(), 5); // of 19 bytes; a shard that no line begins in has none
    /// assert_eq!(run.collect().await?, ["to be", "or", "not to be"]);
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// When no place is given, or an option is out of range.
    #[track_caller]
    pub fn lines_with(paths: impl Paths, options: LinesOptions) -> Result<Self> {
        text("lines_with", Location::caller(), paths.into_paths(), options)
    }
}

impl Slice<Bytes> {
    /// [`lines`](Slice::lines), of text in any encoding in which a byte 10 is the end of a line and
    /// nothing else: all that have ASCII as their half. Closures see a line as `&[u8]`.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("latin-1.txt").to_str().unwrap().to_owned();
    /// std::fs::write(&path, b"caf\xe9\r\nth\xe9\n").unwrap();
    /// let session = Session::builder().build().await?;
    /// let lines = Slice::lines_bytes(path)?;
    /// let texts = lines.map(|line| line.iter().map(|byte| char::from(*byte)).collect::<String>());
    /// assert_eq!(session.run(texts).await?.collect().await?, ["café", "thé"]);
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// When no place is given.
    #[track_caller]
    pub fn lines_bytes(paths: impl Paths) -> Result<Self> {
        text("lines_bytes", Location::caller(), paths.into_paths(), LinesOptions::default())
    }

    /// [`lines_bytes`](Self::lines_bytes), in larger or smaller shards, or with longer lines.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::LinesOptions;
    /// use bigslice::prelude::*;
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("a.txt").to_str().unwrap().to_owned();
    /// std::fs::write(&path, "ten\ntwelve\n").unwrap();
    /// let session = Session::builder().build().await?;
    /// let options = LinesOptions { line_bytes_max: 5, ..LinesOptions::default() };
    /// let error = session.run(Slice::lines_bytes_with(path, options)?).await.unwrap_err();
    /// assert!(error.to_string().contains("the line at byte 4 of")); // and is longer than 5 bytes
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// When no place is given, or an option is out of range.
    #[track_caller]
    pub fn lines_bytes_with(paths: impl Paths, options: LinesOptions) -> Result<Self> {
        text("lines_bytes_with", Location::caller(), paths.into_paths(), options)
    }
}

/// A row that is a line.
trait Line: Row {
    /// The view of a line, unless it is not one.
    fn of(line: &[u8]) -> Option<Self::View<'_>>;
}

impl Line for String {
    fn of(line: &[u8]) -> Option<&str> {
        std::str::from_utf8(line).ok()
    }
}

impl Line for Bytes {
    fn of(line: &[u8]) -> Option<&[u8]> {
        Some(line)
    }
}

fn text<T: Line>(
    verb: &'static str,
    place: &'static Location<'static>,
    paths: Vec<String>,
    options: LinesOptions,
) -> Result<Slice<T>> {
    let wrong = |message: String| Err(Error::query(format!("{verb} at {place}: {message}")));
    let LinesOptions { shard_bytes, line_bytes_max } = options;
    if paths.is_empty() {
        return wrong("there is no path to read".to_owned());
    }
    if shard_bytes == 0 {
        return wrong("shards of 0 bytes cannot be".to_owned());
    }
    if line_bytes_max > LINE_BYTES_LIMIT {
        return wrong(format!("lines of {line_bytes_max} bytes are more than a column holds"));
    }
    let text = Text { verb, place, paths, options, schema: typed::schema::<T>() };
    Ok(Slice::new(verb, place, Op::Source(Arc::new(Lines { text, open: opened::<T> }))))
}

/// What was asked for.
#[derive(Debug, Clone)]
struct Text {
    verb: &'static str,
    place: &'static Location<'static>,
    paths: Vec<String>,
    options: LinesOptions,
    schema: SchemaRef,
}

struct Lines {
    text: Text,
    open: fn(Text, Vec<Part>, &TaskCx) -> SendableRecordBatchStream,
}

#[async_trait]
impl Source for Lines {
    async fn shards(&self, resolving: &Resolving) -> Result<Vec<Arc<[u8]>>> {
        let files = shares::find(&self.text.paths, resolving, |_| true).await?;
        shares::encoded(&shares::divided(files, resolving, self.text.options.shard_bytes).await)
    }

    fn open(&self, spec: &[u8], cx: &TaskCx) -> PlanResult<SendableRecordBatchStream> {
        let parts = crate::base::wire::decode(spec)?;
        Ok((self.open)(self.text.clone(), parts, cx))
    }
}

fn opened<T: Line>(text: Text, parts: Vec<Part>, cx: &TaskCx) -> SendableRecordBatchStream {
    let mut stream =
        RecordBatchReceiverStream::builder(Arc::clone(&text.schema), BATCHES_AHEAD_MAX);
    let rows_max = cx.context.session_config().batch_size().max(1);
    let mut batches = Batches::<T> {
        schema: Arc::clone(&text.schema),
        builder: T::builder(0),
        rows: 0,
        bytes: 0,
        rows_max,
        full: Vec::new(),
    };
    let (out, runtime) = (stream.tx(), cx.context.runtime_env());
    stream.spawn(async move {
        for part in &parts {
            let cut = cut(&text, part, &runtime, &mut batches, &out).await;
            // In words that travel.
            let cut = cut
                .map_err(|e| Error::from(e).within(&format!("{} at {}", text.verb, text.place)))?;
            if cut.is_break() {
                return Ok(());
            }
        }
        batches.end()?;
        // The reader is gone and needs no error.
        let _read = batches.send(&out).await;
        Ok(())
    });
    stream.build()
}

/// Gives the lines of a part; a break once the reader is gone.
async fn cut<T: Line>(
    text: &Text,
    part: &Part,
    runtime: &RuntimeEnv,
    batches: &mut Batches<T>,
    out: &Sender<PlanResult<RecordBatch>>,
) -> PlanResult<ControlFlow<()>> {
    let Part { file, range } = part;
    let whole = *range == (0..file.size);
    let end = if whole { u64::MAX } else { range.end };
    let mut cutter = Cutter::new(range.start, end, text.options.line_bytes_max);
    let begin = range.start.saturating_sub(1);
    let mut content: Content = match whole {
        true => file.read_all(runtime).await?,
        false => file.read(begin..range.end, runtime).await?,
    };
    let mut read = if whole { file.size } else { range.end };
    let mut step = BEYOND_BYTES;
    loop {
        while let Some(chunk) = content.try_next().await? {
            cutter.take(&chunk, |at, line| batches.push(at, line)).map_err(|e| e.of(text, part))?;
            if batches.send(out).await.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        if cutter.is_done() {
            break;
        }
        if read == file.size {
            cutter.finish(|at, line| batches.push(at, line)).map_err(|e| e.of(text, part))?;
            break;
        }
        // The last line ends in another part.
        let more = read..file.size.min(read + step);
        read = more.end;
        step *= 2;
        content = file.read(more, runtime).await?;
    }
    Ok(ControlFlow::Continue(()))
}

/// Why a line is no row.
enum Bad {
    TooLong(TooLong),
    NotUtf8 { at: u64 },
    Other(DataFusionError),
}

impl From<TooLong> for Bad {
    fn from(long: TooLong) -> Self {
        Self::TooLong(long)
    }
}

impl Bad {
    fn of(self, text: &Text, part: &Part) -> DataFusionError {
        let (at, what, hint) = match self {
            Self::TooLong(TooLong { at }) => (
                at,
                format!("is longer than {} bytes", text.options.line_bytes_max),
                "LinesOptions may allow longer ones, if this is text at all",
            ),
            Self::NotUtf8 { at } => {
                (at, "is not in UTF-8".to_owned(), "lines_bytes takes text in other encodings")
            }
            Self::Other(error) => return error,
        };
        let within = if part.file.is_compressed() { " of the text in" } else { " of" };
        let name = &part.file.name;
        let message = format!("the line at byte {at}{within} \"{name}\" {what}");
        Error::query(message).with_hint(hint).into()
    }
}

/// Lines on their way into batches.
struct Batches<T: Row> {
    schema: SchemaRef,
    builder: T::Builder,
    rows: usize,
    bytes: usize,
    rows_max: usize,
    full: Vec<RecordBatch>,
}

impl<T: Line> Batches<T> {
    fn push(&mut self, at: u64, line: &[u8]) -> Result<(), Bad> {
        T::append(&mut self.builder, T::of(line).ok_or(Bad::NotUtf8 { at })?);
        self.rows += 1;
        self.bytes += line.len();
        if self.rows == self.rows_max || self.bytes >= BATCH_BYTES {
            self.end().map_err(Bad::Other)?;
        }
        Ok(())
    }

    fn end(&mut self) -> PlanResult<()> {
        if self.rows > 0 {
            (self.rows, self.bytes) = (0, 0);
            self.full.push(typed::batch::<T>(&self.schema, &mut self.builder)?);
        }
        Ok(())
    }

    /// Gives full batches away; a break once the reader is gone.
    async fn send(&mut self, out: &Sender<PlanResult<RecordBatch>>) -> ControlFlow<()> {
        for batch in self.full.drain(..) {
            if out.send(Ok(batch)).await.is_err() {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }
}
