//! The rules that change the plans of operators: DataFusion's in their order, with ours among them.
//!
//! They run before a plan is cut into stages. What only a cut makes wrong is mended in
//! [`prepare`](crate::prepare()) and [`guard`](crate::guard()).

use std::sync::Arc;

use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;

mod forget;

/// The rules in their order.
pub(crate) fn rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let mut rules = PhysicalOptimizer::new().rules;
    // Before any that looks at orders and constants.
    rules.insert(0, Arc::new(forget::ForgetNulled));
    rules
}
