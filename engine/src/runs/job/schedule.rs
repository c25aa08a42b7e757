//! Which tasks of a job may start, and what becomes undone when a machine is lost. Plain state, no I/O:
//! events go in, tasks to start come out.
//!
//! ```text
//!          start                   done
//!  waiting ─────► running(machine) ─────► done(machine)
//!     ▲               │ lost                  │ its machine is lost, or its shard cannot be read,
//!     └───────────────┴───────────────────────┘ and somebody still needs it
//! ```

mod settle;
#[cfg(test)]
mod tests;

use crate::base::wire::{RunId, StoredAt};
use crate::metrics::Metrics;
use crate::runs::task::{StageId, StoredSize};
pub(crate) use settle::Repeats;

/// How often in a row a task may be lost: whatever kills it five times kills it again.
pub(crate) const LOSSES_MAX: u32 = 5;

/// One task of one stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TaskId {
    pub(crate) stage: StageId,
    pub(crate) task: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Waiting,
    Running,
    Done(StoredAt),
}

#[derive(Debug, Clone)]
struct Task {
    state: State,
    /// How often it was begun: attempts never share a file.
    attempts: u32,
    /// How often in a row it was lost.
    losses: u32,
    /// How often it found what one attempt or another of these tasks has stored unreadable, since it was last
    /// done. Each is counted by itself: many may be damaged at once, and are found one by one.
    unreadable: Vec<(Source, u32)>,
    /// Whether somebody may have read, or said, what an attempt has stored.
    given_out: bool,
    /// What the attempt that was done last has counted.
    metrics: Metrics,
    /// How much it has stored.
    size: StoredSize,
}

/// A task of this job or of another.
type Source = (RunId, u32, u32);

#[derive(Debug)]
struct Stage {
    inputs: Vec<StageId>,
    repeats: Repeats,
    tasks: Vec<Task>,
}

impl Stage {
    fn is_done(&self) -> bool {
        self.tasks.iter().all(|task| matches!(task.state, State::Done(_)))
    }
}

/// The tasks of a job.
#[derive(Debug)]
pub(crate) struct Schedule {
    stages: Vec<Stage>,
    /// How often something that was done became undone.
    changes: u64,
    /// How often the result became another one.
    generation: u64,
}

impl Schedule {
    /// Of stages in an order in which inputs come first: what each reads, how many tasks it has, and how it
    /// comes out when it is computed again.
    pub(crate) fn new(stages: impl IntoIterator<Item = (Vec<StageId>, usize, Repeats)>) -> Self {
        let (state, metrics) = (State::Waiting, Metrics::default());
        let waiting = Task {
            state,
            attempts: 0,
            losses: 0,
            unreadable: Vec::new(),
            given_out: false,
            metrics,
            size: StoredSize::default(),
        };
        let stages = stages.into_iter().map(|(inputs, tasks, repeats)| {
            let tasks = vec![waiting.clone(); tasks];
            Stage { inputs, repeats, tasks }
        });
        Self { stages: stages.collect(), changes: 0, generation: 0 }
    }

    /// The stage whose output is the result.
    fn root(&self) -> StageId {
        StageId(self.stages.len() - 1)
    }

    /// No task runs any more.
    pub(crate) fn restart(&mut self) {
        for task in self.stages.iter_mut().flat_map(|stage| &mut stage.tasks) {
            if task.state == State::Running {
                task.state = State::Waiting;
            }
        }
    }

    /// Whether the whole result is there.
    pub(crate) fn is_done(&self) -> bool {
        self.stages.is_empty() || self.stored(self.root()).is_some()
    }

    /// The tasks that may start now, inputs first.
    pub(crate) fn ready(&self) -> Vec<TaskId> {
        let mut ready = Vec::new();
        for (id, needed) in self.needed().into_iter().enumerate() {
            let stage = &self.stages[id];
            if needed && stage.inputs.iter().all(|input| self.stages[input.0].is_done()) {
                let waiting = stage.tasks.iter().enumerate();
                let waiting = waiting.filter(|(_, task)| task.state == State::Waiting);
                ready.extend(waiting.map(|(task, _)| TaskId { stage: StageId(id), task }));
            }
        }
        ready
    }

    /// Which stages have something to compute that is needed.
    fn needed(&self) -> Vec<bool> {
        let mut needed = vec![false; self.stages.len()];
        if let Some(last) = needed.last_mut() {
            *last = true;
        }
        // From the result backwards: a stage is needed if one that is has tasks that are not done.
        for (id, stage) in self.stages.iter().enumerate().rev() {
            needed[id] &= !stage.is_done();
            if needed[id] {
                stage.inputs.iter().for_each(|input| needed[input.0] = true);
            }
        }
        needed
    }

