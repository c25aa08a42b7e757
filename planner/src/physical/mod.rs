//! The rules that change the plans of operators: DataFusion's in their order, with ours among them.
//!
//! They run before a plan is cut into stages. What only a cut makes wrong is mended in
//! [`prepare`](crate::prepare()) and [`guard`](crate::guard()).

mod apart;
mod columns;
mod filters;
mod limits;
mod requirements;
mod topk;
mod unions;

use std::sync::Arc;

use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::SortMergeJoinExec;

use apart::{Apart, Below};

type Rule = Arc<dyn PhysicalOptimizerRule + Send + Sync>;

/// The rules in their order.
pub(crate) fn rules() -> Vec<Rule> {
    let theirs = PhysicalOptimizer::new().rules.into_iter().map(ours_for);
    // The rules that follow see the types that there will be.
    let first: Rule = Arc::new(unions::UnionTypes);
    std::iter::once(first).chain(theirs).collect()
}

/// The rule that takes the place of one of DataFusion's.
fn ours_for(rule: Rule) -> Rule {
    match rule.name() {
        "FilterPushdown" => Arc::new(filters::FilterPushdown::written()),
        "FilterPushdown(Post)" => Arc::new(filters::FilterPushdown::learned()),
        "LimitAggregation" => Arc::new(topk::TopKAggregation),
        "EnsureRequirements" => Arc::new(requirements::EnsureRequirements::new()),
        "LimitPushPastWindows" => {
            Arc::new(Apart::new(rule, Below::GoesOn, limits::reads_further_than_it_says))
        }
        "ProjectionPushdown" => Arc::new(Apart::new(rule, Below::GoesOn, loses_its_columns)),
        _ => rule,
    }
}

/// DataFusion 55.2: a projection that moves below a sort-merge join leaves the columns of the join's condition
/// where they were, and takes the columns of semi, anti and mark joins for those of both inputs.
fn loses_its_columns(node: &dyn ExecutionPlan) -> bool {
    node.is::<SortMergeJoinExec>()
}

#[cfg(test)]
mod tests;
