//! Keeps NaN from being pruned. Writers of Parquet leave NaN out of the least and greatest value of
//! a column, while comparisons put it below or above every number: a filter such as `x > 5` holds
//! for a NaN in a file whose greatest `x` is 4, and pruning by statistics would lose that row.
//!
//! [`FloatBounds`] hides from pruning every condition that a NaN could fulfil; conditions that it
//! cannot, such as `x BETWEEN 2 AND 5`, prune as before. The check by substitution is DuckDB's,
//! from its Parquet reader. The planner's `float_key` is taken off again where it only hides a
//! column, and `x = 0.0` becomes a range: a Bloom filter that is asked for 0.0 knows nothing of
//! -0.0 (DataFusion 55.2). [`statistics`](super::statistics) keeps the planner from taking the
//! same numbers for exact: for the answer of `max(x)`, or to leave out a file.

use std::sync::Arc;

use bigslice_functions::FLOAT_KEY;
use datafusion::arrow::datatypes::{ArrowPrimitiveType, DataType, Float16Type, Schema};
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::ScalarValue;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::physical_plan::{FileScanConfigBuilder, FileSource, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, Operator};
use datafusion::physical_expr::expressions::{
    BinaryExpr, CaseExpr, Column, InListExpr, Literal, lit,
};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{
    DynamicFilterTracking, PhysicalExpr, ScalarFunctionExpr, conjunction, split_conjunction,
};
use datafusion::physical_expr_common::physical_expr::is_volatile;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;

use crate::scan::file_scan;

type Condition = Arc<dyn PhysicalExpr>;
type F16 = <Float16Type as ArrowPrimitiveType>::Native;

/// A rule of the physical optimizer, after those that push filters into scans.
#[derive(Debug)]
pub(crate) struct FloatBounds;

impl PhysicalOptimizerRule for FloatBounds {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            Ok(guarded(&node)?.map_or_else(|| Transformed::no(node), Transformed::yes))
        })
        .map(|guarded| guarded.data)
    }

    fn name(&self) -> &'static str {
        "float_bounds"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The scan with conditions hidden, if it is one of Parquet files with such conditions.
fn guarded(node: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(scan) = file_scan(node) else { return Ok(None) };
    let Some(source) = scan.file_source().downcast_ref::<ParquetSource>() else { return Ok(None) };
    let Some(predicate) = source.filter() else { return Ok(None) };
    let schema = Arc::clone(source.table_schema().table_schema());
    let Some(predicate) = hide(&predicate, &schema, rows_are_filtered(source))? else {
        return Ok(None);
    };
    let scan = FileScanConfigBuilder::from(scan.clone())
        .with_source(Arc::new(source.with_predicate(predicate)))
        .build();
    Ok(Some(DataSourceExec::from_data_source(scan)))
}

/// Whether the predicate does more than prune: whole groups of rows that fulfil it by their bounds
/// then skip the filter, NaN and all.
fn rows_are_filtered(source: &ParquetSource) -> bool {
    source.table_parquet_options().global.pushdown_filters
}

/// `predicate` without what a NaN could pass, for pruning; none if there is nothing to hide.
fn hide(predicate: &Condition, schema: &Schema, all: bool) -> Result<Option<Condition>> {
    let conditions: Vec<&Condition> = split_conjunction(predicate);
    let floats: Vec<Vec<Column>> = conditions
        .iter()
        .map(|condition| {
            let columns = collect_columns(condition).into_iter();
            columns.filter(|c| schema.field(c.index()).data_type().is_floating()).collect()
        })
        .collect();
    if floats.iter().all(Vec::is_empty) {
        return Ok(None);
    }
    // Of one column all conditions together: NaN passes each end of a range, but not both.
    let refused = |column: &Column| {
        let of_column =
            conditions.iter().zip(&floats).filter(|(_, f)| f.as_slice() == [column.clone()]);
        let together: Vec<&Condition> = of_column.map(|(condition, _)| *condition).collect();
        refuses_nan(&together, column, schema.field(column.index()).data_type())
    };
    let mut hidden = false;
    let mut kept = Vec::with_capacity(conditions.len());
    for (condition, floats) in conditions.iter().zip(&floats) {
        let prunes = match floats.as_slice() {
            [] => true,
            [column] => !all && refused(column),
            _ => false,
        };
        if is_opaque(condition) {
            kept.push(Arc::clone(condition));
            continue;
        }
        hidden |= !prunes;
        kept.push(if !prunes {
            opaque(condition)?
        } else if floats.is_empty() {
            Arc::clone(condition)
        } else {
            hidden = true;
            bare(condition)?
        });
    }
    Ok(hidden.then(|| conjunction(kept)))
}

