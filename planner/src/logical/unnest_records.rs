//! Makes the fields of a null struct null in `unnest(record)` and `record.*`.
//!
//! DataFusion 55.2 returns the values stored below a null struct (see `null_fields` in the
//! functions crate).

use std::sync::Arc;

use bigslice_functions::null_fields;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, Result};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Unnest};
use datafusion::optimizer::AnalyzerRule;

use super::expressions::transform_nodes;

/// The analyzer rule; see the [module](self).
#[derive(Debug)]
pub(super) struct UnnestRecords;

impl AnalyzerRule for UnnestRecords {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let changed = transform_nodes(plan, &mut |node| match node {
            LogicalPlan::Unnest(unnest) if !unnest.struct_type_columns.is_empty() => {
                Ok(Transformed::yes(LogicalPlan::Unnest(guarded(unnest)?)))
            }
            node => Ok(Transformed::no(node)),
        });
        changed.map(|changed| changed.data)
    }

    fn name(&self) -> &'static str {
        "unnest_records"
    }
}

fn guarded(unnest: Unnest) -> Result<Unnest> {
    let records = unnest.struct_type_columns;
    let columns: Vec<Expr> = unnest
        .input
        .schema()
        .iter()
        .enumerate()
        .map(|(at, (qualifier, field))| {
            let column = Expr::Column(Column::from((qualifier, field.as_ref())));
            match records.contains(&at) {
                true => null_fields()
                    .call(vec![column])
                    .alias_qualified(qualifier.cloned(), field.name()),
                false => column,
            }
        })
        .collect();
    let input = Arc::unwrap_or_clone(unnest.input);
    let input = LogicalPlanBuilder::from(input).project(columns)?.build()?;
    Unnest::try_new(Arc::new(input), unnest.exec_columns, unnest.options)
}
