//! How the rows of a node lie across the tasks of its stage.

use std::sync::Arc;

use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::{
    Distribution, ExecutionPlan, ExecutionPlanProperties, Partitioning,
};

/// How the rows of a node lie across the tasks of its stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spread {
    /// The stage has one task, which has all rows: DataFusion's own rules suffice.
    Whole,
    /// The node's hash partitioning holds across all partitions of all tasks.
    Keyed,
    /// Each row is in one task; nothing more is known.
    Split,
    /// Every task has all rows.
    Copied,
}

/// What is known of the rows of a node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows {
    /// How they lie across tasks.
    pub(super) spread: Spread,
    /// Set when each partition or task stopped after this many rows although the query wants that
    /// many in all: a limit that sees all of them must follow.
    pub(super) owed_limit: Option<usize>,
}

impl Rows {
    /// Rows without a debt.
    pub(super) fn new(spread: Spread) -> Self {
        Self { spread, owed_limit: None }
    }
}

/// The smaller of two limits that are owed.
pub(super) fn owed_by_either(a: Option<usize>, b: Option<usize>) -> Option<usize> {
    a.into_iter().chain(b).min()
}

/// The keys of a requirement on keys; none for the others.
#[expect(deprecated, reason = "operators of other crates may still use the old name")]
pub(super) fn keys(required: &Distribution) -> Option<&[Arc<dyn PhysicalExpr>]> {
    match required {
        Distribution::KeyPartitioned(keys) | Distribution::HashPartitioned(keys) => Some(keys),
        Distribution::UnspecifiedDistribution | Distribution::SinglePartition => None,
    }
}

/// Whether the hash partitioning that `child` declares puts all rows of a key into one partition.
/// Inputs that are read side by side must match exactly, others may be partitioned by a part of
/// the key.
pub(super) fn has_keys(
    child: &dyn ExecutionPlan,
    required: &Distribution,
    side_by_side: bool,
) -> bool {
    match child.output_partitioning() {
        Partitioning::Hash(exprs, count) => {
            // With one partition per task DataFusion would accept any key.
            Partitioning::Hash(exprs.clone(), (*count).max(2))
                .satisfaction(required, child.equivalence_properties(), !side_by_side)
                .is_satisfied()
        }
        _ => false,
    }
}

/// Whether the node declares a hash partitioning, so that `Keyed` says something about it.
pub(super) fn declares_hash(plan: &dyn ExecutionPlan) -> bool {
    matches!(plan.output_partitioning(), Partitioning::Hash(..))
}
