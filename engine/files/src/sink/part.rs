//! What a task does for a sink: the rows of one shard into one file that does not exist yet. The
//! driver has opened it ([`Opening`]) and makes it exist; a task can do neither, so that it leaves
//! nothing that the driver does not know of.

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use futures::StreamExt;
use futures::stream::FuturesOrdered;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use super::encode::Encoder;
use super::options::SinkSpec;
use crate::error::Failed;
use crate::stores::Stores;

/// Bytes of each part of an upload but the last; equal, as some stores want them, and as many as a
/// request should be worth.
const PART_BYTES: usize = 8 << 20;

/// Parts that an upload may have, by the rules of S3.
const PARTS_MAX: usize = 10_000;

/// Parts that are on their way at a time.
const PARTS_AHEAD_MAX: usize = 2;

/// A file for one attempt to compute a shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Opening {
    /// A file of this name is to be made, in a folder that is there.
    File(PathBuf),
    /// An upload to a bucket is to be filled.
    Upload {
        /// The bucket.
        bucket: String,
        /// The key of the object within it.
        key: String,
        /// The store's number of the upload.
        id: String,
    },
    /// It is there already: another attempt has written it.
    Written {
        /// Rows in the file.
        rows: u64,
        /// Bytes of the file.
        bytes: u64,
    },
}

/// The description of a sink that a task gets.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Opened {
    /// The index of the sink within its run.
    pub sink: u32,
    /// The shard of the sink.
    pub shard: u32,
    /// Where the file will be.
    pub path: String,
    /// The file or upload that this attempt fills.
    pub opening: Opening,
}

/// The files that a task has written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// The index of the sink within its run.
    pub sink: u32,
    /// The shard of the sink.
    pub shard: u32,
    /// The file or upload that this attempt has filled.
    pub opening: Opening,
    /// Rows in the file.
    pub rows: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// The parts of the upload.
    pub parts: Vec<String>,
}

/// Writes all rows of `input` to the file that `opened` describes.
pub async fn write(
    spec: &SinkSpec,
    opened: Opened,
    mut input: SendableRecordBatchStream,
    stores: &Stores,
    context: &TaskContext,
) -> Result<Written> {
    let cannot = |error: DataFusionError| cannot_write(&opened.path, error);
    let mut output = Output::new(&opened.opening, stores).map_err(cannot)?;
    let mut encoder = Encoder::new(spec).map_err(cannot)?;
    let memory = MemoryConsumer::new("rows to be written").register(context.memory_pool());
    let mut rows = 0;
    while let Some(batch) = input.next().await.transpose()? {
        rows += batch.num_rows() as u64;
        let batch = RecordBatch::try_new(Arc::clone(&spec.schema), batch.columns().to_vec())?;
        encoder.encode(&batch).map_err(cannot)?;
        if memory.try_resize(encoder.held_bytes()).is_err() {
            // What cannot be held is written: a smaller row group, but never an error.
            encoder.flush().map_err(cannot)?;
            memory.free();
        }
        output.add(encoder.take()).await.map_err(cannot)?;
    }
    let last = encoder.finish().map_err(cannot)?;
    output.add(last).await.map_err(cannot)?;
    let (bytes, parts) = output.finish().await.map_err(cannot)?;
    let Opened { sink, shard, opening, .. } = opened;
    Ok(Written { sink, shard, opening, rows, bytes, parts })
}

/// That a file cannot be written.
pub(super) fn cannot_write(path: &str, cause: DataFusionError) -> DataFusionError {
    Failed::at(format!("cannot write \"{path}\""), cause)
}

/// Where the bytes go.
struct Output {
    to: To,
    bytes: u64,
}

enum To {
    File(File),
    Upload(Box<Upload>),
}

