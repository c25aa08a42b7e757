//! The schedule of a job: which tasks may start, and which must run again when a machine is lost.
//! Plain state without I/O: events go in, tasks to start come out.
//!
//! ```text
//!          start                   done
//!  waiting ─────► running(machine) ─────► done(machine)
//!     ▲               │ lost                  │ its machine is lost, or its shard cannot be read
//!     └───────────────┴───────────────────────┘
//! ```

mod settle;
#[cfg(test)]
mod tests;

use crate::base::wire::{RunId, StoredAt};
use crate::metrics::Metrics;
use crate::runs::task::{StageId, StoredSize};
pub(crate) use settle::Determinism;

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
    /// The number of attempts so far. Each has a file of its own.
    attempts: u32,
    /// How many times in a row it was lost.
    losses: u32,
    /// For each task whose shard it could not read since it was last done: how many times. Counted
    /// for each by itself: many shards may be damaged at once, and are found one by one.
    unreadable: Vec<(Source, u32)>,
    /// True if the shard of an attempt may have been read.
    given_out: bool,
    /// The metrics of the last finished attempt.
    metrics: Metrics,
    /// The size of its shard.
    size: StoredSize,
}

/// A task of this job or of another.
type Source = (RunId, u32, u32);

#[derive(Debug)]
struct Stage {
    inputs: Vec<StageId>,
    determinism: Determinism,
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
    /// How many times a done task was undone.
    changes: u64,
    /// How many times the result changed.
    generation: u64,
}

impl Schedule {
    /// The schedule of these stages, inputs first: the stages that each reads, its number of tasks,
    /// and its determinism.
    pub(crate) fn new(
        stages: impl IntoIterator<Item = (Vec<StageId>, usize, Determinism)>,
    ) -> Self {
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
        let stages = stages.into_iter().map(|(inputs, tasks, determinism)| {
            let tasks = vec![waiting.clone(); tasks];
            Stage { inputs, determinism, tasks }
        });
        Self { stages: stages.collect(), changes: 0, generation: 0 }
    }

    /// The stage whose output is the result.
    fn root(&self) -> StageId {
        StageId(self.stages.len() - 1)
    }

    /// All running tasks were aborted.
    pub(crate) fn restart(&mut self) {
        for task in self.stages.iter_mut().flat_map(|stage| &mut stage.tasks) {
            if task.state == State::Running {
                task.state = State::Waiting;
            }
        }
    }

    /// True if the whole result is stored.
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

    /// For each stage: true if it has tasks that the result needs.
    fn needed(&self) -> Vec<bool> {
        let mut needed = vec![false; self.stages.len()];
        if let Some(last) = needed.last_mut() {
            *last = true;
        }
        // From the result backwards: the inputs of a needed stage are needed if it is not done.
        for (id, stage) in self.stages.iter().enumerate().rev() {
            needed[id] &= !stage.is_done();
            if needed[id] {
                stage.inputs.iter().for_each(|input| needed[input.0] = true);
            }
        }
        needed
    }

    /// A task starts. Returns the number of the attempt.
    pub(crate) fn started(&mut self, id: TaskId) -> u32 {
        let task = self.task(id);
        task.state = State::Running;
        task.attempts += 1;
        task.attempts
    }

    /// A task has stored its shard. Its metrics replace those of an earlier attempt.
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

    /// A running task was lost. Returns how many times in a row.
    pub(crate) fn lost(&mut self, id: TaskId) -> u32 {
        let task = self.task(id);
        task.state = State::Waiting;
        task.losses += 1;
        task.losses
    }

    /// A running task could not read the shard at `at`. Returns how many times in a row it could
    /// not read that task's shard.
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

    /// The shards on machines other than these are lost.
    pub(crate) fn keep_only(&mut self, machines: &[String]) {
        let is_gone = |machine: &String| !machines.contains(machine);
        for task in self.stages.iter_mut().flat_map(|stage| &mut stage.tasks) {
            if matches!(&task.state, State::Done(at) if at.machine.as_ref().is_some_and(is_gone)) {
                task.state = State::Waiting;
                self.changes += 1;
            }
        }
    }

    /// The shard of an attempt cannot be read. Ignored unless it is the last attempt.
    pub(crate) fn output_lost(&mut self, id: TaskId, attempt: u32) {
        let stage = self.stages.get_mut(id.stage.0);
        if let Some(task) = stage.and_then(|stage| stage.tasks.get_mut(id.task))
            && matches!(&task.state, State::Done(at) if at.attempt == attempt)
        {
            task.state = State::Waiting;
            self.changes += 1;
        }
    }

    /// All shards were removed.
    pub(crate) fn discard(&mut self) {
        for task in self.stages.iter_mut().flat_map(|stage| &mut stage.tasks) {
            if matches!(task.state, State::Done(_)) {
                task.state = State::Waiting;
                self.changes += 1;
            }
        }
    }

    /// Where the shards of a stage are stored. `None` unless all its tasks are done.
    pub(crate) fn stored(&self, stage: StageId) -> Option<Vec<StoredAt>> {
        let tasks = self.stages.get(stage.0)?.tasks.iter();
        tasks
            .map(|task| match &task.state {
                State::Done(at) => Some(at.clone()),
                State::Waiting | State::Running => None,
            })
            .collect()
    }

    /// The size of each shard of a stage; 0 for tasks that are not done.
    pub(crate) fn sizes(&self, stage: StageId) -> Vec<StoredSize> {
        let tasks = self.stages.get(stage.0).map_or(&[][..], |stage| &stage.tasks);
        tasks.iter().map(|task| task.size).collect()
    }

    /// Changes when a done task is undone: until then, the shards of a complete stage stay where
    /// they are.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// The number of tasks started, retries included.
    pub(crate) fn attempts(&self) -> u64 {
        let tasks = self.stages.iter().flat_map(|stage| &stage.tasks);
        tasks.map(|task| u64::from(task.attempts)).sum()
    }

    /// The metrics of all tasks, each counted once.
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
