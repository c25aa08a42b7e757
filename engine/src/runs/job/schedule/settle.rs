//! What has to be undone so that nobody reads outputs that do not belong together.
//!
//! Attempts of a task store the same rows, unless its slice said otherwise. Where they may differ, a task
//! that was done, may have been read, and has to be computed again takes with it whatever was computed from
//! it:
//!
//! ```text
//!   stage 0, deterministic(false)     stage 1              result
//!     task 0: done                      task 0: done  ──►    undone
//!     task 1: lost, begun again         task 1: runs  ──►    stopped
//! ```
//!
//! A stage of which something is undone differs in turn, so that its readers are undone as well, up to
//! the result: whoever has read part of that is told by its generation.

use super::{Schedule, State, TaskId};
use crate::runs::task::StageId;

/// How what a stage stores comes out when it is computed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeats {
    /// The same.
    Same,
    /// The same if what it reads is.
    AsItsInputs,
    /// Other rows.
    Differs,
}

impl Schedule {
    /// Undoes what does not belong to what is going to be computed, before anything is started: the running
    /// tasks among it, which are to be stopped. `changed` are stages that read from outside of this run
    /// what is not what it was.
    pub(crate) fn settle(&mut self, changed: &[StageId]) -> Vec<TaskId> {
        let needed = self.needed();
        let mut stopped = Vec::new();
        let mut differs = vec![false; self.stages.len()];
        for id in 0..self.stages.len() {
            let stage = &mut self.stages[id];
            let reads_other =
                changed.contains(&StageId(id)) || stage.inputs.iter().any(|input| differs[input.0]);
            for (n, task) in stage.tasks.iter_mut().enumerate() {
                let undone = match stage.repeats {
                    Repeats::Same => false,
                    Repeats::AsItsInputs => reads_other,
                    // What is still there is still what it was.
                    Repeats::Differs if !reads_other => needed[id] && task.state == State::Waiting,
                    Repeats::Differs => true,
                };
                if !undone {
                    continue;
                }
                match std::mem::replace(&mut task.state, State::Waiting) {
                    State::Waiting => {}
                    State::Running => stopped.push(TaskId { stage: StageId(id), task: n }),
                    State::Done(_) => self.changes += 1,
                }
                differs[id] |= std::mem::take(&mut task.given_out);
            }
        }
        self.generation += u64::from(differs.last().copied().unwrap_or(false));
        stopped
    }

    /// Another number whenever shards of the result that were there do not belong to those that are.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }
}
