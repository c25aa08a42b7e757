//! Evaluates a job, to compute the missing shards of its result: a [`Workload`] of the tasks that
//! its [`Schedule`] says may start.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use datafusion::common::runtime::SpawnedTask;
use futures::future::BoxFuture;

use crate::base::recovery::{self, TaskFailure};
use crate::base::settings;
use crate::base::wire::{StoredAt, number};
use crate::error::{Error, Result};
use crate::pipeline::func::registry;
use crate::runs::job::TaskRunner;
use crate::runs::job::computation::{Computation, SourceShards};
use crate::runs::job::dispatch;
use crate::runs::job::inputs::EvaluationInputs;
use crate::runs::job::job::{Job, Outcome, forget_lost_machines};
use crate::runs::job::schedule::{Schedule, TaskId};
use crate::runs::job::scheduler::{self, Pool, Workload};
use crate::runs::job::slots::{SlotAllocator, SlotGuard};
use crate::runs::task::{ShardSource, StageId, StageInputs, TaskReply, TaskRequest};

/// One attempt of a task.
type Attempt = (TaskId, u32);

/// The tasks of a job that have to run.
struct Evaluation<'a> {
    job: &'a Job,
    session: &'a Arc<TaskRunner>,
    schedule: &'a mut Schedule,
    inputs: EvaluationInputs,
}

impl Job {
    /// Computes the missing shards of the result; returns where all shards are.
    ///
    /// Does not count as a running query of the session: the caller may be one.
    pub(crate) async fn ensure(&self) -> Result<Outcome> {
        let session = self.session()?;
        let stored = self.computed(&session).await;
        if session.queries.is_closed() { Err(Error::Closed) } else { stored }
    }

    /// [`ensure`](Self::ensure), with the session at hand.
    async fn computed(&self, session: &Arc<TaskRunner>) -> Result<Outcome> {
        let mut schedule = self.progress.lock().await;
        forget_lost_machines(session, &mut schedule);
        // Also when all tasks are done: the files of sinks may have been rolled back since.
        self.computation().writes.begin(&session.stores).await?;
        if !schedule.is_done() {
            let done = self.evaluate(session, &mut schedule).await;
            let done = done.and_then(|()| match session.queries.is_closed() {
                true => Err(Error::Closed),
                false => Ok(()),
            });
            match done {
                Ok(()) => self.computation().writes.commit().await?,
                Err(error) => {
                    self.computation().writes.rollback().await;
                    return Err(error);
                }
            }
        }
        let outcome = self.outcome(&schedule);
        let outcome = outcome.ok_or_else(|| Error::internal("a run without a result"))?;
        // Shards of other stages are needed again only if a shard of the result is lost.
        let has_result =
            |url: &String| outcome.stored.iter().any(|at| at.machine.as_ref() == Some(url));
        self.holds.lock().retain(|url, _| has_result(url));
        Ok(outcome)
    }

    /// Runs the tasks whose shards are missing.
    async fn evaluate(&self, session: &Arc<TaskRunner>, schedule: &mut Schedule) -> Result<()> {
        // An earlier evaluation that was dropped has aborted its tasks.
        schedule.restart();
        let inputs = EvaluationInputs::new(session, computed_apart).await?;
        let mut evaluation = Evaluation { job: self, session, schedule, inputs };
        scheduler::drive(&session.driver, &mut evaluation).await
    }
}

