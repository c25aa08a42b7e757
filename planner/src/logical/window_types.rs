//! Corrects the types of window functions.
//!
//! - `lag` and `lead` with a default that the type of the column cannot hold: the column is cast to
//!   the common type of both. DataFusion 55.2 casts the default to the type of the column: in
//!   `lag(i, 1, 0.5)` the 0.5 becomes 0.
//! - Ranks are signed ([`bigslice_functions::signed_rank`]). SQL finds the signed functions by
//!   name. A plan built with DataFusion's own functions gets them here, because workers look
//!   functions up by name.

use bigslice_functions::signed_rank;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::type_coercion::binary::comparison_coercion;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, WindowFunctionDefinition, cast};
use datafusion::optimizer::AnalyzerRule;

use super::expressions::{map_named, transform_nodes, transform_parts};

/// The analyzer rule; see the [module](self). It runs before types are coerced.
#[derive(Debug, Default)]
pub(crate) struct WindowTypes;

impl AnalyzerRule for WindowTypes {
    fn name(&self) -> &'static str {
        "window_types"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let mut changed = false;
        let plan = transform_nodes(plan, &mut |node| {
            if matches!(node, LogicalPlan::Window(_)) {
                let window = with_common_types(node)?;
                changed |= window.transformed;
                return Ok(window);
            }
            // The type of a node below may have changed.
            Ok(if changed {
                Transformed::yes(node.recompute_schema()?)
            } else {
                Transformed::no(node)
            })
        })?;
        Ok(plan.data)
    }
}

fn with_common_types(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Window(window) = &plan else { return Ok(Transformed::no(plan)) };
    let schema = DFSchema::clone(window.input.schema());
    let window = map_named(plan, &mut |expr| {
        transform_parts(expr, &mut |part| Ok(with_common_type(part, &schema)))
    })?;
    if window.transformed { window.map_data(LogicalPlan::recompute_schema) } else { Ok(window) }
}

fn with_common_type(mut expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let Expr::WindowFunction(function) = &mut expr else { return Transformed::no(expr) };
    let WindowFunction { fun, params: WindowFunctionParams { args, .. } } = function.as_mut();
    if let Some(signed) = signed_rank(fun.name()) {
        let signed = WindowFunctionDefinition::WindowUDF(signed);
        let changed = *fun != signed;
        *fun = signed;
        return Transformed::new_transformed(expr, changed);
    }
    if !matches!(fun.name(), "lag" | "lead") {
        return Transformed::no(expr);
    }
    let [value, _, Expr::Literal(default, _)] = args.as_slice() else {
        return Transformed::no(expr);
    };
    let Ok(of) = value.get_type(schema) else { return Transformed::no(expr) };
    let back = |held: ScalarValue| held.cast_to(&default.data_type());
    if default.is_null() || default.cast_to(&of).and_then(back).is_ok_and(|back| back == *default) {
        return Transformed::no(expr);
    }
    let Some(common) = comparison_coercion(&of, &default.data_type()) else {
        return Transformed::no(expr);
    };
    args[0] = cast(std::mem::take(&mut args[0]), common.clone());
    args[2] = cast(std::mem::take(&mut args[2]), common);
    Transformed::yes(expr)
}
