//! Casts lists whose element field is not named `item` (as in Parquet files), in functions that
//! build one list from several.
//!
//! DataFusion 55.2 declares one list type for `n || [[9]]` but computes another, and panics or
//! fails when the two are compared. The rule casts such an argument to the list type that
//! DataFusion builds.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

use super::expressions::{rewrite, transform_parts};

/// The analyzer rule; see the [module](self). It runs before types are coerced.
#[derive(Debug)]
pub(super) struct ListFields;

impl AnalyzerRule for ListFields {
    fn name(&self) -> &'static str {
        "list_fields"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite(plan, &|node| Ok(Transformed::no(node)), &|expr, schema| {
            transform_parts(expr, &mut |mut part| {
                let changed = of_call(&mut part, schema);
                Ok(Transformed::new_transformed(part, changed))
            })
        })
    }
}

const MAKING: [&str; 14] = [
    "array_append",
    "array_concat",
    "array_except",
    "array_intersect",
    "array_prepend",
    "array_repeat",
    "array_replace",
    "array_replace_all",
    "array_replace_n",
    "array_resize",
    "array_union",
    "concat",
    "flatten",
    "make_array",
];

fn of_call(expr: &mut Expr, schema: &DFSchema) -> bool {
    let Expr::ScalarFunction(call) = expr else { return false };
    if !MAKING.contains(&call.func.name()) {
        return false;
    }
    let mut changed = false;
    for arg in &mut call.args {
        let Ok(kind) = arg.get_type(schema) else { continue };
        let plain = plain(&kind);
        if plain != kind {
            *arg = Expr::Cast(Cast::new(Box::new(std::mem::take(arg)), plain));
            changed = true;
        }
    }
    changed
}

/// The type with the list types that DataFusion builds.
fn plain(kind: &DataType) -> DataType {
    let item = |item: &Field| Arc::new(Field::new_list_field(plain(item.data_type()), true));
    match kind {
        DataType::List(of) => DataType::List(item(of)),
        DataType::LargeList(of) => DataType::LargeList(item(of)),
        DataType::FixedSizeList(of, n) => DataType::FixedSizeList(item(of), *n),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_lists_become_plain() {
        let element = |of| DataType::List(Arc::new(Field::new("element", of, false)));
        let plain_list = |of| DataType::new_list(of, true);
        let nested = plain(&element(element(DataType::Int64)));
        assert_eq!(nested, plain_list(plain_list(DataType::Int64)));
    }
}
