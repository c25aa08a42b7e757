//! Supports windows ordered by bytes, structs and maps.
//!
//! DataFusion 55.2 refuses the default frame of a window, `RANGE UNBOUNDED PRECEDING`, if the
//! window is ordered by one of these types ("Cannot run range queries"). Without a distance, such a
//! frame equals a frame of groups of equal rows, so the rule writes it as GROUPS.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::{
    Expr, ExprSchemable, LogicalPlan, WindowFrame, WindowFrameBound, WindowFrameUnits,
};
use datafusion::optimizer::AnalyzerRule;

use super::expressions::{rewrite, transform_parts};

/// The analyzer rule; see the [module](self). It runs before types are coerced.
#[derive(Debug)]
pub(super) struct RangeFrames;

impl AnalyzerRule for RangeFrames {
    fn name(&self) -> &'static str {
        "range_frames"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite(plan, &|node| Ok(Transformed::no(node)), &|expr, schema| {
            transform_parts(expr, &mut |part| Ok(in_groups(part, schema)))
        })
    }
}

fn in_groups(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let Expr::WindowFunction(mut window) = expr else { return Transformed::no(expr) };
    let params = &mut window.params;
    let frame = &params.window_frame;
    let key = params.order_by.first().and_then(|key| key.expr.get_type(schema).ok());
    let is_without_distance = |bound: &WindowFrameBound| match bound {
        WindowFrameBound::CurrentRow => true,
        WindowFrameBound::Preceding(by) | WindowFrameBound::Following(by) => by.is_null(),
    };
    let changed = frame.units == WindowFrameUnits::Range
        && key.is_some_and(|kind| is_refused(&kind))
        && is_without_distance(&frame.start_bound)
        && is_without_distance(&frame.end_bound);
    if changed {
        let bound = |bound: &WindowFrameBound| match bound {
            WindowFrameBound::CurrentRow => WindowFrameBound::CurrentRow,
            WindowFrameBound::Preceding(_) => {
                WindowFrameBound::Preceding(ScalarValue::UInt64(None))
            }
            WindowFrameBound::Following(_) => {
                WindowFrameBound::Following(ScalarValue::UInt64(None))
            }
        };
        let (start, end) = (bound(&frame.start_bound), bound(&frame.end_bound));
        params.window_frame = WindowFrame::new_bounds(WindowFrameUnits::Groups, start, end);
    }
    Transformed::new_transformed(Expr::WindowFunction(window), changed)
}

fn is_refused(kind: &DataType) -> bool {
    match kind {
        DataType::Dictionary(_, value) => is_refused(value),
        kind => matches!(
            kind,
            DataType::Binary
                | DataType::LargeBinary
                | DataType::BinaryView
                | DataType::FixedSizeBinary(_)
                | DataType::Struct(_)
                | DataType::Map(..)
        ),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    #[tokio::test]
    async fn frames_of_groups_are_still_needed() {
        let sql = "SELECT rank() OVER (ORDER BY x) FROM (VALUES (arrow_cast('a', 'Binary'))) t(x)";
        let rows = match SessionContext::new().sql(sql).await {
            Ok(frame) => frame.collect().await,
            Err(error) => Err(error),
        };
        rows.expect_err("DataFusion has ranges of bytes");
    }
}
