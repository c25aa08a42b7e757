//! Evaluates a job: starts what its [`Schedule`] says may start, where the [`Crew`] has room, and tells it
//! what happened, until the result is there.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bigslice_cluster::{Demand, Fleet, LogLine};
use tokio::task::{AbortHandle, JoinSet};

use crate::base::machines;
use crate::base::settings;
use crate::base::wire::{StoredAt, number};
use crate::error::{Error, Result};
use crate::pipeline::func::registry;
use crate::runs::job::Runner;
use crate::runs::job::crew::{self, Crew, Place, Seat, Trouble};
use crate::runs::job::given::Given;
use crate::runs::job::recipe::{Recipe, SourceShards};
use crate::runs::job::result::Job;
use crate::runs::job::schedule::{LOSSES_MAX, Schedule, TaskId};
use crate::runs::task::{Inputs, Spec, StageId, TaskReply, TaskRequest};

type Ended = (TaskId, u32, Place, Result<TaskReply, Trouble>);

/// The tasks that run, and which is which.
#[derive(Default)]
struct Running {
    tasks: JoinSet<Ended>,
    /// By task and attempt.
    handles: HashMap<(TaskId, u32), (AbortHandle, Seat)>,
    crew: Crew,
}

impl Job {
    /// Computes what is missing.
    pub(super) async fn evaluate(
        &self,
        session: &Arc<Runner>,
        schedule: &mut Schedule,
    ) -> Result<()> {
        // Whoever evaluated before and was dropped has left tasks that nobody waits for.
        schedule.restart();
        let mut running = Running::default();
        let mut losses = session.fleet.as_ref().map(Fleet::losses);
        let mut changes = session.fleet.as_ref().map(Fleet::changes);
        let mut demand = machines::demand(session, 0);
        let mut given = Given::new(session).await?;
        loop {
            self.ask(session, schedule, &running, demand.as_mut());
            machines::wait(session).await?;
            running.stop(&schedule.settle(&[]));
            while let Some(changed) = given.find(session, self, schedule).await? {
                running.stop(&schedule.settle(&changed));
            }
            self.start_ready(session, schedule, &mut running, &mut given)?;
            if schedule.is_done() {
                return Ok(());
            }
            if running.tasks.is_empty() && session.fleet.is_none() {
                return Err(Error::internal("no task of the run can start"));
            }
            // With nothing running, everything waits for a machine: whatever brings one is a change.
            let ended = tokio::select! {
                ended = running.tasks.join_next(), if !running.tasks.is_empty() => ended,
                () = changed(&mut losses) => {
                    self.drop_lost_machines(session, schedule, &mut running)?;
                    given.ask_again();
                    continue;
                }
                // There may be one more to run tasks on.
                () = changed(&mut changes) => continue,
            };
            match ended {
                Some(Ok((id, attempt, place, outcome))) => {
                    // Of one that was stopped when it had just ended nothing is wanted.
                    let Some((_, seat)) = running.handles.remove(&(id, attempt)) else { continue };
                    running.crew.end(&seat);
                    if let (Some(url), Some(hold)) = (seat.place.machine(), seat.hold) {
                        self.holds.lock().entry(url).or_insert(hold);
                    }
                    if let Some(lost) =
                        self.ended(session, schedule, id, attempt, &place, outcome)?
                    {
                        given.lost(&lost).await;
                    }
                }
                // It was stopped, which is accounted for.
                Some(Err(join)) if join.is_cancelled() => {}
                Some(Err(join)) => {
                    return Err(Error::internal(format!("the sender of a task: {join}")));
                }
                None => {}
            }
        }
    }

    /// Asks for as many slots as the tasks take that run or could.
    fn ask(
        &self,
        session: &Runner,
        schedule: &Schedule,
        running: &Running,
        demand: Option<&mut Demand>,
    ) {
        let Some(demand) = demand else { return };
        let most = Crew::slots_each(session);
        let ready = schedule.ready();
        let ready = ready.iter().map(|id| self.recipe.plan.stages[id.stage.0].asks.slots(most));
        let slots = running.handles.values().map(|(_, seat)| seat.slots).chain(ready).sum();
        if slots != demand.slots() {
            demand.set(slots);
        }
    }

