//! Evaluates a job: starts what its [`Schedule`] says may start, where the [`Crew`] has room, and tells it
//! what happened, until the result is there.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use bigslice_cluster::{LogLine, LogSource};
use tokio::task::{AbortHandle, JoinSet};

use crate::error::{Error, Result};
use crate::func::{Call, registry};
use crate::job::Runs;
use crate::job::crew::{self, Crew, Place, Trouble};
use crate::job::schedule::{LOSSES_MAX, Schedule, TaskId};
use crate::session::Inner;
use crate::settings;
use crate::slice::Resolving;
use crate::source::WorkerStores;
use crate::task::{Plan, RunId, Spec, StageId, StoredAt, TaskReply, TaskRequest};

/// A run of a slice: its plan, and what of it is done. Dropping it forgets what it has stored.
pub(crate) struct Job {
    id: RunId,
    /// Not held: a table of the session may hold its run.
    session: Weak<Inner>,
    plan: Arc<Plan>,
    call: Option<Call>,
    /// How to open each shard of each source.
    sources: Vec<SourceShards>,
    source_shards: Vec<u32>,
    progress: tokio::sync::Mutex<Schedule>,
}

/// The shards of a source.
enum SourceShards {
    Open(Vec<Arc<[u8]>>),
    /// Those of another run, which is held meanwhile.
    Run(Arc<Job>),
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job")
            .field("id", &self.id)
            .field("call", &self.call)
            .finish_non_exhaustive()
    }
}

type Ended = (TaskId, u32, Place, Result<TaskReply, Trouble>);

/// What every task of an evaluation is told.
struct Given {
    stores: WorkerStores,
    /// Where the shards of the sources are that are other runs.
    sources: HashMap<usize, Vec<StoredAt>>,
}

/// The tasks that run, and which is which.
#[derive(Default)]
struct Running {
    tasks: JoinSet<Ended>,
    handles: HashMap<TaskId, (AbortHandle, Place)>,
    crew: Crew,
}

impl Job {
    /// Finds the shards of the sources. Nothing runs yet.
    pub(crate) async fn new(
        session: &Arc<Inner>,
        plan: Plan,
        call: Option<Call>,
    ) -> Result<Arc<Self>> {
        let resolving = Resolving { session: Arc::clone(session), slots: Crew::slots(session) };
        let mut sources = Vec::new();
        let mut source_shards = Vec::new();
        for source in &plan.sources {
            let found = source.shards(&resolving).await?;
            source_shards.push(u32::try_from(found.len()).unwrap_or(u32::MAX));
            sources.push(match source.run() {
                Some(run) => SourceShards::Run(session.runs.find(run)?),
                None => SourceShards::Open(found),
            });
        }
        let stages = (0..plan.stages.len()).map(|id| {
            let inputs = plan.stages[id].inputs.clone();
            (inputs, plan.tasks(StageId(id), &source_shards))
        });
        let schedule = Schedule::new(stages);
        let plan = Arc::new(plan);
        let id = Runs::number();
        session.host.know(id, Arc::clone(&plan));
        let job = Arc::new(Self {
            id,
            session: Arc::downgrade(session),
            plan,
            call,
            sources,
            source_shards,
            progress: tokio::sync::Mutex::new(schedule),
        });
        session.runs.enter(&job);
        Ok(job)
    }

    pub(crate) fn id(&self) -> RunId {
        self.id
    }

    /// The session, unless it is gone.
    pub(crate) fn session(&self) -> Result<Arc<Inner>> {
        self.session.upgrade().ok_or(Error::Closed)
    }

    /// How many shards the result has.
    pub(crate) fn shards(&self) -> usize {
        self.plan.tasks(self.plan.root(), &self.source_shards)
    }

    /// How many tasks were begun so far, those that were lost included.
    pub(crate) async fn attempts(&self) -> u64 {
        self.progress.lock().await.attempts()
    }

    /// Has computed whatever of the result is not there; says where each shard is.
    ///
    /// Takes no place among the session's queries: one of them may be what asks for the result.
    pub(crate) async fn ensure(&self) -> Result<Vec<StoredAt>> {
        let session = self.session()?;
        let stored = self.computed(&session).await;
        if session.queries.is_closed() { Err(Error::Closed) } else { stored }
    }

    /// [`ensure`](Self::ensure), in a session that is there.
    async fn computed(&self, session: &Arc<Inner>) -> Result<Vec<StoredAt>> {
        let mut schedule = self.progress.lock().await;
        forget_lost_machines(session, &mut schedule);
        if !schedule.is_done() {
            self.evaluate(session, &mut schedule).await?;
        }
        schedule.stored(self.plan.root()).ok_or_else(|| Error::internal("a run without a result"))
    }

