//! Which tasks of a job may start, and what becomes undone when a machine is lost. Plain state, no I/O:
//! events go in, tasks to start come out.
//!
//! ```text
//!          start                   done
//!  waiting ─────► running(machine) ─────► done(machine)
//!     ▲               │ lost                  │ its machine is lost, or its shard cannot be read,
//!     └───────────────┴───────────────────────┘ and somebody still needs it
//! ```

use crate::metrics::Metrics;
use crate::task::{StageId, StoredAt};

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
    /// What the attempt that was done last has counted.
    metrics: Metrics,
}

#[derive(Debug)]
struct Stage {
    inputs: Vec<StageId>,
    tasks: Vec<Task>,
}

/// The tasks of a job.
#[derive(Debug)]
pub(crate) struct Schedule {
    stages: Vec<Stage>,
    /// How often something that was done became undone.
    changes: u64,
}

impl Schedule {
    /// Of stages in an order in which inputs come first: what each reads and how many tasks it has.
    pub(crate) fn new(stages: impl IntoIterator<Item = (Vec<StageId>, usize)>) -> Self {
        let (state, metrics) = (State::Waiting, Metrics::default());
        let waiting = Task { state, attempts: 0, losses: 0, metrics };
        let stages = stages
            .into_iter()
            .map(|(inputs, tasks)| Stage { inputs, tasks: vec![waiting.clone(); tasks] });
        Self { stages: stages.collect(), changes: 0 }
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
        let mut needed = vec![false; self.stages.len()];
        if let Some(last) = needed.last_mut() {
            *last = true;
        }
        // From the result backwards: a stage is needed if one that is has tasks to begin.
        for id in (0..self.stages.len()).rev() {
            let stage = &self.stages[id];
            if !needed[id] || stage.tasks.iter().all(|t| matches!(t.state, State::Done(_))) {
                continue;
            }
            let mut complete = true;
            for input in &stage.inputs {
                needed[input.0] = true;
                complete &= self.stored(*input).is_some();
            }
            if complete {
                let waiting = stage.tasks.iter().enumerate();
                let waiting = waiting.filter(|(_, task)| task.state == State::Waiting);
                ready.extend(waiting.map(|(task, _)| TaskId { stage: StageId(id), task }));
            }
        }
        ready.sort();
        ready
    }

    /// A task begins: the number of this attempt.
    pub(crate) fn started(&mut self, id: TaskId) -> u32 {
        let task = self.task(id);
        task.state = State::Running;
        task.attempts += 1;
        task.attempts
    }

    /// A task has stored its rows. What it has counted takes the place of what an attempt before it has.
    pub(crate) fn finished(&mut self, id: TaskId, at: StoredAt, metrics: Metrics) {
        let task = self.task(id);
        task.state = State::Done(at);
        task.metrics = metrics;
        task.losses = 0;
    }

    /// A running task was lost; how often in a row.
    pub(crate) fn lost(&mut self, id: TaskId) -> u32 {
        let task = self.task(id);
        task.state = State::Waiting;
        task.losses += 1;
        task.losses
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::RunId;

    fn at(id: TaskId, attempt: u32, machine: &str) -> StoredAt {
        StoredAt {
            run: RunId(1),
            stage: id.stage.0 as u32,
            task: id.task as u32,
            attempt,
            machine: Some(machine.to_owned()),
        }
    }

    /// Two stages of two tasks that a third of three tasks reads.
    fn diamond() -> Schedule {
        Schedule::new([(vec![], 2), (vec![], 2), (vec![StageId(0), StageId(1)], 3)])
    }

    fn run_ready(schedule: &mut Schedule, machine: &str) -> Vec<TaskId> {
        let ready = schedule.ready();
        for id in &ready {
            let attempt = schedule.started(*id);
            schedule.finished(*id, at(*id, attempt, machine), Metrics::default());
        }
        ready
    }

    #[test]
    fn stages_start_when_what_they_read_is_there() {
        let mut schedule = diamond();
        assert_eq!(run_ready(&mut schedule, "a").len(), 4);
        assert!(!schedule.is_done());
        let last = run_ready(&mut schedule, "a");
        assert!(last.iter().all(|id| id.stage == StageId(2)) && last.len() == 3);
        assert!(schedule.is_done() && schedule.ready().is_empty());
    }

    #[test]
    fn only_what_is_needed_is_computed_again() {
        let mut schedule = diamond();
        for id in schedule.ready() {
            let attempt = schedule.started(id);
            let machine = if id.task == 0 { "a" } else { "b" };
            schedule.finished(id, at(id, attempt, machine), Metrics::default());
        }
        schedule.keep_only(&["b".to_owned()]);
        let again = run_ready(&mut schedule, "b");
        assert_eq!(again.iter().map(|id| id.task).collect::<Vec<_>>(), [0, 0]);
        run_ready(&mut schedule, "c");
        assert!(schedule.is_done());
        // The result is there: what it was made of may be gone.
        schedule.keep_only(&["c".to_owned()]);
        assert!(schedule.is_done() && schedule.ready().is_empty());
        schedule.keep_only(&["d".to_owned()]);
        assert_eq!(run_ready(&mut schedule, "d").len(), 4);
        assert_eq!(run_ready(&mut schedule, "d").len(), 3);
        assert!(schedule.is_done());
    }

    #[test]
    fn a_late_complaint_about_an_old_attempt_undoes_nothing() {
        let mut schedule = diamond();
        run_ready(&mut schedule, "a");
        run_ready(&mut schedule, "a");
        let id = TaskId { stage: StageId(0), task: 1 };
        // The result is there already: what it was made of is not needed.
        schedule.output_lost(id, 1);
        assert!(schedule.ready().is_empty());
        let last = TaskId { stage: StageId(2), task: 1 };
        schedule.output_lost(last, 1);
        assert_eq!(run_ready(&mut schedule, "a"), [id]);
        assert_eq!(run_ready(&mut schedule, "a"), [last]);
        schedule.output_lost(last, 1);
        assert!(schedule.is_done());
        schedule.output_lost(last, 2);
        assert_eq!(schedule.ready(), [last]);
    }
}