    fn start_ready(
        &self,
        session: &Arc<Runner>,
        schedule: &mut Schedule,
        running: &mut Running,
        given: &mut Given,
    ) -> Result<()> {
        let mut room = running.crew.room(session);
        for id in schedule.ready() {
            if room.is_full() {
                break;
            }
            let slots = room.slots(self.recipe.plan.stages[id.stage.0].asks);
            let Some(seat) = room.take(slots) else { continue };
            let place = seat.place.clone();
            let attempt = schedule.started(id);
            let mut request = self.request(session, schedule, id, attempt, given)?;
            let (of, at) = (Arc::downgrade(session), place.clone());
            let Recipe { plan, .. } = &*self.recipe;
            let sinks =
                plan.sinks_of(&plan.stages[id.stage.0], id.task, self.recipe.source_shards())?;
            let writes = Arc::clone(&self.recipe.writes);
            let handle = running.tasks.spawn_on(
                async move {
                    let outcome = match writes.open(&sinks).await {
                        Ok(opened) => {
                            request.sinks = opened;
                            crew::run(&of, &at, request).await
                        }
                        Err(error) => Err(Trouble::Failed(error.into())),
                    };
                    (id, attempt, at, outcome)
                },
                session.cpu.handle(),
            );
            running.crew.begin(&seat);
            running.handles.insert((id, attempt), (handle, seat));
        }
        Ok(())
    }

    fn request(
        &self,
        session: &Runner,
        schedule: &Schedule,
        id: TaskId,
        attempt: u32,
        given: &mut Given,
    ) -> Result<TaskRequest> {
        let Recipe { plan, sources: opened, .. } = &*self.recipe;
        let stage = &plan.stages[id.stage.0];
        let mut sources = Vec::new();
        for source in &stage.sources {
            for shard in plan.shards_read(stage, id.task, *source, self.recipe.source_shards()) {
                let spec = match &opened[*source] {
                    SourceShards::Open(specs) => Spec::Open(Arc::clone(&specs[shard])),
                    SourceShards::Run(_) => Spec::Stored(given.stored(*source, shard)?),
                };
                sources.push((number(*source, "sources")?, number(shard, "shards")?, spec));
            }
        }
        let (version, inputs) = self.inputs(session, schedule, id.stage, given)?;
        Ok(TaskRequest {
            run: self.files(),
            stage: number(id.stage.0, "stages")?,
            task: number(id.task, "tasks")?,
            attempt,
            sources,
            sinks: Vec::new(),
            version,
            inputs: Some(inputs),
            brief: Some(Arc::clone(&self.recipe.brief)),
            plan: Some(Arc::clone(plan)),
        })
    }

    /// What all tasks of a stage are told, and its version.
    fn inputs(
        &self,
        session: &Runner,
        schedule: &Schedule,
        id: StageId,
        given: &mut Given,
    ) -> Result<(u64, Arc<Inputs>)> {
        if let Some((changes, version, inputs)) = given.inputs.get(&id)
            && *changes == schedule.changes()
        {
            return Ok((*version, Arc::clone(inputs)));
        }
        let stages = self.recipe.plan.stages[id.0].inputs.iter().map(|input| {
            let stored = schedule.stored(*input);
            let stored = stored.ok_or_else(|| Error::internal("a task before its input"))?;
            Ok((number(input.0, "stages")?, stored))
        });
        let inputs = Arc::new(Inputs {
            stages: stages.collect::<Result<_>>()?,
            settings: settings::travelling(session.context.state().config_options()),
            stores: given.stores.clone(),
        });
        let version = self.version.fetch_add(1, Ordering::Relaxed);
        given.inputs.insert(id, (schedule.changes(), version, Arc::clone(&inputs)));
        Ok((version, inputs))
    }