    /// Where the shards of each source are that is another run; what of it was lost is made again.
    async fn sources(&self, session: &Arc<Inner>) -> Result<HashMap<usize, Vec<StoredAt>>> {
        let mut stored = HashMap::new();
        for (id, source) in self.sources.iter().enumerate() {
            if let SourceShards::Run(job) = source {
                stored.insert(id, Box::pin(job.computed(session)).await?);
            }
        }
        Ok(stored)
    }

    /// One shard of the result could not be read: it is made again by the next
    /// [`ensure`](Self::ensure).
    pub(crate) async fn shard_lost(&self, shard: usize, at: &StoredAt) {
        let mut schedule = self.progress.lock().await;
        schedule.output_lost(TaskId { stage: self.plan.root(), task: shard }, at.attempt);
    }

    async fn evaluate(&self, session: &Arc<Inner>, schedule: &mut Schedule) -> Result<()> {
        // Whoever evaluated before and was dropped has left tasks that nobody waits for.
        schedule.restart();
        let mut running = Running::default();
        let mut losses = session.fleet.as_ref().map(bigslice_cluster::Fleet::losses);
        let mut given = Given {
            stores: session.stores.for_workers().await.map_err(|e| Error::of(&e, ""))?,
            sources: self.sources(session).await?,
        };
        loop {
            crew::wait_for_machines(session).await?;
            self.start_ready(session, schedule, &mut running, &given)?;
            if schedule.is_done() {
                return Ok(());
            }
            let ended = tokio::select! {
                ended = running.tasks.join_next() => ended,
                () = changed(&mut losses) => {
                    self.drop_lost_machines(session, schedule, &mut running)?;
                    given.sources = self.sources(session).await?;
                    continue;
                }
            };
            match ended {
                Some(Ok((id, attempt, place, outcome))) => {
                    running.handles.remove(&id);
                    running.crew.end(&place);
                    if let Some(lost) =
                        self.ended(session, schedule, id, attempt, &place, outcome)?
                    {
                        self.source_lost(&lost).await;
                        given.sources = self.sources(session).await?;
                    }
                }
                // Aborted because its machine was lost, which is accounted for.
                Some(Err(join)) if join.is_cancelled() => {}
                Some(Err(join)) => {
                    return Err(Error::internal(format!("the sender of a task: {join}")));
                }
                // Everything waits for a machine.
                None => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
            }
        }
    }

    fn start_ready(
        &self,
        session: &Arc<Inner>,
        schedule: &mut Schedule,
        running: &mut Running,
        given: &Given,
    ) -> Result<()> {
        for id in schedule.ready() {
            let Some(place) = running.crew.free(session) else { break };
            let attempt = schedule.started(id);
            let request = self.request(session, schedule, id, attempt, given)?;
            let (of, at) = (Arc::downgrade(session), place.clone());
            let handle = running.tasks.spawn_on(
                async move {
                    let outcome = crew::run(&of, &at, request).await;
                    (id, attempt, at, outcome)
                },
                session.cpu.handle(),
            );
            running.crew.begin(&place);
            running.handles.insert(id, (handle, place));
        }
        Ok(())
    }

    fn request(
        &self,
        session: &Inner,
        schedule: &Schedule,
        id: TaskId,
        attempt: u32,
        given: &Given,
    ) -> Result<TaskRequest> {
        let stage = &self.plan.stages[id.stage.0];
        let mut sources = Vec::new();
        for source in &stage.sources {
            for shard in self.plan.shards_read(stage, id.task, *source, &self.source_shards) {
                let spec = match &self.sources[*source] {
                    SourceShards::Open(specs) => Spec::Open(Arc::clone(&specs[shard])),
                    SourceShards::Run(_) => {
                        let stored = given.sources.get(source).and_then(|run| run.get(shard));
                        let stored = stored.ok_or_else(|| Error::internal("a run has no shard"))?;
                        Spec::Stored(stored.clone())
                    }
                };
                sources.push((number(*source), number(shard), spec));
            }
        }
        let inputs = stage.inputs.iter().map(|input| {
            let stored = schedule.stored(*input);
            let stored = stored.ok_or_else(|| Error::internal("a task before its input"))?;
            Ok((number(input.0), stored))
        });
        let state = session.context.state();
        Ok(TaskRequest {
            run: self.id,
            call: self.call.clone(),
            registry: registry().digest(),
            steps: self.plan.steps.clone(),
            stage: number(id.stage.0),
            task: number(id.task),
            attempt,
            source_shards: self.source_shards.clone(),
            sources,
            inputs: inputs.collect::<Result<_>>()?,
            settings: settings::travelling(state.config_options()),
            stores: given.stores.clone(),
        })
    }

    /// A shard of another run could not be read: it is made again when that run is asked next.
    async fn source_lost(&self, lost: &StoredAt) {
        for source in &self.sources {
            if let SourceShards::Run(job) = source
                && job.id == lost.run
            {
                Box::pin(job.shard_lost(lost.task as usize, lost)).await;
            }
        }
    }

