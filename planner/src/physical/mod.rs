//! The rules that change the plans of operators: DataFusion's in their order, with ours among them.
//!
//! They run before a plan is cut into stages. What only a cut makes wrong is mended in
//! [`prepare`](crate::prepare()) and [`guard`](crate::guard()).

use std::sync::Arc;

use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;

mod fallible;
mod forget;
mod guards;
mod shield;

/// The rules in their order.
pub(crate) fn rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    // Before any that looks at orders and constants.
    let mut rules: Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> =
        vec![Arc::new(forget::ForgetNulled)];
    for rule in PhysicalOptimizer::new().rules {
        match rule.name() {
            "ProjectionPushdown" => {
                // It runs twice; guards are for once.
                if !rules.iter().any(|rule| rule.name() == guards::EXPRESSIONS) {
                    rules.push(Arc::new(guards::GuardedExpressions));
                }
                rules.push(Arc::new(shield::ShieldedProjectionPushdown));
            }
            "SanityCheckPlan" => rules.extend([Arc::new(guards::GuardedFilters) as _, rule]),
            _ => rules.push(rule),
        }
    }
    rules
}
