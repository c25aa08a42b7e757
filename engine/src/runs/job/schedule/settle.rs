//! Undoes tasks, so that no reader mixes shards that do not match.
//!
//! All attempts of a task store the same rows, unless its slice is nondeterministic. If it is, and
//! a task whose shard may have been read has to run again, every task that was computed from it is
//! undone:
//!
//! ```text
//!   stage 0, deterministic(false)     stage 1              result
//!     task 0: done                      task 0: done  ──►    undone
//!     task 1: lost, runs again          task 1: runs  ──►    aborted
//! ```
//!
//! A stage with undone tasks changes in turn, so its readers are undone as well, up to the result.
//! The generation of the result tells its readers.

use super::{Schedule, State, TaskId};
use crate::runs::task::StageId;

/// Whether a stage stores the same rows when its tasks run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Determinism {
    /// It does.
    Deterministic,
    /// It does if its inputs are the same.
    AsInputs,
    /// It may store other rows.
    Nondeterministic,
}

impl Schedule {
    /// Undoes the tasks that do not match the tasks to be started. Returns the running ones among
    /// them, which the caller aborts. `changed` are stages whose input from another run has
    /// changed.
    pub(crate) fn settle(&mut self, changed: &[StageId]) -> Vec<TaskId> {
        let needed = self.needed();
        let mut aborted = Vec::new();
        let mut varies = vec![false; self.stages.len()];
        for id in 0..self.stages.len() {
            let stage = &mut self.stages[id];
            let reads_other =
                changed.contains(&StageId(id)) || stage.inputs.iter().any(|input| varies[input.0]);
            for (n, task) in stage.tasks.iter_mut().enumerate() {
                let undone = match stage.determinism {
                    Determinism::Deterministic => false,
                    Determinism::AsInputs => reads_other,
                    // The shards that are still stored have not changed.
                    Determinism::Nondeterministic if !reads_other => {
                        needed[id] && task.state == State::Waiting
                    }
                    Determinism::Nondeterministic => true,
                };
                if !undone {
                    continue;
                }
                match std::mem::replace(&mut task.state, State::Waiting) {
                    State::Waiting => {}
                    State::Running => aborted.push(TaskId { stage: StageId(id), task: n }),
                    State::Done(_) => self.changes += 1,
                }
                varies[id] |= std::mem::take(&mut task.given_out);
            }
        }
        self.generation += u64::from(varies.last().copied().unwrap_or(false));
        aborted
    }

    /// Changes when earlier shards of the result do not match the current ones.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }
}
