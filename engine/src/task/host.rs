//! The host of a process's tasks: builds their plans, runs them, stores what they make, and gives
//! it to whoever reads it. One in the driver, one on each worker, where it is called through
//! Flight.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use async_trait::async_trait;
use bigslice_flight::{APP_PAYLOAD_BYTES_MAX, Block, Channels, TaskHost, panic_text};
use bytes::Bytes;
use datafusion::common::Result as PlanResult;
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use futures::StreamExt;
use futures::stream::BoxStream;
use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::func::registry;
use crate::shard::ShardWriter;
use crate::slice::{Split, SplitCx, shard_ids};
use crate::source::Stores;
use crate::task::pipe::Pipe;
use crate::task::plan::{Plan, Stage};
use crate::task::request::{RunId, StoredAt, TaskReply, TaskRequest, decode, encode};
use crate::task::store::Store;

/// Plans that are kept for the next task of their run.
const PLANS_KEPT_MAX: usize = 64;

/// Makes the context that a task computes in, with these settings.
type Contexts = Box<dyn Fn(&[(String, String)]) -> Result<Arc<TaskContext>> + Send + Sync>;

/// Runs tasks in this process.
pub(crate) struct Host {
    pub(super) store: Store,
    pub(super) channels: Option<Channels>,
    me: Option<String>,
    pub(super) stores: Arc<Stores>,
    contexts: Contexts,
    plans: Mutex<VecDeque<(RunId, Arc<Plan>)>>,
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
        Arc::new(Self { store, channels, me, stores, contexts, plans: Mutex::default() })
    }

    /// Whether `machine` is the address of this one.
    pub(super) fn is(&self, machine: &str) -> bool {
        self.me.as_deref() == Some(machine)
    }

    /// Lets tasks of `run` know its plan: in the process that has it already.
    pub(crate) fn know(&self, run: RunId, plan: Arc<Plan>) {
        let mut plans = self.plans.lock();
        if plans.len() == PLANS_KEPT_MAX {
            plans.pop_front();
        }
        plans.push_back((run, plan));
    }

    /// Forgets what tasks of `run` have stored.
    pub(crate) fn forget(&self, run: RunId) {
        self.plans.lock().retain(|(of, _)| *of != run);
        self.store.discard(run);
    }

    /// Removes everything that is stored: the session is over.
    pub(crate) fn close(&self) {
        self.store.close();
    }

    /// Runs a task to its end.
    pub(crate) async fn task(self: &Arc<Self>, request: TaskRequest) -> PlanResult<TaskReply> {
        let plan = self.plan(&request)?;
        let context = (self.contexts)(&request.settings)?;
        self.stores.apply(request.stores.clone());
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
            plan: &plan,
            request: &request,
            context: &context,
            written: &written,
        };
        let rows = pipe.rows(stage)?;
        let splits = plan.splits(stage, &request.source_shards);
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
            rows: (0..splits).map(|partition| index.rows(partition)).collect(),
            bytes: index.bytes(),
            written: std::mem::take(&mut *written.lock()),
        };
        self.store.put(&at, path, index);
        Ok(reply)
    }

    /// The plan of the task's run: the func is called when this is its first task here.
    fn plan(&self, request: &TaskRequest) -> Result<Arc<Plan>> {
        let known = self.plans.lock().iter().find(|(run, _)| *run == request.run).cloned();
        if let Some((_, plan)) = known {
            return Ok(plan);
        }
        let Some(call) = &request.call else {
            return Err(Error::query(
                "a slice that was not built by a func is in its process alone",
            ));
        };
        if registry().digest() != request.registry {
            return Err(Error::FuncsDiffer { theirs: first_lines() });
        }
        let built = catch_unwind(AssertUnwindSafe(|| registry().build(call)));
        let built = built.map_err(|panic| {
            Error::query(format!(
                "the func \"{}\" panicked: {}",
                call.name,
                panic_text(panic.as_ref())
            ))
        })??;
        if built.steps != request.steps {
            return Err(Error::query(format!(
                "the func \"{}\" built another slice on this machine than on the driver: {}; a func \
                 may depend on nothing but its arguments",
                call.name,
                request.steps.difference(&built.steps)
            )));
        }
        let plan = Arc::new(Plan::of(built));
        self.know(request.run, Arc::clone(&plan));
        Ok(plan)
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
    Error::Source { message: error.to_string(), hint: None }.into()
}

#[async_trait]
impl TaskHost for Shared {
    async fn run(&self, request: Bytes) -> PlanResult<Bytes> {
        let request: TaskRequest = decode(&request)?;
        let reply = self.0.task(request).await.map_err(to_travel)?;
        Ok(encode(&reply)?)
    }

    fn read(&self, ticket: Bytes) -> PlanResult<BoxStream<'static, PlanResult<Block>>> {
        let (at, partition): (StoredAt, u64) = decode(&ticket)?;
        let partition = usize::try_from(partition).unwrap_or(usize::MAX);
        let stored = self.0.store.get(&at).and_then(|stored| stored.blocks(&at, partition));
        let blocks = stored.map_err(|e| to_travel(e.into()))?;
        let blocks = blocks.map(|block| match block {
            Ok((bytes, crc)) => Ok(Block { bytes, crc }),
            Err(e) => Err(to_travel(e.into())),
        });
        Ok(futures::stream::iter(blocks).boxed())
    }

    async fn discard(&self, request: Bytes) -> PlanResult<()> {
        let run: RunId = decode(&request)?;
        self.0.forget(run);
        Ok(())
    }
}

/// The funcs of this program, as many as fit into an error.
fn first_lines() -> Vec<String> {
    let mut room = APP_PAYLOAD_BYTES_MAX / 2;
    let mut lines = registry().lines();
    let fitting = lines.iter().take_while(|line| {
        room = room.saturating_sub(line.len() + 8);
        room > 0
    });
    lines.truncate(fitting.count());
    lines
}

/// A host as Flight calls it.
pub(crate) struct Shared(pub(crate) Arc<Host>);

/// An error in the form that keeps its kind on the way to the driver.
fn to_travel(error: DataFusionError) -> DataFusionError {
    match crate::words::find::<Error>(&error) {
        Some(ours) => match encode(ours) {
            Ok(payload) if payload.len() <= APP_PAYLOAD_BYTES_MAX => {
                bigslice_flight::Error::App { text: ours.to_string(), payload }.into()
            }
            _ => DataFusionError::Execution(ours.to_string()),
        },
        None => error,
    }
}