impl Workload for Evaluation<'_> {
    type Id = Attempt;
    type Reply = TaskReply;
    type Stop = Error;

    async fn slots_wanted(&mut self, pool: &Pool<Attempt, TaskReply>) -> Result<usize> {
        if !pool.is_elastic() {
            return Ok(0);
        }
        let most = SlotAllocator::per_target(self.session);
        let stages = &self.job.computation().plan.stages;
        let ready = self.schedule.ready();
        let ready = ready.iter().map(|id| stages[id.stage.0].pragmas.slots(most));
        Ok(pool.slots_in_use() + ready.sum::<usize>())
    }

    async fn start(&mut self, pool: &mut Pool<Attempt, TaskReply>) -> Result<()> {
        self.settle(pool, &[]);
        while let Some(changed) = self.inputs.find(self.session, self.job, self.schedule).await? {
            self.settle(pool, &changed);
        }
        let mut free = pool.free();
        for id in self.schedule.ready() {
            if free.is_empty() {
                break;
            }
            let needed = free.needed(self.job.computation().plan.stages[id.stage.0].pragmas);
            if let Some(slots) = free.take(needed) {
                self.spawn(pool, id, slots)?;
            }
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.schedule.is_done()
    }

    async fn ended(
        &mut self,
        id: Attempt,
        slots: SlotGuard,
        outcome: Result<TaskReply, TaskFailure>,
    ) -> Result<()> {
        let machine = slots.target().machine();
        if let (Some(url), Some(hold)) = (&machine, slots.hold()) {
            self.job.holds.lock().entry(url.clone()).or_insert(hold);
        }
        match outcome {
            Ok(reply) => self.finished(id, machine, reply),
            Err(TaskFailure::Lost(why)) => {
                forget_lost_machines(self.session, self.schedule);
                self.lost(id, &why).await
            }
            Err(TaskFailure::ShardLost(at, reason)) => self.shard_lost(id, &at, &reason).await,
            Err(TaskFailure::FuncsDiffer(theirs)) => {
                let lines = crate::pipeline::func::difference(&registry().lines(), &theirs);
                Err(Error::query(format!(
                    "the funcs of this program (-) are not those of the machine's (+):\n{lines}"
                )))
            }
            Err(TaskFailure::Failed(error)) => Err(error),
        }
    }

    fn machines_lost(&mut self) {
        forget_lost_machines(self.session, self.schedule);
        self.inputs.ask_again();
    }

    async fn lost(&mut self, (id, _): Attempt, why: &str) -> Result<()> {
        let losses = self.schedule.lost(id);
        self.retry(id, why, losses)
    }

    async fn stop(&mut self, error: Error) -> Error {
        error
    }
}

