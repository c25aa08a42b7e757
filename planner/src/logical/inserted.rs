//! Rows that are inserted into a table have its types, and no nulls in columns that are NOT NULL.
//!
//! DataFusion 55.2 declares the columns of inserted VALUES as those of the table: a null in one
//! that is NOT NULL is an error that calls it `column1`. For other rows, the error has the position
//! of the column.

use std::sync::Arc;

use bigslice_functions::not_null;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::{
    DmlStatement, Expr, ExprSchemable, LogicalPlan, Projection, Values, WriteOp, cast, lit,
};
use datafusion::optimizer::AnalyzerRule;

use super::expressions::rewrite;

/// The rule; see the header of its file.
#[derive(Debug)]
pub(super) struct Inserted;

impl AnalyzerRule for Inserted {
    fn name(&self) -> &'static str {
        "inserted"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let is_insert = |plan: &LogicalPlan| matches!(plan, LogicalPlan::Dml(dml) if matches!(dml.op, WriteOp::Insert(_)));
        if !plan.exists(|node| Ok(is_insert(node)))? {
            return Ok(plan);
        }
        let of_node = |node| match node {
            LogicalPlan::Values(values) => of_values(values),
            LogicalPlan::Dml(dml) if matches!(dml.op, WriteOp::Insert(_)) => of_insert(dml),
            other => Ok(Transformed::no(other)),
        };
        rewrite(plan, &of_node, &|expr, _| Ok(Transformed::no(expr)))
    }
}

/// VALUES whose columns may be null if one of their values may be.
fn of_values(mut values: Values) -> Result<Transformed<LogicalPlan>> {
    let empty = DFSchema::empty();
    let mut changed = false;
    let mut fields = Vec::with_capacity(values.schema.fields().len());
    for (at, (relation, field)) in values.schema.iter().enumerate() {
        let mut field = Arc::clone(field);
        let may_be_null = |row: &Vec<Expr>| row[at].nullable(&empty).unwrap_or(true);
        if !field.is_nullable() && values.values.iter().any(may_be_null) {
            field = Arc::new(field.as_ref().clone().with_nullable(true));
            changed = true;
        }
        fields.push((relation.cloned(), field));
    }
    let metadata = values.schema.metadata().clone();
    values.schema = Arc::new(DFSchema::new_with_metadata(fields, metadata)?);
    Ok(Transformed::new_transformed(LogicalPlan::Values(values), changed))
}

fn of_insert(mut dml: DmlStatement) -> Result<Transformed<LogicalPlan>> {
    let target = dml.target.schema();
    let input = dml.input.schema();
    if input.fields().len() != target.fields().len() {
        return Ok(Transformed::no(LogicalPlan::Dml(dml)));
    }
    let mut changed = false;
    let mut columns = Vec::with_capacity(target.fields().len());
    let given = input.columns().into_iter().zip(input.fields());
    for ((column, field), to) in given.zip(target.fields()) {
        let mut value = Expr::Column(column);
        let is_other = field.data_type() != to.data_type();
        let must_be_checked = field.is_nullable() && !to.is_nullable();
        if is_other {
            value = cast(value, to.data_type().clone());
        }
        if must_be_checked {
            value = not_null().call(vec![value, lit(to.name().as_str())]);
        }
        changed |= is_other || must_be_checked;
        columns.push(value.alias(to.name()));
    }
    if !changed {
        return Ok(Transformed::no(LogicalPlan::Dml(dml)));
    }
    let rows = Projection::try_new(columns, Arc::clone(&dml.input))?;
    dml.input = Arc::new(LogicalPlan::Projection(rows));
    Ok(Transformed::yes(LogicalPlan::Dml(dml)))
}
