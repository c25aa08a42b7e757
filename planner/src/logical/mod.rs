//! The rules that change logical plans: DataFusion's in their order, with ours among them.
//!
//! Each rule of ours mends a kind of fault, says which, and leaves a plan that gives the same rows in
//! one process and on machines.

mod set_all;

use std::sync::Arc;

use datafusion::optimizer::{Analyzer, AnalyzerRule, Optimizer, OptimizerRule};

/// The rules that make a plan of SQL one that can be optimised, in their order.
pub(crate) fn analyzer_rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    let mut rules: Vec<Arc<dyn AnalyzerRule + Send + Sync>> = vec![Arc::new(set_all::SetAll)];
    rules.extend(Analyzer::new().rules);
    rules
}

/// The rules that make a plan a faster one, in their order.
pub(crate) fn optimizer_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    Optimizer::new().rules
}
