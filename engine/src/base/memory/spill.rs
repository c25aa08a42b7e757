//! The files that operators spill to. They have no name, so that nothing remains of them however
//! the process ends, and a checksum for every block, because DataFusion decodes spilled data
//! without validating it, which is undefined behaviour if the bytes have changed.
//!
//! The files of an exchange between partitions (DataFusion's spill pools) are special in two ways:
//!
//! * **They hold one batch each**: [`settings`](crate::base::settings) limits them to
//!   [`ONE_BATCH`]. In DataFusion 55.2, if two tasks spill at the same time, their pool has two
//!   open files; the reader waits for more of the older one, the tasks wait for the reader, and the
//!   query hangs (apache/datafusion #24883). A file that is complete when its task releases it
//!   cannot cause that.
//! * To avoid a descriptor for each batch, **many of them share one file of the file system**, a
//!   bundle, which is removed with the last of them.
//!
//! An error of the disk is reported when the file is read: a pool that fails while it writes would
//! leave its reader waiting.
//!
//! Used by every process of a session through [`memory`](crate::base::memory).

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SpillFile, SpillWriter, TempFileFactory};
use futures::stream::{self, Stream};
use parking_lot::Mutex;

use crate::base::memory::messages::Messages;
use crate::base::task_error::TaskError;
use crate::error::Error;

/// Bytes that are written, checked and read together: large enough to make the cost of a call
/// small, small enough for a merge of hundreds of files.
const BLOCK_BYTES: usize = 64 * 1024;

/// Maximum of spilled bytes in one process at a time.
pub(crate) const SPILLED_BYTES_MAX: u64 = 512 * 1024 * 1024 * 1024;

/// The size above which a file of a spill pool is complete: any batch is larger.
pub(crate) const ONE_BATCH: usize = 1;

/// DataFusion's description of a file that belongs to a spill pool.
const POOL: &str = "SpillPool";

/// The size above which a bundle takes no more files. Files are read in the order they are written,
/// so the space of a bundle is free again soon after all of it was read.
const BUNDLE_BYTES: u64 = 64 * 1024 * 1024;

/// Creates spill files in one folder.
#[derive(Debug)]
pub(crate) struct SpillFiles {
    disk: Arc<Disk>,
    /// The bundle for the next file of a pool.
    bundle: Mutex<Option<Arc<Extent>>>,
}

/// The folder of the files, and how much is in them.
#[derive(Debug)]
struct Disk {
    folder: PathBuf,
    used: AtomicU64,
}

/// A file of the file system, to which blocks are appended.
#[derive(Debug)]
struct Extent {
    file: File,
    end: AtomicU64,
}

impl SpillFiles {
    /// Files in `folder`, which is opened for the first one.
    pub(crate) fn within(folder: PathBuf) -> Self {
        let disk = Disk { folder, used: AtomicU64::new(0) };
        Self { disk: Arc::new(disk), bundle: Mutex::default() }
    }

    fn extent(&self, description: &str) -> Result<Arc<Extent>> {
        let file = tempfile::tempfile_in(&self.disk.folder)
            .map_err(|e| self.disk.failed(&format!("no file for {description}: {e}")))?;
        Ok(Arc::new(Extent { file, end: AtomicU64::new(0) }))
    }

    /// The bundle for the next file.
    fn bundle(&self) -> Result<Arc<Extent>> {
        let mut bundle = self.bundle.lock();
        // If only we hold it, it contains nothing that will be read.
        let open = bundle.as_ref().filter(|extent| {
            Arc::strong_count(extent) > 1 && extent.end.load(Ordering::Relaxed) < BUNDLE_BYTES
        });
        if let Some(extent) = open {
            return Ok(Arc::clone(extent));
        }
        let extent = self.extent("rows between partitions")?;
        *bundle = Some(Arc::clone(&extent));
        Ok(extent)
    }
}

impl TempFileFactory for SpillFiles {
    fn create_temp_file(&self, description: &str) -> Result<Arc<dyn SpillFile>> {
        let of_pool = description == POOL;
        let extent = if of_pool { self.bundle()? } else { self.extent(description)? };
        Ok(Arc::new(Spill { inner: Inner::new(extent, Arc::clone(&self.disk), of_pool) }))
    }
}

impl Disk {
    /// The error for the user if the disk fails, in a form that can be sent between machines.
    fn failed(&self, why: &str) -> DataFusionError {
        let error = Error::Source {
            message: format!("could not spill to disk, in \"{}\": {why}", self.folder.display()),
            hint: Some(
                "free space there, choose another folder (the setting temp-root), or raise the \
                 memory limit, so that less is spilled"
                    .to_owned(),
            ),
            source: None,
        };
        TaskError::travelling(error.into())
    }
}

