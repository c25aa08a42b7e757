//! Keeps floating-point numbers in VALUES that also have decimals.
//!
//! DataFusion 55.2 casts each column of VALUES to one type when it makes the plan, and both to
//! DECIMAL(30, 15): a large number is an error, and digits after the fifteenth are lost. The column
//! should be what [`mixed_numbers`](super::mixed_numbers) makes of them elsewhere.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::type_coercion::binary::type_union_resolution;
use datafusion::logical_expr::{
    Cast, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Values,
};
use datafusion::optimizer::AnalyzerRule;

use super::expressions::rewrite;
use super::mixed_numbers::to_doubles;

/// The rule; see the header of its file. It runs before the rules that look at the types of
/// numbers, and before [`inserted`](super::inserted), which casts rows for the table that they are
/// inserted into.
#[derive(Debug)]
pub(super) struct MixedValues;

impl AnalyzerRule for MixedValues {
    fn name(&self) -> &'static str {
        "mixed_values"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let of_node = |node| match node {
            LogicalPlan::Values(values) => of_values(values),
            other => Ok(Transformed::no(other)),
        };
        rewrite(plan, &of_node, &|expr, _| Ok(Transformed::no(expr)))
    }
}

/// VALUES without the casts of its columns, if a column has both.
///
/// The [syntax](crate::syntax) tree has casts to DECIMAL in VALUES twice, so that a cast of a
/// floating-point number to the type of the column is always DataFusion's.
fn of_values(values: Values) -> Result<Transformed<LogicalPlan>> {
    if !values.schema.fields().iter().any(|field| field.data_type().is_decimal()) {
        return Ok(Transformed::no(LogicalPlan::Values(values)));
    }
    let empty = DFSchema::empty();
    let mut rows = values.values.clone();
    let mut changed = false;
    for (at, field) in values.schema.fields().iter().enumerate() {
        if !field.data_type().is_decimal() {
            continue;
        }
        let mut column: Vec<Expr> =
            rows.iter_mut().map(|row| std::mem::take(&mut row[at])).collect();
        let mut bare: Vec<Expr> =
            column.iter().map(|value| without_cast(value, field.data_type())).collect();
        // Otherwise the type is that of a table that the rows are inserted into.
        let is_inferred = inferred_type(&bare, &empty).as_ref() == Some(field.data_type());
        if is_inferred && to_doubles(&mut bare.iter_mut().collect::<Vec<_>>(), &empty) {
            column = bare;
            changed = true;
        }
        for (row, value) in rows.iter_mut().zip(column) {
            row[at] = value;
        }
    }
    if !changed {
        return Ok(Transformed::no(LogicalPlan::Values(values)));
    }
    Ok(Transformed::yes(LogicalPlanBuilder::values(rows)?.build()?))
}

/// The type that DataFusion gives a column of VALUES.
fn inferred_type(column: &[Expr], schema: &DFSchema) -> Option<DataType> {
    let kinds = column.iter().map(|value| value.get_type(schema).ok());
    let known = kinds.filter(|kind| *kind != Some(DataType::Null));
    known.reduce(|one, other| type_union_resolution(&[one?, other?])).flatten()
}

/// The value before DataFusion cast it to the type of its column.
fn without_cast(value: &Expr, kind: &DataType) -> Expr {
    match value {
        Expr::Literal(value, metadata) if value.is_null() => {
            Expr::Literal(ScalarValue::Null, metadata.clone())
        }
        Expr::Cast(Cast { expr, field }) if field.data_type() == kind => expr.as_ref().clone(),
        other => other.clone(),
    }
}
