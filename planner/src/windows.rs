//! Rewrites window functions so that they survive serialization to a worker.
//!
//! datafusion-proto 55.2 serializes neither the FILTER of a window function nor the IGNORE NULLS of
//! `lag`, `lead`, `first_value`, `last_value` and `nth_value`: a worker computes them over all
//! rows. [`SerializableWindows`] moves the filter of null-ignoring aggregates into the argument,
//! `CASE WHEN filter THEN argument END`, and replaces the others by [`ignoring_nulls`], functions
//! that carry IGNORE NULLS in their name. [`is_unserializable`] finds what cannot be rewritten.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::compute::SortOptions;
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::execution::SessionStateBuilder;
use datafusion::logical_expr::expr::{NullTreatment, WindowFunction};
use datafusion::logical_expr::function::{
    ExpressionArgs, PartitionEvaluatorArgs, WindowUDFFieldArgs,
};
use datafusion::logical_expr::{
    Expr, LimitEffect, LogicalPlan, PartitionEvaluator, ReversedUDWF, Signature,
    WindowFunctionDefinition, WindowUDF, WindowUDFImpl, when,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::window::{StandardWindowExpr, WindowExpr};

/// The functions that support IGNORE NULLS.
const SEEING_NULLS: [&str; 5] = ["lag", "lead", "first_value", "last_value", "nth_value"];

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

/// Rewrites the filter and null treatment of a window function; the expression keeps its name.
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
    match &function.fun {
        WindowFunctionDefinition::AggregateUDF(aggregate) => {
            let passes_over = PASSING_OVER_NULLS.contains(&aggregate.name());
            if passes_over
                && let Some(argument) = function.params.args.first_mut()
                && let Some(filter) = function.params.filter.take()
            {
                *argument = when(*filter, argument.clone()).end()?;
                changed = true;
            }
        }
        WindowFunctionDefinition::WindowUDF(inner) => {
            let ignores = function.params.null_treatment == Some(NullTreatment::IgnoreNulls);
            if ignores && SEEING_NULLS.contains(&inner.name()) {
                let ignoring = Arc::new(ignoring_nulls(inner));
                function.fun = WindowFunctionDefinition::WindowUDF(ignoring);
                function.params.null_treatment = None;
                changed = true;
            }
        }
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

/// Adds the IGNORE NULLS variant of each function that supports it.
pub(crate) fn register(mut builder: SessionStateBuilder) -> SessionStateBuilder {
    let functions = builder.window_functions().get_or_insert_default();
    let ignoring: Vec<_> = functions
        .iter()
        .filter(|function| SEEING_NULLS.contains(&function.name()))
        .map(|function| Arc::new(ignoring_nulls(function)))
        .collect();
    functions.extend(ignoring);
    builder
}

/// `inner` with IGNORE NULLS.
fn ignoring_nulls(inner: &Arc<WindowUDF>) -> WindowUDF {
    let name = format!("{} ignoring nulls", inner.name());
    WindowUDF::from(IgnoringNulls { inner: Arc::clone(inner), name })
}

/// A window function that ignores nulls.
#[derive(Debug)]
struct IgnoringNulls {
    inner: Arc<WindowUDF>,
    name: String,
}

impl PartialEq for IgnoringNulls {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for IgnoringNulls {}

impl Hash for IgnoringNulls {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl WindowUDFImpl for IgnoringNulls {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn expressions(&self, args: ExpressionArgs<'_>) -> Vec<Arc<dyn PhysicalExpr>> {
        self.inner.expressions(args)
    }

    fn partition_evaluator(
        &self,
        args: PartitionEvaluatorArgs<'_>,
    ) -> Result<Box<dyn PartitionEvaluator>> {
        let (exprs, fields) = (args.input_exprs(), args.input_fields());
        let ignoring = PartitionEvaluatorArgs::new(exprs, fields, args.is_reversed(), true);
        self.inner.partition_evaluator_factory(ignoring)
    }

    fn field(&self, args: WindowUDFFieldArgs<'_>) -> Result<FieldRef> {
        self.inner.field(args)
    }

    fn sort_options(&self) -> Option<SortOptions> {
        self.inner.sort_options()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn reverse_expr(&self) -> ReversedUDWF {
        ReversedUDWF::NotSupported
    }

    fn limit_effect(&self, _args: &[Arc<dyn PhysicalExpr>]) -> LimitEffect {
        LimitEffect::Unknown
    }
}