/// The position of a block, and the checksum of its bytes when they were written.
#[derive(Debug, Clone, Copy)]
struct Block {
    offset: u64,
    len: usize,
    sum: u32,
}

#[derive(Debug)]
struct Inner {
    extent: Arc<Extent>,
    disk: Arc<Disk>,
    of_pool: bool,
    content: Mutex<Content>,
}

/// The blocks that were written.
#[derive(Debug, Default)]
struct Content {
    blocks: Vec<Block>,
    bytes: u64,
    /// Why writing ended early, if it did.
    failure: Option<String>,
}

impl Inner {
    fn new(extent: Arc<Extent>, disk: Arc<Disk>, of_pool: bool) -> Arc<Self> {
        Arc::new(Self { extent, disk, of_pool, content: Mutex::default() })
    }

    /// Writes a block, unless writing an earlier one failed.
    fn append(&self, bytes: &[u8]) {
        if self.content.lock().failure.is_some() {
            return;
        }
        let written = self.write(bytes);
        let mut content = self.content.lock();
        match written {
            Ok(block) => {
                content.bytes += bytes.len() as u64;
                content.blocks.push(block);
            }
            Err(e) => content.failure = Some(e.to_string()),
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<Block> {
        let len = bytes.len() as u64;
        let used = &self.disk.used;
        if used.fetch_add(len, Ordering::Relaxed) + len > SPILLED_BYTES_MAX {
            used.fetch_sub(len, Ordering::Relaxed);
            let text = format!("more than {} GiB of spilled data", SPILLED_BYTES_MAX >> 30);
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, text));
        }
        let offset = self.extent.end.fetch_add(len, Ordering::Relaxed);
        if let Err(e) = self.extent.file.write_all_at(bytes, offset) {
            used.fetch_sub(len, Ordering::Relaxed);
            return Err(e);
        }
        Ok(Block { offset, len: bytes.len(), sum: crc32fast::hash(bytes) })
    }

    /// Reads a block into `bytes`, and returns them.
    fn read(&self, block: Block, mut bytes: Vec<u8>) -> Result<Vec<u8>> {
        let read = self.extent.file.read_exact_at(&mut bytes, block.offset);
        read.map_err(|e| self.disk.failed(&format!("reading it again: {e}")))?;
        if crc32fast::hash(&bytes) == block.sum {
            Ok(bytes)
        } else {
            Err(self.disk.failed("the spilled data has changed: its checksum is wrong"))
        }
    }