impl Output {
    fn new(opening: &Opening, stores: &Stores) -> Result<Self> {
        let to = match opening {
            // Not `create_new`: what was written for a verb that stopped reading is written again.
            Opening::File(path) => To::File(File::create(path)?),
            Opening::Upload { bucket, key, id } => To::Upload(Box::new(Upload {
                store: stores.uploads(bucket),
                path: Path::parse(key).map_err(object_store::Error::from)?,
                id: id.clone(),
                held: Vec::new(),
                under_way: FuturesOrdered::new(),
                begun: 0,
                parts: Vec::new(),
            })),
            Opening::Written { .. } => {
                let message = "a file that was written is written again";
                return Err(DataFusionError::Internal(message.to_owned()));
            }
        };
        Ok(Self { to, bytes: 0 })
    }

    async fn add(&mut self, bytes: Vec<u8>) -> Result<()> {
        self.bytes += bytes.len() as u64;
        match &mut self.to {
            // As the shards of tasks are: the disk is not waited for elsewhere.
            To::File(file) => Ok(file.write_all(&bytes)?),
            To::Upload(upload) => Ok(upload.add(&bytes).await?),
        }
    }

    async fn finish(self) -> Result<(u64, Vec<String>)> {
        match self.to {
            To::File(_) => Ok((self.bytes, Vec::new())),
            To::Upload(upload) => Ok((self.bytes, upload.finish().await?)),
        }
    }
}

type Part = futures::future::BoxFuture<'static, object_store::Result<PartId>>;

/// An upload that the driver completes.
struct Upload {
    store: Arc<dyn MultipartStore>,
    path: Path,
    id: String,
    held: Vec<u8>,
    under_way: FuturesOrdered<Part>,
    begun: usize,
    parts: Vec<String>,
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Upload {
    async fn add(&mut self, bytes: &[u8]) -> object_store::Result<()> {
        let mut bytes = bytes;
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(PART_BYTES - self.held.len()));
            self.held.extend_from_slice(now);
            bytes = later;
            if self.held.len() == PART_BYTES {
                self.begin_part()?;
                while self.under_way.len() > PARTS_AHEAD_MAX {
                    self.end_part().await?;
                }
            }
        }
        Ok(())
    }

    fn begin_part(&mut self) -> object_store::Result<()> {
        if self.begun == PARTS_MAX {
            let bytes = (PART_BYTES * PARTS_MAX) >> 30;
            return Err(object_store::Error::Generic {
                store: "S3",
                source: format!("it has more than {bytes} GiB; use more shards").into(),
            });
        }
        let (store, path, id) = (Arc::clone(&self.store), self.path.clone(), self.id.clone());
        let (number, part) = (self.begun, Bytes::from(std::mem::take(&mut self.held)));
        self.under_way.push_back(Box::pin(async move {
            store.put_part(&path, &id, number, part.into()).await
        }));
        self.begun += 1;
        Ok(())
    }

    async fn end_part(&mut self) -> object_store::Result<()> {
        if let Some(part) = self.under_way.next().await {
            self.parts.push(part?.content_id);
        }
        Ok(())
    }

    async fn finish(mut self) -> object_store::Result<Vec<String>> {
        // An upload has at least one part.
        if !self.held.is_empty() || self.begun == 0 {
            self.begin_part()?;
        }
        while !self.under_way.is_empty() {
            self.end_part().await?;
        }
        Ok(self.parts)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::environment::Environment;
    use crate::error::explain;

    #[tokio::test]
    async fn a_full_disk_is_named() {
        let stores = Stores::new(&Environment::default());
        let opening = Opening::File("/dev/full".into());
        let mut output = Output::new(&opening, &stores).unwrap();
        let error = output.add(vec![0; 10]).await.unwrap_err();
        let error = cannot_write("/data/x.csv", error);
        assert!(error.to_string().contains("cannot write \"/data/x.csv\""), "{error}");
        let (message, hint) = explain(&error).unwrap();
        assert!(message.starts_with("no space is left"), "{message}");
        assert!(hint.unwrap().contains("free some space"));
    }
}
