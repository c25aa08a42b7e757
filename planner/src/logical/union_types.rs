//! Refuses UNION, INTERSECT and EXCEPT of columns without a common type.
//!
//! DataFusion 55.2 turns integers into dates and times there: 1 becomes the second of January 1970.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::AnalyzerRule;

/// The analyzer rule; see the [module](self). It changes nothing.
#[derive(Debug)]
pub(super) struct UnionTypes;

impl AnalyzerRule for UnionTypes {
    fn name(&self) -> &'static str {
        "union_types"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.apply_with_subqueries(|node| {
            if let LogicalPlan::Union(union) = node {
                let (first, rest) = match union.inputs.as_slice() {
                    [first, rest @ ..] => (first, rest),
                    [] => return Ok(TreeNodeRecursion::Continue),
                };
                for input in rest {
                    let pairs = first.schema().fields().iter().zip(input.schema().fields());
                    for (at, (one, other)) in pairs.enumerate() {
                        mixes(at, one.data_type(), other.data_type())?;
                    }
                }
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(plan)
    }
}

fn mixes(at: usize, one: &DataType, other: &DataType) -> Result<()> {
    let is_moment = |kind: &DataType| kind.is_temporal();
    if is_moment(one) && other.is_numeric() || is_moment(other) && one.is_numeric() {
        return plan_err!(
            "column {} of a UNION is {one} in one query and {other} in another; cast one of them",
            at + 1
        );
    }
    Ok(())
}
