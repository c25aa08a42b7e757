//! The rules that change the plans of operators: DataFusion's in their order, with ours among them.
//!
//! They run before a plan is cut into stages. What only a cut makes wrong is mended in
//! [`prepare`](crate::prepare()) and [`guard`](crate::guard()).

mod apart;
mod columns;
mod fallible;
mod filters;
mod forget;
mod guards;
mod joined_order;
mod large_limits;
mod limits;
mod requirements;
mod shield;
mod topk;
mod unions;

use std::sync::Arc;

use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::joins::SortMergeJoinExec;

use apart::{Apart, Below};

pub use large_limits::LargeLimits;

type Rule = Arc<dyn PhysicalOptimizerRule + Send + Sync>;

/// The rules in their order.
pub(crate) fn rules() -> Vec<Rule> {
    // Before any that looks at types, orders and constants.
    let mut rules: Vec<Rule> = vec![Arc::new(unions::UnionTypes), Arc::new(forget::ForgetNulled)];
    for rule in PhysicalOptimizer::new().rules {
        match rule.name() {
            // It runs twice; guards are for once.
            "ProjectionPushdown" if !rules.iter().any(|r| r.name() == guards::EXPRESSIONS) => {
                rules.push(Arc::new(guards::GuardedExpressions));
            }
            "SanityCheckPlan" => rules.push(Arc::new(guards::GuardedFilters)),
            _ => {}
        }
        rules.push(ours_for(rule));
    }
    rules
}

/// The rule that takes the place of one of DataFusion's.
fn ours_for(rule: Rule) -> Rule {
    match rule.name() {
        "aggregate_statistics" => Arc::new(Apart::new(rule, Below::ByItself, aggregates_some_rows)),
        "FilterPushdown" => Arc::new(filters::FilterPushdown::written()),
        "FilterPushdown(Post)" => Arc::new(filters::FilterPushdown::learned()),
        "LimitAggregation" => Arc::new(topk::TopKAggregation),
        "EnsureRequirements" => Arc::new(requirements::EnsureRequirements::new()),
        "LimitPushPastWindows" => {
            Arc::new(Apart::new(rule, Below::GoesOn, limits::reads_further_than_it_says))
        }
        "ProjectionPushdown" => {
            let shielded = Arc::new(shield::ShieldedProjectionPushdown);
            Arc::new(Apart::new(shielded, Below::GoesOn, loses_its_columns))
        }
        _ => rule,
    }
}

/// DataFusion 55.2: the values of an aggregate are looked for in the statistics of its input. One with a FILTER has
/// none there, and then those of the next aggregate below it are taken for them.
fn aggregates_some_rows(node: &dyn ExecutionPlan) -> bool {
    node.downcast_ref::<AggregateExec>().is_some_and(|aggregate| {
        aggregate.group_expr().is_empty() && aggregate.filter_expr().iter().any(Option::is_some)
    })
}

/// DataFusion 55.2: a projection that moves below a sort-merge join leaves the columns of the join's condition
/// where they were, and takes the columns of semi, anti and mark joins for those of both inputs.
fn loses_its_columns(node: &dyn ExecutionPlan) -> bool {
    node.is::<SortMergeJoinExec>()
}

#[cfg(test)]
mod tests;
