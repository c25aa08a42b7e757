//! Rewrites window functions so that they survive serialization to a worker.
//!
//! datafusion-proto 55.2 serializes neither the FILTER of a window function nor the IGNORE NULLS of
//! `lag`, `lead`, `first_value`, `last_value` and `nth_value`: a worker computes them over all
//! rows. [`SerializableWindows`] moves the filter of null-ignoring aggregates into the argument,
//! `CASE WHEN filter THEN argument END`; the rule `numbers` of [`logical`](crate::logical) has
//! replaced the others by functions that carry IGNORE NULLS in their name. [`is_unserializable`]
//! finds what cannot be rewritten.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{Expr, LogicalPlan, WindowFunctionDefinition, when};
use datafusion::optimizer::AnalyzerRule;
use datafusion::physical_expr::window::{StandardWindowExpr, WindowExpr};

/// Aggregates that ignore nulls.
const PASSING_OVER_NULLS: &[&str] = &[
    "approx_distinct",
    "approx_median",
    "avg",
    "bit_and",
    "bit_or",
    "bit_xor",
    "bool_and",
    "bool_or",
    "corr",
    "count",
    "covar",
    "covar_pop",
    "covar_samp",
    "max",
    "mean",
    "median",
    "min",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "string_agg",
    "sum",
    "var",
    "var_pop",
    "var_samp",
];

/// The analyzer rule, for plans that are sent to workers.
#[derive(Debug, Default)]
pub struct SerializableWindows;

impl AnalyzerRule for SerializableWindows {
    fn name(&self) -> &'static str {
        "windows_that_travel"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let rewritten = plan.transform_up_with_subqueries(|node| {
            if !matches!(node, LogicalPlan::Window(_)) {
                return Ok(Transformed::no(node));
            }
            let changed = node.map_expressions(to_serializable)?;
            if !changed.transformed {
                return Ok(changed);
            }
            Ok(Transformed::yes(changed.data.recompute_schema()?))
        })?;
        Ok(rewritten.data)
    }
}

/// Rewrites the filter of a window function; the expression keeps its name.
fn to_serializable(expr: Expr) -> Result<Transformed<Expr>> {
    let name = expr.schema_name().to_string();
    let changed = expr.transform_up(|expr| match expr {
        Expr::WindowFunction(function) => {
            let (function, changed) = rewritten(*function)?;
            let expr = Expr::WindowFunction(Box::new(function));
            Ok(if changed { Transformed::yes(expr) } else { Transformed::no(expr) })
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(match changed {
        Transformed { data, transformed: true, .. } if data.schema_name().to_string() != name => {
            Transformed::yes(data.alias(name))
        }
        other => other,
    })
}

fn rewritten(mut function: WindowFunction) -> Result<(WindowFunction, bool)> {
    let mut changed = false;
    if let WindowFunctionDefinition::AggregateUDF(aggregate) = &function.fun
        && PASSING_OVER_NULLS.contains(&aggregate.name())
        && let Some(argument) = function.params.args.first_mut()
        && let Some(filter) = function.params.filter.take()
    {
        *argument = when(*filter, argument.clone()).end()?;
        changed = true;
    }
    Ok((function, changed))
}

/// True if a worker would compute a different function. Only the debug text of `function` shows it.
pub fn is_unserializable(function: &Arc<dyn WindowExpr>) -> bool {
    let Some(standard) = function.as_any().downcast_ref::<StandardWindowExpr>() else {
        return format!("{function:?}").contains("filter: Some(");
    };
    let text = format!("{:?}", standard.get_standard_func_expr());
    text.contains("ignore_nulls: true") || text.contains("is_reversed: true")
}