    /// A task begins: the number of this attempt.
    pub(crate) fn started(&mut self, id: TaskId) -> u32 {
        let task = self.task(id);
        task.state = State::Running;
        task.attempts += 1;
        task.attempts
    }

    /// A task has stored so many rows. What it has counted takes the place of what an attempt before it has.
    pub(crate) fn finished(
        &mut self,
        id: TaskId,
        at: StoredAt,
        size: StoredSize,
        metrics: Metrics,
    ) {
        let task = self.task(id);
        task.state = State::Done(at);
        task.given_out = true;
        task.size = size;
        task.metrics = metrics;
        task.losses = 0;
        task.unreadable.clear();
    }

    /// A running task was lost; how often in a row.
    pub(crate) fn lost(&mut self, id: TaskId) -> u32 {
        let task = self.task(id);
        task.state = State::Waiting;
        task.losses += 1;
        task.losses
    }

    /// A running task could not read what was stored there; how often it could not read that task's in a row.
    pub(crate) fn input_lost(&mut self, id: TaskId, at: &StoredAt) -> u32 {
        let task = self.task(id);
        task.state = State::Waiting;
        let source = (at.run, at.stage, at.task);
        let found = task.unreadable.iter().position(|(of, _)| *of == source);
        let found = found.unwrap_or_else(|| {
            task.unreadable.push((source, 0));
            task.unreadable.len() - 1
        });
        let (_, times) = &mut task.unreadable[found];
        *times += 1;
        *times
    }

    /// What was stored on machines other than these is gone.
    pub(crate) fn keep_only(&mut self, machines: &[String]) {
        let is_gone = |machine: &String| !machines.contains(machine);
        for task in self.stages.iter_mut().flat_map(|stage| &mut stage.tasks) {
            if matches!(&task.state, State::Done(at) if at.machine.as_ref().is_some_and(is_gone)) {
                task.state = State::Waiting;
                self.changes += 1;
            }
        }
    }

    /// What one attempt has stored cannot be read. Only the last attempt counts.
    pub(crate) fn output_lost(&mut self, id: TaskId, attempt: u32) {
        let stage = self.stages.get_mut(id.stage.0);
        if let Some(task) = stage.and_then(|stage| stage.tasks.get_mut(id.task))
            && matches!(&task.state, State::Done(at) if at.attempt == attempt)
        {
            task.state = State::Waiting;
            self.changes += 1;
        }
    }

    /// Nothing of what was stored is there any more.
    pub(crate) fn discard(&mut self) {
        for task in self.stages.iter_mut().flat_map(|stage| &mut stage.tasks) {
            if matches!(task.state, State::Done(_)) {
                task.state = State::Waiting;
                self.changes += 1;
            }
        }
    }

    /// Where the output of each task of a stage is, once all are done.
    pub(crate) fn stored(&self, stage: StageId) -> Option<Vec<StoredAt>> {
        let tasks = self.stages.get(stage.0)?.tasks.iter();
        tasks
            .map(|task| match &task.state {
                State::Done(at) => Some(at.clone()),
                State::Waiting | State::Running => None,
            })
            .collect()
    }

    /// How much each task of a stage has stored, of those that are done.
    pub(crate) fn sizes(&self, stage: StageId) -> Vec<StoredSize> {
        let tasks = self.stages.get(stage.0).map_or(&[][..], |stage| &stage.tasks);
        tasks.iter().map(|task| task.size).collect()
    }

    /// Another number whenever something that was done became undone: until then what a complete stage has
    /// stored stays where it is.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// How many tasks were begun, those begun again included.
    pub(crate) fn attempts(&self) -> u64 {
        let tasks = self.stages.iter().flat_map(|stage| &stage.tasks);
        tasks.map(|task| u64::from(task.attempts)).sum()
    }

    /// What all tasks together have counted, each of them once.
    pub(crate) fn metrics(&self) -> Metrics {
        let mut all = Metrics::default();
        let tasks = self.stages.iter().flat_map(|stage| &stage.tasks);
        tasks.for_each(|task| all.merge(&task.metrics));
        all
    }

    fn task(&mut self, id: TaskId) -> &mut Task {
        &mut self.stages[id.stage.0].tasks[id.task]
    }
}
