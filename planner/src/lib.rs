//! What must hold of a query before it may run on machines.
//!
//! The engine calls this crate three times on the way of a query:
//!
//! 1. [`check_text`] before parsing and [`check_statement`] after it refuse SQL that would
//!    overflow the stack or keep the planner busy for minutes. Both walk iteratively.
//! 2. [`prepare()`] rewrites the plan of one process so that the cut into stages cannot change its
//!    answer, and [`guard()`] does the same for what only shows after the cut.
//!    [`spread_files`] is the handler that shares the files of a scan among tasks.
//! 3. [`check()`] walks the cut plan and refuses it when an operator would see less (or more) than
//!    it needs: what holds across the partitions of one task must hold across the tasks of its
//!    stage.
//!
//! [`StageGraph`] reads the cut plan into plain values, which `EXPLAIN STAGES`, progress and tests
//! share.
//!
//! What is deliberately absent: I/O, async and the network. All use of datafusion-distributed's
//! plan types outside the wire lives in this crate.

mod check;
mod error;
mod files;
mod guard;
mod ordering;
mod prepare;
mod scalar_subquery;
mod stage_graph;
mod statement;
mod text;
mod union;

pub use check::{Trusted, check, check_with};
pub use error::{Error, Result};
pub use files::spread_files;
pub use guard::guard;
pub use prepare::prepare;
pub use scalar_subquery::{OneRowSubqueries, one_row};
pub use stage_graph::{DRIVER_STAGE, Exchange, Input, Stage, StageGraph};
pub use statement::check_statement;
pub use text::{StatementLimits, check_text};
