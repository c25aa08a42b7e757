//! What must hold of a query before it may run, in one process or on machines.
//!
//! The engine calls this crate on the way of a query:
//!
//! 1. [`check_text`] before [`parse`] and [`check_statement`] after it refuse SQL that would
//!    overflow the stack or keep the planner busy for minutes.
//! 2. [`rewrite`] changes what the parser read otherwise than SQL means it, and [`resolve`] what DataFusion would take
//!    names for. [`install`] gives a session the rules and functions that mend what DataFusion gets wrong in one
//!    process, too.
//! 3. [`prepare()`] rewrites the plan of one process so that the cut into stages cannot change its
//!    answer, and [`guard()`] does the same for what only shows after the cut.
//!    [`spread_files`] is the handler that shares the files of a scan among tasks.
//! 4. [`check()`] walks the cut plan and refuses it when an operator would see less (or more) than
//!    it needs: what holds across the partitions of one task must hold across the tasks of its
//!    stage.
//!
//! [`row_properties`] derives how the rows of an operator are distributed over tasks. The check is
//! based on it, and so are the expression verbs of slices, which the engine cuts itself.
//!
//! [`StageGraph`] reads the cut plan into plain values, which `EXPLAIN STAGES`, progress and tests
//! share.
//!
//! What is deliberately absent: I/O, async and the network. All use of datafusion-distributed's
//! plan types outside the wire lives in this crate.

use std::sync::Arc;

use datafusion::execution::SessionStateBuilder;
use datafusion::optimizer::{Analyzer, Optimizer};

mod check;
mod distribution;
mod error;
mod files;
mod guard;
mod lender;
mod logical;
mod ordering;
mod physical;
mod prepare;
mod scalar_subquery;
mod series;
mod stage_graph;
mod statement;
mod syntax;
mod text;
mod union;
mod windows;

pub use bigslice_functions::{
    FLOAT_KEY, GetField, NULL_PARTITION, PARTITION_ESCAPE, exact_float, opaque_cast,
    parquet_interval, partition_kept, partition_text, uuid_text,
};
pub use check::{Trusted, check, check_with};
pub use distribution::{
    Parts, RowProperties, TaskDistribution, Undistributable, collects_build_side,
    needs_whole_probe_side, row_properties,
};
pub use error::{Error, Result};
pub use files::spread_files;
pub use guard::guard;
pub use logical::LeanWindows;
pub use physical::LargeLimits;
pub use prepare::prepare;
pub use scalar_subquery::{OneRowSubqueries, one_row};
pub use stage_graph::{DRIVER_STAGE, Exchange, Input, Stage, StageGraph};
pub use statement::check_statement;
pub use syntax::{Catalog, Drawn, Headers, Labels, draw, headers, parse, resolve, rewrite};
pub use text::{StatementLimits, check_text};
pub use windows::{WindowsThatTravel, is_lost};

/// Gives a session our functions, and the rules of DataFusion with ours among them. Driver and workers call it, and
/// before they add rules or functions of their own.
pub fn install(builder: SessionStateBuilder) -> SessionStateBuilder {
    let mut builder = windows::register(bigslice_functions::register(builder));
    builder.expr_planners().get_or_insert_default().insert(0, Arc::new(logical::Operators));
    *builder.analyzer() = Some(Analyzer {
        function_rewrites: bigslice_functions::rewrites(),
        rules: logical::analyzer_rules(),
    });
    *builder.optimizer() = Some(Optimizer::with_rules(logical::optimizer_rules()));
    builder.with_physical_optimizer_rules(physical::rules())
}
