//! The host of a process's tasks: builds their plans, runs them, stores what they make, and gives
//! it to whoever reads it. One in the driver, one on each worker, where it is called through
//! Flight.

use std::sync::Arc;

use async_trait::async_trait;
use bigslice_flight::{Block, Channels, TaskHost};
use bytes::Bytes;
use datafusion::common::Result as PlanResult;
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use futures::StreamExt;
use futures::stream::BoxStream;

use crate::base::refusal::Refusal;
use crate::base::wire::{RunId, StoredAt, decode, encode, number};
use crate::error::{Error, Result};
use crate::metrics::{Metrics, Scope};
use crate::pipeline::slice::{Split, SplitCx, shard_ids};
use crate::runs::task::known::{Known, Told};
use crate::runs::task::pipe::Pipe;
use crate::runs::task::plan::Stage;
use crate::runs::task::request::{Asked, ShardTicket, StoredSize, TaskReply, TaskRequest};
use crate::runs::task::store::Store;
use crate::shard::ShardWriter;
use bigslice_files::Stores;

/// Makes the context that a task computes in, with these settings.
type Contexts = Box<dyn Fn(&[(String, String)]) -> Result<Arc<TaskContext>> + Send + Sync>;

/// Runs tasks in this process.
pub(crate) struct Host {
    pub(super) store: Store,
    pub(super) channels: Option<Channels>,
    me: Option<String>,
    pub(super) stores: Arc<Stores>,
    contexts: Contexts,
    known: Known,
}

/// What a [`Host`] is made of.
pub(crate) struct HostParts {
    /// Where shards are stored.
    pub(crate) store: Store,
    /// Connections to the machines, if there are any.
    pub(crate) channels: Option<Channels>,
    /// The address of this machine; none in the driver.
    pub(crate) me: Option<String>,
    pub(crate) stores: Arc<Stores>,
    pub(crate) contexts: Contexts,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("me", &self.me).finish_non_exhaustive()
    }
}

impl Host {
    pub(crate) fn new(parts: HostParts) -> Arc<Self> {
        let HostParts { store, channels, me, stores, contexts } = parts;
        Arc::new(Self { store, channels, me, stores, contexts, known: Known::default() })
    }

    /// Whether `machine` is the address of this one.
    pub(super) fn is(&self, machine: &str) -> bool {
        self.me.as_deref() == Some(machine)
    }

    /// Forgets what tasks of `run` have stored.
    pub(crate) fn forget(&self, run: RunId) {
        self.known.forget(run);
        self.store.discard(run);
    }

    /// Removes everything that is stored: the session is over.
    pub(crate) fn close(&self) {
        self.store.close();
    }

    /// Runs a task to its end.
    pub(crate) async fn task(self: &Arc<Self>, request: TaskRequest) -> PlanResult<TaskReply> {
        // Not yet within the task: what a func does while it builds its slice, each machine does.
        let told = self.known.told(&request)?;
        let scope = Arc::new(Scope::default());
        let reply = scope.during(self.computed(request, told)).await?;
        Ok(TaskReply { metrics: scope.metrics(), ..reply })
    }

