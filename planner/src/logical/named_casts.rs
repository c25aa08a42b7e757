//! Removes the names of casts that [`syntax`](crate::syntax) gave them for DataFusion's SQL
//! planner; the columns keep these names.

use bigslice_functions::NAMED_CAST;
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

use super::expressions::{map_named, transform_nodes, transform_parts};

/// The analyzer rule; see the [module](self).
#[derive(Debug)]
pub(super) struct NamedCasts;

impl AnalyzerRule for NamedCasts {
    fn name(&self) -> &'static str {
        "named_casts"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let removed = transform_nodes(plan, &mut |node| {
            map_named(node, &mut |expr| transform_parts(expr, &mut bare))
        })?;
        Ok(removed.data)
    }
}

fn bare(expr: Expr) -> Result<Transformed<Expr>> {
    match expr {
        Expr::ScalarFunction(mut call) if call.func.name() == NAMED_CAST => match call.args.pop() {
            Some(cast) => Ok(Transformed::yes(cast)),
            None => Ok(Transformed::no(Expr::ScalarFunction(call))),
        },
        other => Ok(Transformed::no(other)),
    }
}
