//! Runs of slices, as the driver sees them. [`Session::run`](crate::Session::run) makes a [`Job`], which
//! has the tasks of its stages run; a [`Run`] holds on to it, and with it to the shards of the
//! result.
//!
//! ```text
//!            ┌──────────── schedule: which tasks may start, what a loss undoes (plain state)
//! Job::ensure│ machine by machine, as many tasks as it has cores
//!            └─► crew: sends a task to a machine ──► task::Host there
//! Run ── reads shards, has what was lost with a machine computed again
//! ```

mod argument;
mod codec;
mod crew;
mod evaluation;
mod given;
mod map;
mod recipe;
mod result;
mod run;
mod runner;
mod runs;
mod schedule;
mod table;

pub(crate) use codec::PlanCodec;
pub(crate) use map::map;
pub(crate) use result::Job;
pub(crate) use run::Work;
pub use run::{Run, Runnable};
pub(crate) use runner::Runner;
pub(crate) use runs::Runs;
pub(crate) use table::{
    Located, Missing, RunScan, run_scan_route, run_scan_scale_up, run_scan_tasks, table,
};
