//! Files that operators spill to: without a name, so that nothing is left of them however the
//! process ends, and with a checksum of every block, because DataFusion decodes what it spilled
//! without validating it, which is undefined behaviour when the bytes have changed.
//!
//! Used by every process of a session through [`memory`](crate::memory).

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use datafusion::common::resources_datafusion_err;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SpillFile, SpillWriter, TempFileFactory};
use futures::stream::{self, Stream};
use parking_lot::Mutex;

/// Bytes that are written, summed and read together: large enough that a block costs one call,
/// small enough that a merge of hundreds of files holds little.
const BLOCK_BYTES: usize = 256 * 1024;

/// Bytes that one process may have spilled at a time.
pub(crate) const SPILLED_BYTES_MAX: u64 = 512 * 1024 * 1024 * 1024;

/// Makes spill files in one folder.
#[derive(Debug)]
pub(crate) struct SpillFiles {
    folder: PathBuf,
    used: Arc<AtomicU64>,
}

impl SpillFiles {
    /// Files of the file system that `folder` is on. It is looked at when the first is needed.
    pub(crate) fn within(folder: PathBuf) -> Self {
        Self { folder, used: Arc::default() }
    }
}

impl TempFileFactory for SpillFiles {
    fn create_temp_file(&self, description: &str) -> Result<Arc<dyn SpillFile>> {
        let file = tempfile::tempfile_in(&self.folder).map_err(|e| {
            let folder = self.folder.display();
            resources_datafusion_err!("no file to spill to for {description} in \"{folder}\": {e}")
        })?;
        let inner = Inner { file, blocks: Mutex::default(), used: Arc::clone(&self.used) };
        Ok(Arc::new(Spill { inner: Arc::new(inner) }))
    }
}

/// Where a block lies, and what its bytes summed to when they were written.
#[derive(Debug, Clone, Copy)]
struct Block {
    offset: u64,
    len: usize,
    sum: u32,
}

#[derive(Debug)]
struct Inner {
    file: File,
    blocks: Mutex<Vec<Block>>,
    used: Arc<AtomicU64>,
}

impl Inner {
    fn size(&self) -> u64 {
        self.blocks.lock().last().map_or(0, |block| block.offset + block.len as u64)
    }

    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let len = bytes.len() as u64;
        if self.used.fetch_add(len, Ordering::Relaxed) + len > SPILLED_BYTES_MAX {
            self.used.fetch_sub(len, Ordering::Relaxed);
            return Err(io::Error::new(
                io::ErrorKind::QuotaExceeded,
                format!("more than {} GiB of spilled data", SPILLED_BYTES_MAX >> 30),
            ));
        }
        let offset = self.size();
        if let Err(e) = self.file.write_all_at(bytes, offset) {
            self.used.fetch_sub(len, Ordering::Relaxed);
            return Err(io::Error::new(e.kind(), format!("writing spilled data: {e}")));
        }
        let sum = crc32fast::hash(bytes);
        self.blocks.lock().push(Block { offset, len: bytes.len(), sum });
        Ok(())
    }

    fn read(&self, block: Block) -> io::Result<Bytes> {
        let mut bytes = vec![0; block.len];
        self.file.read_exact_at(&mut bytes, block.offset)?;
        if crc32fast::hash(&bytes) == block.sum {
            Ok(bytes.into())
        } else {
            let text = "spilled data was changed on disk: its checksum is wrong";
            Err(io::Error::new(io::ErrorKind::InvalidData, text))
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.used.fetch_sub(self.size(), Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Spill {
    inner: Arc<Inner>,
}

impl SpillFile for Spill {
    fn size(&self) -> Option<u64> {
        Some(self.inner.size())
    }

    /// The blocks in order, up to what is written when the reader gets there: a file may be read
    /// while more is appended to it.
    fn read_stream(&self) -> Result<Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>> {
        let start = (Arc::clone(&self.inner), 0);
        Ok(Box::pin(stream::try_unfold(start, |(inner, index)| async move {
            let Some(block) = inner.blocks.lock().get(index).copied() else { return Ok(None) };
            let reader = Arc::clone(&inner);
            let read = tokio::task::spawn_blocking(move || reader.read(block));
            let bytes = read.await.map_err(|e| DataFusionError::ExecutionJoin(Box::new(e)))??;
            Ok(Some((bytes, (inner, index + 1))))
        })))
    }

    fn open_writer(&self) -> Result<Box<dyn SpillWriter>> {
        let inner = Arc::clone(&self.inner);
        Ok(Box::new(Writer { inner, pending: Vec::with_capacity(BLOCK_BYTES) }))
    }
}

struct Writer {
    inner: Arc<Inner>,
    pending: Vec<u8>,
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
            self.inner.append(&self.pending)?;
            self.pending.clear();
        }
        Ok(())
    }
}

impl SpillWriter for Writer {
    fn finish(&mut self) -> Result<()> {
        self.flush()?;
        self.pending = Vec::new();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;

    use super::*;

    async fn content(file: &dyn SpillFile) -> Result<Vec<u8>> {
        let blocks: Vec<Bytes> = file.read_stream()?.try_collect().await?;
        Ok(blocks.concat())
    }

    #[tokio::test]
    async fn what_is_spilled_comes_back_and_leaves_no_name() {
        let folder = tempfile::tempdir().unwrap();
        let files = SpillFiles::within(folder.path().to_owned());
        let file = files.create_temp_file("a test").unwrap();
        let mut writer = file.open_writer().unwrap();
        let bytes: Vec<u8> = (0..1_000_000u32).flat_map(u32::to_le_bytes).collect();
        writer.write_all(&bytes[..100]).unwrap();
        writer.flush().unwrap();
        assert_eq!(content(file.as_ref()).await.unwrap(), &bytes[..100]);
        writer.write_all(&bytes[100..]).unwrap();
        writer.finish().unwrap();
        assert_eq!(content(file.as_ref()).await.unwrap(), bytes);
        assert_eq!(file.size(), Some(bytes.len() as u64));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        assert_eq!(files.used.load(Ordering::Relaxed), bytes.len() as u64);
        drop((writer, file));
        assert_eq!(files.used.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_flipped_bit_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let files = SpillFiles::within(folder.path().to_owned());
        let file = tempfile::tempfile_in(folder.path()).unwrap();
        let inner = Inner { file, blocks: Mutex::default(), used: Arc::clone(&files.used) };
        let spill = Spill { inner: Arc::new(inner) };
        spill.inner.append(b"all is well").unwrap();
        spill.inner.file.write_all_at(b"A", 0).unwrap();
        let error = content(&spill).await.unwrap_err();
        assert!(error.to_string().contains("checksum"), "{error}");
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let files = SpillFiles::within("/nowhere/at/all".into());
        let error = files.create_temp_file("a sort").err().unwrap().to_string();
        assert!(error.contains("a sort") && error.contains("/nowhere/at/all"), "{error}");
    }
}
