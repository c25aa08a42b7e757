//! The host of a process's tasks: builds their plans, runs them, stores their shards, and serves
//! the shards to readers. There is one in the driver, and one on each worker, which is called
//! through Flight.

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

use crate::base::task_error::TaskError;
use crate::base::wire::{RunId, StoredAt, decode, encode, number};
use crate::error::{Error, Result};
use crate::metrics::{Metrics, Scope};
use crate::pipeline::slice::{Split, SplitCx, shard_ids};
use crate::runs::task::pipe::Pipe;
use crate::runs::task::plan::Stage;
use crate::runs::task::plan_cache::{PlanCache, TaskSpec};
use crate::runs::task::reader::ShardReader;
use crate::runs::task::request::{Request, ShardTicket, StoredSize, TaskReply, TaskRequest};
use crate::runs::task::store::Store;
use crate::shard::ShardWriter;
use bigslice_files::Stores;

/// Makes the context of a task, with these settings.
type Contexts = Box<dyn Fn(&[(String, String)]) -> Result<Arc<TaskContext>> + Send + Sync>;

/// Runs tasks in this process.
pub(crate) struct Host {
    store: Arc<Store>,
    reader: Arc<ShardReader>,
    stores: Arc<Stores>,
    contexts: Contexts,
    plans: PlanCache,
}

/// The parts of a [`Host`].
pub(crate) struct HostParts {
    /// Stores shards.
    pub(crate) store: Store,
    /// Connections to the machines, if there are any.
    pub(crate) channels: Option<Channels>,
    /// The address of this machine; `None` in the driver.
    pub(crate) me: Option<String>,
    pub(crate) stores: Arc<Stores>,
    pub(crate) contexts: Contexts,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("reader", &self.reader).finish_non_exhaustive()
    }
}

impl Host {
    pub(crate) fn new(parts: HostParts) -> Arc<Self> {
        let HostParts { store, channels, me, stores, contexts } = parts;
        let store = Arc::new(store);
        let reader = Arc::new(ShardReader { store: Arc::clone(&store), channels, me });
        Arc::new(Self { store, reader, stores, contexts, plans: PlanCache::default() })
    }

    /// Reads the shards of this process and of all machines.
    pub(crate) fn reader(&self) -> &Arc<ShardReader> {
        &self.reader
    }

    /// Forgets a run, and removes its shards.
    pub(crate) fn forget(&self, run: RunId) {
        self.plans.forget(run);
        self.store.discard(run);
    }

    /// Removes all shards: the session is closed.
    pub(crate) fn close(&self) {
        self.store.close();
    }

    /// Runs a task to its end.
    pub(crate) async fn task(self: &Arc<Self>, request: TaskRequest) -> PlanResult<TaskReply> {
        // Outside of the scope: a func builds its slice once on each machine, so its metrics would
        // count once for each.
        let spec = self.plans.task(&request)?;
        let scope = Arc::new(Scope::default());
        let reply = scope.during(self.computed(request, spec)).await?;
        Ok(TaskReply { metrics: scope.metrics(), ..reply })
    }

    async fn computed(
        self: &Arc<Self>,
        request: TaskRequest,
        spec: TaskSpec,
    ) -> PlanResult<TaskReply> {
        let plan = &spec.plan;
        let context = (self.contexts)(&spec.inputs.settings)?;
        self.stores.apply(spec.inputs.stores.clone());
        let stage = plan.stages.get(request.stage as usize);
        let stage = stage.ok_or_else(|| Error::internal("a task of an unknown stage"))?;
        let at = StoredAt {
            run: request.run,
            stage: request.stage,
            task: request.task,
            attempt: request.attempt,
            machine: None,
        };
        let written = Arc::default();
        let pipe = Pipe {
            reader: &self.reader,
            stores: &self.stores,
            request: &request,
            spec: &spec,
            context: &context,
            written: &written,
        };
        let rows = pipe.rows(stage)?;
        let splits = plan.splits(stage, &spec.source_shards);
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

/// The file that a task stores its shard in.
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
            // Rows that do not fit in memory are written: in smaller blocks, but without an error.
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
impl TaskHost for HostService {
    async fn run(&self, request: Bytes) -> PlanResult<Bytes> {
        match postcard::take_from_bytes(&request) {
            Ok((Request::Task(task), _)) => {
                Ok(encode(&self.0.task(*task).await.map_err(TaskError::travelling)?)?)
            }
            Ok((Request::Call(header), item)) => {
                Ok(crate::pipeline::map::answer(header, request.slice_ref(item)).await?)
            }
            Err(e) => {
                Err(Error::internal(format!("cannot decode a request of the driver: {e}")).into())
            }
        }
    }

    fn read(&self, ticket: Bytes) -> PlanResult<BoxStream<'static, PlanResult<Block>>> {
        let ticket: ShardTicket = decode(&ticket)?;
        let stored = self.0.store.get(&ticket.at).and_then(|stored| stored.blocks(&ticket));
        let blocks = stored.map_err(|e| TaskError::travelling(e.into()))?;
        let blocks = blocks.map(|block| match block {
            Ok((bytes, crc)) => Ok(Block { bytes, crc }),
            Err(e) => Err(TaskError::travelling(e.into())),
        });
        Ok(futures::stream::iter(blocks).boxed())
    }

    async fn discard(&self, request: Bytes) -> PlanResult<()> {
        let run: RunId = decode(&request)?;
        self.0.forget(run);
        Ok(())
    }
}

/// The Flight service of a host.
pub(crate) struct HostService(pub(crate) Arc<Host>);