    async fn computed(self: &Arc<Self>, request: TaskRequest, told: Told) -> PlanResult<TaskReply> {
        let plan = &told.plan;
        let context = (self.contexts)(&told.inputs.settings)?;
        self.stores.apply(told.inputs.stores.clone());
        let stage = plan.stages.get(request.stage as usize);
        let stage = stage.ok_or_else(|| Error::internal("a task of a stage that is not there"))?;
        let at = StoredAt {
            run: request.run,
            stage: request.stage,
            task: request.task,
            attempt: request.attempt,
            machine: None,
        };
        let written = Arc::default();
        let pipe = Pipe {
            host: self,
            request: &request,
            told: &told,
            context: &context,
            written: &written,
        };
        let rows = pipe.rows(stage)?;
        let splits = plan.splits(stage, &told.source_shards);
        let path = self.store.path(&at)?;
        let writer = ShardWriter::create(&path, Arc::clone(&stage.schema), splits);
        let mut output = Output {
            writer: writer.map_err(|e| cannot_store(&e))?,
            memory: MemoryConsumer::new("rows to be stored").register(context.memory_pool()),
            split: SplitCx { from: request.task as usize, shards: splits },
            ids: Vec::new(),
        };
        output.all(stage, rows).await?;
        pipe.finish_sinks().await?;
        let index = output.writer.finish().map_err(|e| cannot_store(&e))?;
        let reply = TaskReply {
            size: StoredSize {
                rows: (0..splits).map(|partition| index.rows(partition)).sum(),
                bytes: index.bytes(),
                blocks: number(index.len(), "blocks of a shard")?,
            },
            metrics: Metrics::default(),
            written: std::mem::take(&mut *written.lock()),
        };
        self.store.put(&at, path, index);
        Ok(reply)
    }
}

/// The file that a task writes.
struct Output {
    writer: ShardWriter,
    memory: MemoryReservation,
    split: SplitCx,
    ids: Vec<u32>,
}

impl Output {
    async fn all(
        &mut self,
        stage: &Stage,
        mut rows: datafusion::execution::SendableRecordBatchStream,
    ) -> PlanResult<()> {
        while let Some(batch) = rows.next().await.transpose()? {
            self.ids.clear();
            let one = self.split.shards == 1;
            let stored = match &stage.split {
                Split::ByHash(keys) if !one => {
                    shard_ids(&batch, *keys, self.split.shards, &mut self.ids)?;
                    self.writer.scatter(&self.ids, &batch)
                }
                Split::By(partition) => {
                    partition.partition(&batch, &self.split, &mut self.ids)?;
                    self.writer.scatter(&self.ids, &batch)
                }
                _ => self.writer.append(0, batch),
            };
            stored.map_err(|e| cannot_store(&e))?;
            // What cannot be held is written: smaller blocks, but never an error.
            while self.memory.try_resize(self.writer.buffered_bytes()).is_err() {
                if self.writer.buffered_bytes() == 0 {
                    break;
                }
                self.writer.flush_largest().map_err(|e| cannot_store(&e))?;
            }
        }
        Ok(())
    }
}

fn cannot_store(error: &crate::shard::ShardError) -> DataFusionError {
    Error::unreadable(error.to_string()).into()
}

#[async_trait]
impl TaskHost for Shared {
    async fn run(&self, request: Bytes) -> PlanResult<Bytes> {
        match postcard::take_from_bytes(&request) {
            Ok((Asked::Task(task), _)) => {
                Ok(encode(&self.0.task(*task).await.map_err(Refusal::travelling)?)?)
            }
            Ok((Asked::Call(header), item)) => {
                Ok(crate::pipeline::map::answer(header, request.slice_ref(item)).await?)
            }
            Err(e) => Err(Error::internal(format!("a request of the driver: {e}")).into()),
        }
    }

    fn read(&self, ticket: Bytes) -> PlanResult<BoxStream<'static, PlanResult<Block>>> {
        let ticket: ShardTicket = decode(&ticket)?;
        let stored = self.0.store.get(&ticket.at).and_then(|stored| stored.blocks(&ticket));
        let blocks = stored.map_err(|e| Refusal::travelling(e.into()))?;
        let blocks = blocks.map(|block| match block {
            Ok((bytes, crc)) => Ok(Block { bytes, crc }),
            Err(e) => Err(Refusal::travelling(e.into())),
        });
        Ok(futures::stream::iter(blocks).boxed())
    }

    async fn discard(&self, request: Bytes) -> PlanResult<()> {
        let run: RunId = decode(&request)?;
        self.0.forget(run);
        Ok(())
    }
}

/// A host as Flight calls it.
pub(crate) struct Shared(pub(crate) Arc<Host>);