impl Evaluation<'_> {
    /// Undoes what does not match what is going to be computed. `changed` are the stages that read
    /// a run whose result has changed.
    fn settle(&mut self, pool: &mut Pool<Attempt, TaskReply>, changed: &[StageId]) {
        let undone = self.schedule.settle(changed);
        if !undone.is_empty() {
            pool.abort(|(id, _)| undone.contains(id));
        }
    }

    /// Starts the next attempt of a task.
    fn spawn(
        &mut self,
        pool: &mut Pool<Attempt, TaskReply>,
        id: TaskId,
        slots: SlotGuard,
    ) -> Result<()> {
        let attempt = self.schedule.started(id);
        let mut request = self.request(id, attempt)?;
        let Computation { plan, writes, .. } = self.job.computation();
        let source_shards = self.job.computation().source_shards();
        let sinks = plan.sinks_of(&plan.stages[id.stage.0], id.task, source_shards)?;
        let (session, target) = (Arc::downgrade(self.session), slots.target().clone());
        let writes = Arc::clone(writes);
        pool.spawn((id, attempt), slots, async move {
            match writes.open(&sinks).await {
                Ok(opened) => {
                    request.sinks = opened;
                    dispatch::run(&session, &target, request).await
                }
                Err(error) => Err(TaskFailure::Failed(error.into())),
            }
        });
        Ok(())
    }

    fn request(&mut self, id: TaskId, attempt: u32) -> Result<TaskRequest> {
        let Computation { plan, sources: opened, spec, .. } = self.job.computation();
        let source_shards = self.job.computation().source_shards();
        let stage = &plan.stages[id.stage.0];
        let mut sources = Vec::new();
        for source in &stage.sources {
            for shard in plan.shards_read(stage, id.task, *source, source_shards) {
                let how = match &opened[*source] {
                    SourceShards::Open(specs) => ShardSource::Open(Arc::clone(&specs[shard])),
                    SourceShards::Run(_) => {
                        ShardSource::Stored(self.inputs.stored(*source, shard)?)
                    }
                };
                sources.push((number(*source, "sources")?, number(shard, "shards")?, how));
            }
        }
        let (version, inputs) = self.stage_inputs(id.stage)?;
        Ok(TaskRequest {
            run: self.job.files(),
            stage: number(id.stage.0, "stages")?,
            task: number(id.task, "tasks")?,
            attempt,
            sources,
            sinks: Vec::new(),
            version,
            inputs: Some(inputs),
            spec: Some(Arc::clone(spec)),
            plan: Some(Arc::clone(plan)),
        })
    }

    /// The inputs that all tasks of a stage share, and their version.
    fn stage_inputs(&mut self, id: StageId) -> Result<(u64, Arc<StageInputs>)> {
        let changes = self.schedule.changes();
        if let Some((as_of, version, inputs)) = self.inputs.by_stage.get(&id)
            && *as_of == changes
        {
            return Ok((*version, Arc::clone(inputs)));
        }
        let stages = self.job.computation().plan.stages[id.0].inputs.iter().map(|input| {
            let stored = self.schedule.stored(*input);
            let stored = stored.ok_or_else(|| Error::internal("a task before its input"))?;
            Ok((number(input.0, "stages")?, stored))
        });
        let inputs = Arc::new(StageInputs {
            stages: stages.collect::<Result<_>>()?,
            settings: settings::travelling(self.session.context.state().config_options()),
            stores: self.inputs.stores.clone(),
        });
        let version = self.job.version.fetch_add(1, Ordering::Relaxed);
        self.inputs.by_stage.insert(id, (changes, version, Arc::clone(&inputs)));
        Ok((version, inputs))
    }

    fn finished(
        &mut self,
        (id, attempt): Attempt,
        machine: Option<String>,
        reply: TaskReply,
    ) -> Result<()> {
        self.job.computation().writes.take(reply.written);
        let (stage, task) = (number(id.stage.0, "stages")?, number(id.task, "tasks")?);
        let at = StoredAt { run: self.job.files(), stage, task, attempt, machine };
        self.schedule.finished(id, at, reply.size, reply.metrics);
        Ok(())
    }

    /// A task could not read a stored shard, of this run or of another: that shard is computed
    /// again.
    async fn shard_lost(&mut self, (id, _): Attempt, at: &StoredAt, reason: &str) -> Result<()> {
        let losses = self.schedule.input_lost(id, at);
        let why = recovery::unreadable(reason);
        if at.run != self.job.files() {
            self.retry(id, &why, losses)?;
            self.inputs.lost(at).await;
            return Ok(());
        }
        let (stage, task) = (StageId(at.stage as usize), at.task as usize);
        let producer = TaskId { stage, task };
        self.schedule.output_lost(producer, at.attempt);
        self.retry(producer, &why, losses)
    }

    fn retry(&self, id: TaskId, why: &str, losses: u32) -> Result<()> {
        let node = &self.job.computation().plan.stages[id.stage.0].node;
        let what = format!("shard {} of {} at {}", id.task, node.verb, node.place);
        scheduler::retry(self.session, why, &what, losses)
    }
}

/// Computes the result of a run on a task of its own, which is aborted with its caller: the stack
/// does not get deeper when a long chain of runs is computed again.
fn computed_apart(
    job: &Arc<Job>,
    session: &Arc<TaskRunner>,
) -> BoxFuture<'static, Result<Outcome>> {
    let (job, session) = (Arc::clone(job), Arc::clone(session));
    Box::pin(async move {
        let done = SpawnedTask::spawn(async move { job.computed(&session).await }).await;
        done.map_err(|e| Error::internal(format!("computing a run again: {e}")))?
    })
}