    /// Takes note of how a task ended; the shard of another run that it could not read, if it is that.
    fn ended(
        &self,
        session: &Inner,
        schedule: &mut Schedule,
        id: TaskId,
        attempt: u32,
        place: &Place,
        outcome: Result<TaskReply, Trouble>,
    ) -> Result<Option<StoredAt>> {
        let (stage, task) = (number(id.stage.0), number(id.task));
        match outcome {
            Ok(_) => {
                let machine = place.machine();
                schedule.finished(id, StoredAt { run: self.id, stage, task, attempt, machine });
                Ok(None)
            }
            Err(Trouble::Lost(why)) => {
                forget_lost_machines(session, schedule);
                self.again(session, schedule.lost(id), id, &why)?;
                Ok(None)
            }
            Err(Trouble::Failed(Error::ShardLost { run, stage, task, attempt, reason })) => {
                let losses = schedule.lost(id);
                let why = format!("a stored shard could not be read: {reason}");
                if run != self.id.0 {
                    self.again(session, losses, id, &why)?;
                    let run = RunId(run);
                    return Ok(Some(StoredAt { run, stage, task, attempt, machine: None }));
                }
                let producer = TaskId { stage: StageId(stage as usize), task: task as usize };
                schedule.output_lost(producer, attempt);
                self.again(session, losses, producer, &why)?;
                Ok(None)
            }
            Err(Trouble::Failed(Error::FuncsDiffer { theirs })) => {
                let lines = crate::func::difference(&registry().lines(), &theirs);
                Err(Error::query(format!(
                    "the funcs of this program (-) are not those of the machine's (+):\n{lines}"
                )))
            }
            Err(Trouble::Failed(error)) => Err(error),
        }
    }

    /// A task is tried again, unless it was lost too often.
    fn again(&self, session: &Inner, losses: u32, id: TaskId, why: &str) -> Result<()> {
        let node = &self.plan.stages[id.stage.0].node;
        let what = format!("shard {} of {} at {}", id.task, node.verb, node.place);
        if losses >= LOSSES_MAX {
            let message = format!("{why}; {what} was lost {losses} times in a row");
            return Err(Error::Lost { message, hint: None });
        }
        let text = format!("{why}; computing {what} again");
        (session.config.log)(LogLine { machine: None, source: LogSource::Fleet, text });
        Ok(())
    }

    /// Machines were lost: what ran there is begun again, what was stored there is not there.
    fn drop_lost_machines(
        &self,
        session: &Inner,
        schedule: &mut Schedule,
        running: &mut Running,
    ) -> Result<()> {
        let Some(fleet) = &session.fleet else { return Ok(()) };
        forget_lost_machines(session, schedule);
        let alive = fleet.urls();
        let gone: Vec<TaskId> = running
            .handles
            .iter()
            .filter(|(_, (_, place))| match place {
                Place::Here => false,
                Place::Machine(_, url) => !alive.contains(url),
            })
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            if let Some((handle, place)) = running.handles.remove(&id) {
                handle.abort();
                running.crew.end(&place);
                let Place::Machine(name, _) = &place else { continue };
                self.again(
                    session,
                    schedule.lost(id),
                    id,
                    &format!("machine \"{name}\" was lost"),
                )?;
            }
        }
        Ok(())
    }
}

/// What was stored on machines that are gone is not there.
fn forget_lost_machines(session: &Inner, schedule: &mut Schedule) {
    let Some(fleet) = &session.fleet else { return };
    let alive: Vec<String> = fleet.urls().iter().map(ToString::to_string).collect();
    schedule.keep_only(&alive);
}

/// Returns when a machine was lost.
async fn changed(losses: &mut Option<tokio::sync::watch::Receiver<u64>>) {
    let changed = match losses {
        Some(losses) => losses.changed().await.is_ok(),
        None => false,
    };
    if !changed {
        std::future::pending().await
    }
}

/// A number of a stage, task or source: none comes near the limit.
fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

impl Drop for Job {
    /// Nobody can ask for the result any more.
    fn drop(&mut self) {
        let Some(session) = self.session.upgrade() else { return };
        session.host.forget(self.id);
        let (Some(channels), Some(fleet)) = (&session.channels, &session.fleet) else { return };
        let Ok(request) = crate::task::encode(&self.id) else { return };
        let (channels, urls) = (channels.clone(), fleet.urls());
        // It outlives nobody: it ends with the session's threads, and the shards with the machines.
        drop(session.cpu.handle().spawn(async move {
            for url in urls {
                if let Err(error) = channels.discard_shards(&url, request.clone()).await {
                    tracing::debug!(%error, %url, "could not discard a run's shards");
                }
            }
        }));
    }
}
