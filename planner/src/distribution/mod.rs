//! How the rows of each operator are distributed over the tasks that run it: the property that
//! makes a distributed plan safe, derived bottom-up.
//!
//! Two kinds of plans are cut into parts, and both use this one derivation:
//!
//! ```text
//! check, a SQL plan: a task runs        engine, the plan of a slice's expression
//! all partitions of an operator         verb: a shard is one partition
//!                        \               /
//!                         row_properties
//!                           operators   what each operator needs, and how it distributes rows
//!                           joins       the same for joins
//!                           keys        whether all rows of a key are in one partition
//!                           limits      limits that each part applied to its own rows
//! ```
//!
//! The caller knows leaves and exchanges, and says how their rows are distributed. An operator
//! that is on none of the lists must run in one task.

mod joins;
mod keys;
mod limits;
mod operators;
mod parts;

use std::sync::Arc;

use datafusion::error::DataFusionError;
use datafusion::physical_plan::ExecutionPlan;

pub(crate) use joins::emits_build_rows;
pub use joins::{collects_build_side, needs_whole_probe_side};
pub(crate) use limits::limit_is_pending;
pub use parts::Parts;

/// How the rows of an operator are distributed over the tasks that run it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskDistribution {
    /// One task has all rows: DataFusion's own rules suffice.
    Single,
    /// The operator's hash partitioning holds across all partitions of all tasks.
    Hashed,
    /// Each row is in one task; nothing more is known.
    Arbitrary,
    /// Every task has all rows.
    Broadcast,
}

/// What is known of the rows of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowProperties {
    /// How they are distributed over tasks.
    pub distribution: TaskDistribution,
    /// The smallest limit that each partition or task applied to its own rows, although the query
    /// wants that many rows in all. A limit that sees all rows must follow.
    pub pending_limit: Option<usize>,
}

impl RowProperties {
    /// Rows to which no limit was applied.
    pub fn new(distribution: TaskDistribution) -> Self {
        Self { distribution, pending_limit: None }
    }
}

/// Why an operator must not run in several tasks.
#[derive(Debug)]
pub enum Undistributable {
    /// Its answer could depend on how its rows are distributed: the rest of a sentence that begins
    /// with the operator.
    Unsafe(String),
    /// DataFusion could not say what the operator needs.
    Failed(DataFusionError),
}

impl Undistributable {
    /// An operator whose answer could depend on how its rows are distributed.
    fn because(reason: impl Into<String>) -> Self {
        Self::Unsafe(reason.into())
    }
}

impl From<DataFusionError> for Undistributable {
    fn from(error: DataFusionError) -> Self {
        Self::Failed(error)
    }
}

/// Derives how the rows of an operator are distributed from how those of its inputs are.
///
/// `plan` must still have the children that it was planned with: their partitioning counts.
/// `row_wise` are names of operators of other crates that treat every row, or every batch, by
/// itself.
///
/// # Errors
/// When the inputs are not distributed as the operator needs it.
pub fn row_properties(
    plan: &Arc<dyn ExecutionPlan>,
    inputs: &[RowProperties],
    parts: Parts,
    row_wise: &[String],
) -> Result<RowProperties, Undistributable> {
    let distribution = if operators::run_in_one_task(plan.as_ref(), inputs, parts) {
        TaskDistribution::Single
    } else {
        operators::distribution(plan, inputs, parts, row_wise)?
    };
    let pending_limit = limits::pending(plan, inputs, parts.see_all(plan, distribution))?;
    Ok(RowProperties { distribution, pending_limit })
}

/// What is known of the rows of a leaf that has a limit. The caller knows their distribution.
pub(crate) fn leaf(
    plan: &Arc<dyn ExecutionPlan>,
    limit: Option<usize>,
    distribution: TaskDistribution,
    parts: Parts,
) -> RowProperties {
    let pending_limit = limit.filter(|_| !parts.see_all(plan, distribution));
    RowProperties { distribution, pending_limit }
}