/// `condition` on the columns themselves, and with ranges in the place of equality with zero.
fn bare(condition: &Condition) -> Result<Condition> {
    let bare = Arc::clone(condition).transform_up(|node| {
        if let Some(function) = node.downcast_ref::<ScalarFunctionExpr>()
            && let (FLOAT_KEY, [arg]) = (function.name(), function.args())
        {
            return Ok(Transformed::yes(Arc::clone(arg)));
        }
        if let Some(binary) = node.downcast_ref::<BinaryExpr>()
            && *binary.op() == Operator::Eq
            && (is_zero(binary.left()) || is_zero(binary.right()))
        {
            let side = |op| {
                let (left, right) = (Arc::clone(binary.left()), Arc::clone(binary.right()));
                Arc::new(BinaryExpr::new(left, op, right)) as Condition
            };
            return Ok(Transformed::yes(conjunction([side(Operator::LtEq), side(Operator::GtEq)])));
        }
        if let Some(list) = node.downcast_ref::<InListExpr>()
            && list.list().iter().any(is_zero)
        {
            return Ok(Transformed::yes(opaque(&node)?));
        }
        Ok(Transformed::no(node))
    });
    Ok(bare?.data)
}

/// Whether it is a zero of a type of floats.
fn is_zero(expr: &Condition) -> bool {
    match expr.downcast_ref::<Literal>().map(Literal::value) {
        Some(ScalarValue::Float16(Some(x))) => x.to_f32() == 0.0,
        Some(ScalarValue::Float32(Some(x))) => *x == 0.0,
        Some(ScalarValue::Float64(Some(x))) => *x == 0.0,
        _ => false,
    }
}

/// The same condition in a form that pruning does not look into.
fn opaque(condition: &Condition) -> Result<Condition> {
    Ok(Arc::new(CaseExpr::try_new(None, vec![(lit(true), Arc::clone(condition))], None)?))
}

fn is_opaque(condition: &Condition) -> bool {
    let whens = condition.downcast_ref::<CaseExpr>().map(CaseExpr::when_then_expr);
    matches!(whens, Some([(when, _)]) if when.downcast_ref::<Literal>().is_some_and(|when| {
        *when.value() == ScalarValue::Boolean(Some(true))
    }))
}

/// Whether no NaN in `column` can make all of `conditions` true, whatever other columns hold.
fn refuses_nan(conditions: &[&Condition], column: &Column, kind: &DataType) -> bool {
    nans(kind).into_iter().all(|nan| {
        // One that is false or unknown is enough; one that cannot be computed says nothing.
        conditions.iter().any(|condition| {
            let replaced = Arc::clone(condition).transform_up(|node| {
                let is_column = node.downcast_ref::<Column>().is_some_and(|c| c == column);
                Ok(if is_column {
                    Transformed::yes(Arc::new(Literal::new(nan.clone())) as Condition)
                } else {
                    Transformed::no(node)
                })
            });
            replaced.is_ok_and(|replaced| is_constant(&replaced.data) && never(&replaced.data))
        })
    })
}

/// Whether its value is the same wherever and whenever it is computed.
fn is_constant(condition: &Condition) -> bool {
    collect_columns(condition).is_empty()
        && !is_volatile(condition)
        && !DynamicFilterTracking::classify(condition).contains_dynamic_filter()
}

fn never(condition: &Condition) -> bool {
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let schema = Arc::new(Schema::empty());
    let Ok(row) = RecordBatch::try_new_with_options(schema, vec![], &options) else { return false };
    let value = condition.evaluate(&row).and_then(|value| match value {
        ColumnarValue::Scalar(value) => Ok(value),
        ColumnarValue::Array(values) => ScalarValue::try_from_array(&values, 0),
    });
    matches!(value, Ok(ScalarValue::Boolean(None | Some(false))))
}

/// NaN of both signs: the usual one, the one nearest to the infinities, and the farthest from them.
fn nans(kind: &DataType) -> Vec<ScalarValue> {
    match kind {
        DataType::Float16 => [0x7e00, 0x7c01, 0x7fff, 0xfe00, 0xfc01, 0xffff]
            .map(|bits| ScalarValue::Float16(Some(F16::from_bits(bits))))
            .to_vec(),
        DataType::Float32 => {
            [0x7fc0_0000, 0x7f80_0001, 0x7fff_ffff, 0xffc0_0000, 0xff80_0001, 0xffff_ffff]
                .map(|bits| ScalarValue::Float32(Some(f32::from_bits(bits))))
                .to_vec()
        }
        _ => [
            0x7ff8_0000_0000_0000,
            0x7ff0_0000_0000_0001,
            0x7fff_ffff_ffff_ffff,
            0xfff8_0000_0000_0000,
            0xfff0_0000_0000_0001,
            0xffff_ffff_ffff_ffff,
        ]
        .map(|bits| ScalarValue::Float64(Some(f64::from_bits(bits))))
        .to_vec(),
    }
}