    /// Takes note of how a task ended; the shard of another run that it could not read, if it is that.
    fn ended(
        &self,
        session: &Runner,
        schedule: &mut Schedule,
        id: TaskId,
        attempt: u32,
        place: &Place,
        outcome: Result<TaskReply, Trouble>,
    ) -> Result<Option<StoredAt>> {
        let (stage, task) = (number(id.stage.0, "stages")?, number(id.task, "tasks")?);
        match outcome {
            Ok(reply) => {
                self.recipe.writes.take(reply.written);
                let (run, machine) = (self.files(), place.machine());
                let at = StoredAt { run, stage, task, attempt, machine };
                schedule.finished(id, at, reply.size, reply.metrics);
                Ok(None)
            }
            Err(Trouble::Lost(why)) => {
                forget_lost_machines(session, schedule);
                self.again(session, schedule.lost(id), id, &why)?;
                Ok(None)
            }
            Err(Trouble::ShardLost(at, reason)) => {
                let losses = schedule.input_lost(id, &at);
                let why = format!("a stored shard could not be read: {reason}");
                if at.run != self.files() {
                    self.again(session, losses, id, &why)?;
                    return Ok(Some(at));
                }
                let (stage, task) = (StageId(at.stage as usize), at.task as usize);
                let producer = TaskId { stage, task };
                schedule.output_lost(producer, at.attempt);
                self.again(session, losses, producer, &why)?;
                Ok(None)
            }
            Err(Trouble::FuncsDiffer(theirs)) => {
                let lines = crate::pipeline::func::difference(&registry().lines(), &theirs);
                Err(Error::query(format!(
                    "the funcs of this program (-) are not those of the machine's (+):\n{lines}"
                )))
            }
            Err(Trouble::Failed(error)) => Err(error),
        }
    }

    /// A task is tried again, unless it was lost too often.
    fn again(&self, session: &Runner, losses: u32, id: TaskId, why: &str) -> Result<()> {
        let node = &self.recipe.plan.stages[id.stage.0].node;
        let what = format!("shard {} of {} at {}", id.task, node.verb, node.place);
        if losses >= LOSSES_MAX {
            let message = format!("{why}; {what} was lost {losses} times in a row");
            return Err(Error::lost(message));
        }
        let text = format!("{why}; computing {what} again");
        (session.config.log)(LogLine::of_fleet(text));
        Ok(())
    }

    /// Machines were lost: what ran there is begun again, what was stored there is not there.
    fn drop_lost_machines(
        &self,
        session: &Runner,
        schedule: &mut Schedule,
        running: &mut Running,
    ) -> Result<()> {
        let Some(fleet) = &session.fleet else { return Ok(()) };
        forget_lost_machines(session, schedule);
        let alive = fleet.urls();
        let gone = running.take(|_, seat| match &seat.place {
            Place::Here => false,
            Place::Machine(_, url) => !alive.contains(url),
        });
        for (id, seat) in gone {
            let Place::Machine(name, _) = &seat.place else { continue };
            let why = format!("machine \"{name}\" was lost");
            self.again(session, schedule.lost(id), id, &why)?;
        }
        Ok(())
    }
}

impl Running {
    /// Stops those tasks that run of `these`: their rows are not wanted any more.
    fn stop(&mut self, these: &[TaskId]) {
        if !these.is_empty() {
            self.take(|id, _| these.contains(id));
        }
    }

    /// Stops those for which `which` is true: they count no more, whatever becomes of them.
    fn take(&mut self, which: impl Fn(&TaskId, &Seat) -> bool) -> Vec<(TaskId, Seat)> {
        let taken = self.handles.extract_if(|(id, _), (_, seat)| which(id, seat));
        let taken = taken.map(|((id, _), (handle, seat))| {
            handle.abort();
            (id, seat)
        });
        let taken: Vec<_> = taken.collect();
        taken.iter().for_each(|(_, seat)| self.crew.end(seat));
        taken
    }
}

/// What was stored on machines that are gone is not there.
pub(super) fn forget_lost_machines(session: &Runner, schedule: &mut Schedule) {
    let Some(fleet) = &session.fleet else { return };
    let alive: Vec<String> = fleet.urls().iter().map(ToString::to_string).collect();
    schedule.keep_only(&alive);
}

/// Returns when a machine was lost.
pub(super) async fn changed(losses: &mut Option<tokio::sync::watch::Receiver<u64>>) {
    let changed = match losses {
        Some(losses) => losses.changed().await.is_ok(),
        None => false,
    };
    if !changed {
        std::future::pending().await
    }
}
