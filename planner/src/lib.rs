//! SQL rewrites, planner rules and safety checks: everything that makes a query correct before it
//! runs, in one process or on several machines.
//!
//! The engine calls this crate at four points in the life of a query:
//!
//! 1. *Limits.* [`check_text`], [`Tokens::check`] and, after [`Tokens::parse`], [`check_statement`]
//!    refuse SQL that would overflow the stack or keep the planner busy for minutes.
//! 2. *SQL semantics.* [`rewrite`] corrects what the parser reads differently from the SQL
//!    standard, and [`resolve`] corrects how names are resolved. [`install`] adds the rules and
//!    functions that work around DataFusion's faults, in one process as well.
//! 3. *Distribution.* [`prepare()`] rewrites the single-process plan so that splitting it into
//!    stages cannot change its result; [`guard()`] does the same for what only appears after the
//!    split. [`spread_files`] assigns the files of a scan to tasks.
//! 4. *Safety check.* [`check()`] walks the distributed plan and refuses it if an operator would
//!    see fewer (or more) rows than it needs: what holds across the partitions of one task must
//!    hold across the tasks of its stage.
//!
//! [`row_properties`] derives how the rows of an operator are distributed over tasks. The check is
//! based on it, and so are the expression operators of slices, which the engine divides itself.
//!
//! [`StageGraph`] extracts the stages of a distributed plan as plain values, for `EXPLAIN STAGES`,
//! progress display and tests.
//!
//! Deliberately absent: I/O, async code and networking. Except for the wire format and a dozen
//! files of the engine, all use of datafusion-distributed's plan types is in this crate.

use std::sync::Arc;

use datafusion::execution::SessionStateBuilder;
use datafusion::optimizer::{Analyzer, Optimizer};

mod check;
mod distribution;
mod error;
mod files;
mod guard;
mod logical;
mod ordering;
mod physical;
mod placeholder;
mod prepare;
mod scalar_subquery;
mod series;
mod settings;
mod stage_graph;
mod statement;
mod syntax;
mod text;
mod union;
mod windows;

pub use bigslice_functions::{dense_rank, ntile, rank, row_number};
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
pub use settings::PlannerSettings;
pub use stage_graph::{DRIVER_STAGE, Exchange, Input, Stage, StageGraph};
pub use statement::check_statement;
pub use syntax::{
    Catalog, Headers, Labels, MaterializedCte, Tokens, any_query, headers, materialize_ctes, parse,
    resolve, rewrite,
};
pub use text::{StatementLimits, check_text};
pub use windows::{SerializableWindows, is_unserializable};

/// Adds our functions and rules to a session, in their place among DataFusion's. Driver and workers
/// both call it, before they add rules or functions of their own.
pub fn install(builder: SessionStateBuilder) -> SessionStateBuilder {
    let mut builder = bigslice_functions::register(builder);
    builder.expr_planners().get_or_insert_default().insert(0, Arc::new(logical::Operators));
    *builder.analyzer() = Some(Analyzer {
        function_rewrites: bigslice_functions::rewrites(),
        rules: logical::analyzer_rules(),
    });
    *builder.optimizer() = Some(Optimizer::with_rules(logical::optimizer_rules()));
    builder.with_physical_optimizer_rules(physical::rules())
}
