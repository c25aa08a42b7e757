//! Runs of slices, as the driver sees them. [`Session::run`](crate::Session::run) makes a [`Job`],
//! which runs the tasks of its stages; a [`Run`] holds the job, and with it the shards of the
//! result.
//!
//! ```text
//! Run ──► Job::ensure ──► evaluation: tasks that have to run ──► schedule: which may start, and
//!                             │                                   what a loss undoes (plain state)
//!                         scheduler: the loop of runs and maps ──► slots: which are free
//!                             │
//!                         dispatch: sends a task to a machine ──► task::Host there
//! ```
//!
//! * [`computation`]: how a run is computed, apart from its shards;
//! * [`inputs`]: where the shards are that the tasks of an evaluation read;
//! * [`reading`]: reads a shard, which may have to be computed again;
//! * [`mod@table`]: a run as a table of SQL.

mod argument;
mod codec;
mod computation;
mod dispatch;
mod evaluation;
mod inputs;
#[expect(clippy::module_inception, reason = "a job is what this folder is about")]
mod job;
mod map;
mod reading;
mod run;
mod runner;
mod runs;
mod schedule;
mod scheduler;
mod slots;
mod table;
mod task_runner;

pub(crate) use codec::PlanCodec;
pub(crate) use job::Job;
pub(crate) use map::map;
pub(crate) use run::Work;
pub use run::{Run, Runnable};
pub(crate) use runner::Runner;
pub(crate) use runs::Runs;
pub(crate) use table::{
    Located, Missing, RunScan, run_scan_route, run_scan_scale_up, run_scan_tasks, table,
};
pub(crate) use task_runner::TaskRunner;