    /// The block at `index`; `None` at the end.
    fn block(&self, index: usize) -> Result<Option<Block>> {
        let content = self.content.lock();
        match (content.blocks.get(index), &content.failure) {
            (Some(block), _) => Ok(Some(*block)),
            (None, Some(why)) => Err(self.disk.failed(why)),
            (None, None) => Ok(None),
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.disk.used.fetch_sub(self.content.get_mut().bytes, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Spill {
    inner: Arc<Inner>,
}

impl SpillFile for Spill {
    fn size(&self) -> Option<u64> {
        Some(self.inner.content.lock().bytes)
    }

    /// The messages in order, to the end of the file when the reader reaches it: a file may be read
    /// while it is appended to.
    fn read_stream(&self) -> Result<Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>> {
        let inner = Arc::clone(&self.inner);
        let start =
            Reader { inner, index: 0, messages: Messages::default(), ready: VecDeque::new() };
        Ok(Box::pin(stream::try_unfold(start, |mut reader| async move {
            Ok(reader.next().await?.map(|message| (message, reader)))
        })))
    }

    fn open_writer(&self) -> Result<Box<dyn SpillWriter>> {
        // A file of a pool has one batch, often of a few KiB: its buffer grows as needed.
        let room = if self.inner.of_pool { 0 } else { BLOCK_BYTES };
        Ok(Box::new(Writer { inner: Arc::clone(&self.inner), pending: Vec::with_capacity(room) }))
    }
}

/// A reader of one file.
struct Reader {
    inner: Arc<Inner>,
    /// The index of the block to read next.
    index: usize,
    messages: Messages,
    ready: VecDeque<Bytes>,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Ok(Some(message));
            }
            let Some(block) = self.inner.block(self.index)? else {
                return Ok(self.messages.rest());
            };
            self.index += 1;
            // Allocated here, not by the reading threads: hundreds of them would each keep some.
            let bytes = vec![0; block.len];
            let inner = Arc::clone(&self.inner);
            let read = tokio::task::spawn_blocking(move || inner.read(block, bytes));
            let bytes = read.await.map_err(|e| DataFusionError::ExecutionJoin(Box::new(e)))??;
            self.ready.extend(self.messages.push(&bytes)?);
        }
    }
}

struct Writer {
    inner: Arc<Inner>,
    pending: Vec<u8>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("pending", &self.pending.len()).finish_non_exhaustive()
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(BLOCK_BYTES - self.pending.len());
        self.pending.extend_from_slice(&bytes[..taken]);
        if self.pending.len() == BLOCK_BYTES {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.pending.is_empty() {
            self.inner.append(&self.pending);
            self.pending.clear();
        }
        Ok(())
    }
}

impl SpillWriter for Writer {
    fn finish(&mut self) -> Result<()> {
        self.flush()?;
        self.pending = Vec::new();
        match &self.inner.content.lock().failure {
            Some(why) if !self.inner.of_pool => Err(self.inner.disk.failed(why)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;

    use super::*;

    async fn content(file: &dyn SpillFile) -> Result<Vec<u8>> {
        let messages: Vec<Bytes> = file.read_stream()?.try_collect().await?;
        Ok(messages.concat())
    }

    /// `n` empty messages, which mark the end of a stream.
    fn ends(n: usize) -> Vec<u8> {
        [255, 255, 255, 255, 0, 0, 0, 0].repeat(n)
    }

    #[tokio::test]
    async fn what_is_spilled_comes_back_and_leaves_no_name() {
        let folder = tempfile::tempdir().unwrap();
        let files = SpillFiles::within(folder.path().to_owned());
        let file = files.create_temp_file("a test").unwrap();
        let mut writer = file.open_writer().unwrap();
        let bytes = ends(500_000);
        writer.write_all(&bytes[..100]).unwrap();
        writer.flush().unwrap();
        assert_eq!(content(file.as_ref()).await.unwrap(), &bytes[..100]);
        writer.write_all(&bytes[100..]).unwrap();
        writer.finish().unwrap();
        assert_eq!(content(file.as_ref()).await.unwrap(), bytes);
        assert_eq!(file.size(), Some(bytes.len() as u64));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        assert_eq!(files.disk.used.load(Ordering::Relaxed), bytes.len() as u64);
        drop((writer, file));
        assert_eq!(files.disk.used.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_flipped_bit_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let files = SpillFiles::within(folder.path().to_owned());
        let extent = files.extent("a test").unwrap();
        let inner = Inner::new(extent, Arc::clone(&files.disk), false);
        let spill = Spill { inner: Arc::clone(&inner) };
        inner.append(b"all is well");
        inner.extent.file.write_all_at(b"A", 0).unwrap();
        let error = content(&spill).await.unwrap_err();
        assert!(error.to_string().contains("checksum"), "{error}");
    }

    #[tokio::test]
    async fn files_of_a_pool_share_one_of_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let files = SpillFiles::within(folder.path().to_owned());
        let mut written = Vec::new();
        for i in 0..10 {
            let file = files.create_temp_file(POOL).unwrap();
            let mut writer = file.open_writer().unwrap();
            writer.write_all(&ends(40_000 + i)).unwrap();
            writer.finish().unwrap();
            written.push(file);
        }
        for (i, file) in written.iter().enumerate() {
            assert_eq!(content(file.as_ref()).await.unwrap(), ends(40_000 + i));
        }
        let bundle = Arc::downgrade(files.bundle.lock().as_ref().unwrap());
        assert_eq!(bundle.strong_count(), 11);
        drop(written);
        assert_eq!(files.disk.used.load(Ordering::Relaxed), 0);
        // The next file starts a new bundle: the space of this one is returned to the disk.
        let _file = files.create_temp_file(POOL).unwrap();
        assert_eq!(bundle.strong_count(), 0);
    }

    /// A full disk: writing to `/dev/full` always fails with that error.
    #[tokio::test]
    async fn a_full_disk_is_told_when_it_leaves_nobody_waiting() {
        for of_pool in [false, true] {
            let file = File::options().read(true).write(true).open("/dev/full").unwrap();
            let extent = Arc::new(Extent { file, end: AtomicU64::new(0) });
            let files = SpillFiles::within("/some/folder".into());
            let inner = Inner::new(extent, Arc::clone(&files.disk), of_pool);
            let spill = Spill { inner };
            let mut writer = spill.open_writer().unwrap();
            writer.write_all(&[1; 1_000_000]).unwrap();
            assert_eq!(writer.finish().is_ok(), of_pool);
            let error = Error::from(content(&spill).await.unwrap_err());
            assert!(error.to_string().contains("/some/folder"), "{error}");
            assert!(error.to_string().contains("No space left"), "{error}");
            assert!(error.hint().unwrap().contains("temp-root"), "{error}");
            assert_eq!(files.disk.used.load(Ordering::Relaxed), 0);
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let files = SpillFiles::within("/nowhere/at/all".into());
        let error = files.create_temp_file("a sort").err().unwrap().to_string();
        assert!(error.contains("a sort") && error.contains("/nowhere/at/all"), "{error}");
    }
}
