//! Runs window functions over text columns in little memory.
//!
//! DataFusion 55.2: a window operator appends each batch to the rows that it still needs, and drops
//! rows from the front by slicing. For columns of views (`Utf8View`, `BinaryView`) neither releases
//! memory: the buffers of all texts ever seen stay, unaccounted, until the end of the input.
//! [`LeanWindows`] gives such operators text columns that are copied when they are concatenated:
//!
//! ```text
//! Window                  Projection: cast(pad as Utf8View)
//!   ..               =>     Window
//!                             Projection: cast(pad as LargeUtf8)
//!                               ..
//! ```
//!
//! The casts cost two copies of the text: worth it only where memory is limited.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema};
use datafusion::error::Result;
use datafusion::logical_expr::expr::Sort;
use datafusion::logical_expr::{Cast, Expr, LogicalPlan, Projection, Window};
use datafusion::optimizer::AnalyzerRule;

use super::expressions::{transform_nodes, transform_parts};

/// The analyzer rule: runs after the types of all expressions are settled.
#[derive(Debug)]
pub struct LeanWindows;

impl AnalyzerRule for LeanWindows {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        transform_nodes(plan, &mut |node| match node {
            LogicalPlan::Window(window) if has_views(window.input.schema()) => {
                Ok(Transformed::yes(lean(window)?))
            }
            node => Ok(Transformed::no(node)),
        })
        .map(|lean| lean.data)
    }

    fn name(&self) -> &'static str {
        "lean_windows"
    }
}

/// The type without views that holds the same values.
fn without_views(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Utf8View => Some(DataType::LargeUtf8),
        DataType::BinaryView => Some(DataType::LargeBinary),
        _ => None,
    }
}

fn has_views(schema: &DFSchema) -> bool {
    schema.fields().iter().any(|field| without_views(field.data_type()).is_some())
}

fn lean(window: Window) -> Result<LogicalPlan> {
    let Window { input, window_expr, schema } = window;
    let columns = input.schema().iter().map(|(qualifier, field)| {
        let column = Expr::Column(Column::from((qualifier, field)));
        match without_views(field.data_type()) {
            Some(data_type) => {
                cast(column, data_type).alias_qualified(qualifier.cloned(), field.name())
            }
            None => column,
        }
    });
    let columns: Vec<Expr> = columns.collect();
    let functions = window_expr.into_iter().map(|expr| as_before(expr, input.schema()));
    let functions = functions.collect::<Result<Vec<_>>>()?;
    let below = LogicalPlan::Projection(Projection::try_new(columns, input)?);
    let window = LogicalPlan::Window(Window::try_new(functions, Arc::new(below))?);
    let restored = window.schema().iter().zip(schema.iter()).map(|(now, before)| {
        let column = Expr::Column(Column::from(now));
        if now == before {
            return column;
        }
        let column = match now.1.data_type() == before.1.data_type() {
            true => column,
            false => cast(column, before.1.data_type().clone()),
        };
        column.alias_qualified(before.0.cloned(), before.1.name())
    });
    let restored: Vec<Expr> = restored.collect();
    Ok(LogicalPlan::Projection(Projection::try_new(restored, Arc::new(window))?))
}

fn cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast(Cast::new(Box::new(expr), data_type))
}

/// Casts the columns that have lost their views back to the types that the window function was
/// resolved for. A column that is only compared may have either type.
fn as_before(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let with_views = |expr: Expr| {
        transform_parts(expr, &mut |node| {
            let before = match &node {
                Expr::Column(column) => schema.index_of_column(column).ok(),
                _ => None,
            };
            let before = before.map(|index| schema.field(index).data_type());
            Ok(match before.filter(|data_type| without_views(data_type).is_some()) {
                Some(data_type) => Transformed::yes(cast(node, data_type.clone())),
                None => Transformed::no(node),
            })
        })
        .map(|typed| typed.data)
    };
    let compared = |expr: Expr| match expr {
        Expr::Column(_) => Ok(expr),
        expr => with_views(expr),
    };
    expr.transform_down(|node| match node {
        Expr::WindowFunction(mut function) => {
            let params = &mut function.params;
            let taken = std::mem::take(&mut params.args).into_iter();
            params.args = taken.map(with_views).collect::<Result<_>>()?;
            params.filter =
                params.filter.take().map(|f| with_views(*f).map(Box::new)).transpose()?;
            let taken = std::mem::take(&mut params.partition_by).into_iter();
            params.partition_by = taken.map(compared).collect::<Result<_>>()?;
            let taken = std::mem::take(&mut params.order_by).into_iter();
            params.order_by = taken
                .map(|sort| Ok(Sort { expr: compared(sort.expr)?, ..sort }))
                .collect::<Result<_>>()?;
            let node = Expr::WindowFunction(function);
            Ok(Transformed::new(node, true, TreeNodeRecursion::Jump))
        }
        node => Ok(Transformed::no(node)),
    })
    .map(|typed| typed.data)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::AsArray;
    use datafusion::arrow::record_batch::RecordBatch;
    use datafusion::arrow::util::pretty::pretty_format_batches;
    use datafusion::execution::SessionStateBuilder;
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::*;

    async fn rows(rules: bool, sql: &str) -> Vec<RecordBatch> {
        let config = SessionConfig::new().with_target_partitions(1).with_batch_size(100);
        let mut builder = SessionStateBuilder::new().with_default_features().with_config(config);
        if rules {
            builder = builder.with_analyzer_rule(Arc::new(LeanWindows));
        }
        let context = SessionContext::new_with_state(builder.build());
        context.sql(sql).await.unwrap().collect().await.unwrap()
    }

    const TEXTS: &str =
        "(select value as k, value % 7 as g, md5(cast(value as varchar)) as t from range(5000))";

    /// The buffers of the last of 50 batches; if DataFusion retains them, it has those of all.
    async fn buffers_at_the_end(rules: bool) -> usize {
        let sql = format!("select t, lead(k) over (order by k) as r from {TEXTS}");
        let batches = rows(rules, &sql).await;
        batches.last().unwrap().column(0).as_string_view().data_buffers().len()
    }

    #[tokio::test]
    async fn a_window_keeps_no_text_that_it_is_done_with() {
        assert!(buffers_at_the_end(true).await <= 2);
    }

    #[tokio::test]
    async fn texts_without_views_are_still_needed() {
        let kept = buffers_at_the_end(false).await;
        assert!(kept > 20, "DataFusion keeps {kept} buffers, drop the rule");
    }

    #[tokio::test]
    async fn names_types_and_rows_are_as_before() {
        for select in [
            "k, t, row_number() over (order by t) as r",
            "k, lag(t, 1, 'none') over (partition by g order by k), t || 'x'",
            "k, max(t) over (partition by g order by k rows 3 preceding) as m, count(*) over ()",
            "k, first_value(t) over (partition by substr(t, 1, 1) order by upper(t)) as f",
            "k, count(t) filter (where t > '8') over (partition by g) as c",
            "k, (select max(r) from (select row_number() over (order by t) as r from x)) as n",
        ] {
            let sql = format!("with x as {TEXTS} select {select} from x order by k limit 300");
            let (plain, lean) = (rows(false, &sql).await, rows(true, &sql).await);
            assert_eq!(plain[0].schema(), lean[0].schema(), "{sql}");
            let text =
                |batches: &[RecordBatch]| pretty_format_batches(batches).unwrap().to_string();
            assert_eq!(text(&plain), text(&lean), "{sql}");
        }
    }
}
