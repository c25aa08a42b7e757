//! Maps the columns of an operator to those of its inputs, by position.
//!
//! For operators that are not listed here the origin of columns is unknown, and no filter moves
//! past them.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{JoinType, Result};
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr_common::physical_expr::is_volatile;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::buffer::BufferExec;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::filter_pushdown::FilterPushdownPhase;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::union::UnionExec;

/// Rewrites `filter`, over the columns of `node`, over those of its input number `child`. `None` if
/// that is not possible.
pub(super) fn moved(
    node: &dyn ExecutionPlan,
    child: usize,
    filter: &Arc<dyn PhysicalExpr>,
) -> Result<Option<Arc<dyn PhysicalExpr>>> {
    let mut known = true;
    let moved = Arc::clone(filter).transform_down(|expr| {
        let Some(column) = expr.downcast_ref::<Column>() else { return Ok(Transformed::no(expr)) };
        match origin(node, child, column.index()) {
            // The replacement is over the input, so it is not searched.
            Some(origin) => Ok(Transformed::new(origin, true, TreeNodeRecursion::Jump)),
            None => {
                known = false;
                Ok(Transformed::complete(expr))
            }
        }
    })?;
    Ok(Some(moved.data).filter(|moved| known && !is_volatile(moved)))
}

/// Column `at` of `node` as an expression over input number `child`.
fn origin(node: &dyn ExecutionPlan, child: usize, at: usize) -> Option<Arc<dyn PhysicalExpr>> {
    let input = *node.children().get(child)?;
    if has_the_columns_of_its_input(node) {
        return column(input, at);
    }
    if let Some(filter) = node.downcast_ref::<FilterExec>() {
        return match filter.projection() {
            Some(projection) => column(input, *projection.get(at)?),
            None => column(input, at),
        };
    }
    if let Some(projection) = node.downcast_ref::<ProjectionExec>() {
        return projection.expr().get(at).map(|projected| Arc::clone(&projected.expr));
    }
    if let Some(aggregate) = node.downcast_ref::<AggregateExec>() {
        return aggregate.group_expr().expr().get(at).map(|(key, _)| Arc::clone(key));
    }
    node.downcast_ref::<HashJoinExec>().and_then(|join| joined(join, child, at))
}

fn column(input: &Arc<dyn ExecutionPlan>, at: usize) -> Option<Arc<dyn PhysicalExpr>> {
    let schema = input.schema();
    let field = schema.fields().get(at)?;
    Some(Arc::new(Column::new(field.name(), at)))
}

fn has_the_columns_of_its_input(node: &dyn ExecutionPlan) -> bool {
    node.is::<CoalescePartitionsExec>()
        || node.is::<RepartitionExec>()
        || node.is::<SortExec>()
        || node.is::<CooperativeExec>()
        || node.is::<BufferExec>()
        || node.is::<UnionExec>()
}

/// The two inputs of a join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

/// Column `at` of a join as an expression over one of its inputs. The rows that a semi join keeps
/// have their key in the other input, too.
fn joined(join: &HashJoinExec, child: usize, at: usize) -> Option<Arc<dyn PhysicalExpr>> {
    let wanted = if child == 0 { Side::Left } else { Side::Right };
    let input = if child == 0 { join.left() } else { join.right() };
    let at = match &join.projection {
        Some(projection) => *projection.get(at)?,
        None => at,
    };
    let left_columns = join.left().schema().fields().len();
    let (side, at) = match join.join_type() {
        JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => {
            if at < left_columns { (Side::Left, at) } else { (Side::Right, at - left_columns) }
        }
        // The mark is the last column, and not one of the input.
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => (Side::Left, at),
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => (Side::Right, at),
    };
    if side == wanted {
        return column(input, at);
    }
    if !matches!(join.join_type(), JoinType::LeftSemi | JoinType::RightSemi) {
        return None;
    }
    join.on().iter().find_map(|(left, right)| {
        let (key, partner) = if side == Side::Left { (left, right) } else { (right, left) };
        let is_key = key.downcast_ref::<Column>().is_some_and(|key| key.index() == at);
        is_key.then(|| Arc::clone(partner))
    })
}

/// False if `node` must not be given a filter: it would apply it to other columns or other rows.
pub(super) fn can_take(
    node: &dyn ExecutionPlan,
    filter: &Arc<dyn PhysicalExpr>,
    phase: FilterPushdownPhase,
) -> Result<bool> {
    // A filter below a limit changes which rows the limit keeps. Sorts refuse it themselves.
    if node.fetch().is_some() && !node.is::<SortExec>() {
        return Ok(false);
    }
    if let Some(own) = node.downcast_ref::<FilterExec>()
        && let Some(projection) = own.projection()
        && phase == FilterPushdownPhase::Pre
    {
        // A filter absorbs filters that cannot go further, and looks up the columns by name.
        let input = own.input().schema();
        return Ok(collect_columns(filter).iter().all(|column| {
            projection.get(column.index()).copied() == input.index_of(column.name()).ok()
        }));
    }
    match node.downcast_ref::<DataSourceExec>() {
        Some(source) => can_scan_with(source, filter),
        None => Ok(true),
    }
}

/// True if a file scan, which looks up a filter's columns in its table by name, finds the right
/// ones.
fn can_scan_with(source: &DataSourceExec, filter: &Arc<dyn PhysicalExpr>) -> Result<bool> {
    let Some(scan) = source.data_source().downcast_ref::<FileScanConfig>() else { return Ok(true) };
    let filter = match scan.file_source().projection() {
        Some(projection) => projection.unproject_expr(filter)?,
        None => Arc::clone(filter),
    };
    let table = scan.file_source().table_schema().table_schema();
    Ok(collect_columns(&filter)
        .iter()
        .all(|column| table.index_of(column.name()).ok() == Some(column.index())))
}
