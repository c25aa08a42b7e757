//! Rules over physical plans: DataFusion's in their order, with ours among them.
//!
//! They run before a plan is split into stages. What only the split makes wrong is corrected by
//! [`prepare`](crate::prepare()) and [`guard`](crate::guard()).

mod collected_builds;
mod columns;
mod excluding;
mod fallible;
mod filters;
mod joined_order;
mod large_limits;
mod nulled_properties;
mod requirements;
mod shield;
mod short_circuit;
mod topk;
mod window_limits;

use std::sync::Arc;

use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::joins::SortMergeJoinExec;

use excluding::{Below, Excluding};

pub use large_limits::LargeLimits;

type Rule = Arc<dyn PhysicalOptimizerRule + Send + Sync>;

/// The physical rules in their order.
pub(crate) fn rules() -> Vec<Rule> {
    // Before any rule that looks at orders and constants.
    let mut rules: Vec<Rule> = vec![Arc::new(nulled_properties::DropNulledProperties)];
    for rule in PhysicalOptimizer::new().rules {
        match rule.name() {
            // The rule runs twice; guards are needed once.
            "ProjectionPushdown"
                if !rules.iter().any(|r| r.name() == short_circuit::EXPRESSIONS) =>
            {
                rules.push(Arc::new(short_circuit::GuardedExpressions));
            }
            "SanityCheckPlan" => rules.push(Arc::new(short_circuit::GuardedFilters)),
            _ => {}
        }
        let chooses_sides = rule.name() == "join_selection";
        rules.push(ours_for(rule));
        if chooses_sides {
            rules.push(Arc::new(collected_builds::CollectedBuilds));
        }
    }
    rules
}

/// The rule that replaces one of DataFusion's.
fn ours_for(rule: Rule) -> Rule {
    match rule.name() {
        "aggregate_statistics" => {
            Arc::new(Excluding::new(rule, Below::Separately, aggregates_some_rows))
        }
        "FilterPushdown" => Arc::new(filters::FilterPushdown::written()),
        "FilterPushdown(Post)" => Arc::new(filters::FilterPushdown::learned()),
        "LimitAggregation" => Arc::new(topk::TopKAggregation),
        "EnsureRequirements" => Arc::new(requirements::EnsureRequirements::new()),
        "LimitPushPastWindows" => {
            Arc::new(Excluding::new(rule, Below::Through, window_limits::understates_look_ahead))
        }
        "ProjectionPushdown" => {
            let shielded = Arc::new(shield::ShieldedProjectionPushdown);
            Arc::new(Excluding::new(shielded, Below::Through, loses_its_columns))
        }
        _ => rule,
    }
}

/// DataFusion 55.2 looks up the values of an aggregate in the statistics of its input. An aggregate
/// with a FILTER has none there, so the rule uses those of the next aggregate below it.
fn aggregates_some_rows(node: &dyn ExecutionPlan) -> bool {
    node.downcast_ref::<AggregateExec>().is_some_and(|aggregate| {
        aggregate.group_expr().is_empty() && aggregate.filter_expr().iter().any(Option::is_some)
    })
}

/// DataFusion 55.2: a projection that moves below a sort-merge join leaves the columns of the join
/// condition unchanged, and takes the columns of semi, anti and mark joins for those of both
/// inputs.
fn loses_its_columns(node: &dyn ExecutionPlan) -> bool {
    node.is::<SortMergeJoinExec>()
}

#[cfg(test)]
mod tests;
