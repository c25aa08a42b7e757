//! Casts times of day of different units to the finest of them.
//!
//! For what DataFusion 55.2 gets wrong, see `finest_time` in the functions crate. Comparison
//! operators are planned that way from the start, and functions accept mixed units. This rule
//! covers the rest: BETWEEN, IN, CASE, set operations and joins.

use std::sync::Arc;

use bigslice_functions::finest_time;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema, Result};
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::{
    BinaryExpr, Case, Expr, ExprSchemable, Join, LogicalPlan, LogicalPlanBuilder, Union,
};
use datafusion::optimizer::AnalyzerRule;

use super::expressions::{rewrite, transform_parts};
use super::simplify::compares;

/// The analyzer rule; see the [module](self). It runs before types are coerced.
#[derive(Debug)]
pub(super) struct TimeUnits;

impl AnalyzerRule for TimeUnits {
    fn name(&self) -> &'static str {
        "time_units"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite(plan, &of_node, &|expr, schema| {
            transform_parts(expr, &mut |mut part| {
                let changed = of_expr(&mut part, schema);
                Ok(Transformed::new_transformed(part, changed))
            })
        })
    }
}

fn of_expr(expr: &mut Expr, schema: &DFSchema) -> bool {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if compares(*op) => {
            in_one_unit(vec![left, right], schema)
        }
        Expr::Between(between) => {
            in_one_unit(vec![&mut between.expr, &mut between.low, &mut between.high], schema)
        }
        Expr::InList(list) => {
            let mut parts = vec![list.expr.as_mut()];
            parts.extend(&mut list.list);
            in_one_unit(parts, schema)
        }
        Expr::Case(Case { expr, when_then_expr, else_expr }) => {
            let (mut compared, mut given) = (Vec::new(), Vec::new());
            for (when, then) in when_then_expr {
                compared.push(when.as_mut());
                given.push(then.as_mut());
            }
            given.extend(else_expr.as_deref_mut());
            let base = expr.as_deref_mut();
            let compared = base.is_some_and(|base| {
                compared.push(base);
                in_one_unit(compared, schema)
            });
            in_one_unit(given, schema) | compared
        }
        _ => false,
    }
}

/// Casts coarser times to the finest unit, if all parts are times of day.
fn in_one_unit(parts: Vec<&mut Expr>, schema: &DFSchema) -> bool {
    let types: Result<Vec<DataType>> = parts.iter().map(|part| part.get_type(schema)).collect();
    let Ok(types) = types else { return false };
    let Some(finest) = finest_time(&types) else { return false };
    for (part, kind) in parts.into_iter().zip(types) {
        if kind != finest && !kind.is_null() {
            *part = Expr::Cast(Cast::new(Box::new(std::mem::take(part)), finest.clone()));
        }
    }
    true
}

fn of_node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    match plan {
        LogicalPlan::Join(join) => Ok(of_join(join)),
        LogicalPlan::Union(union) => of_union(union),
        other => Ok(Transformed::no(other)),
    }
}

fn of_join(mut join: Join) -> Transformed<LogicalPlan> {
    let Ok(schema) = join.left.schema().join(join.right.schema()) else {
        return Transformed::no(LogicalPlan::Join(join));
    };
    let mut changed = false;
    for (left, right) in &mut join.on {
        changed |= in_one_unit(vec![left, right], &schema);
    }
    Transformed::new_transformed(LogicalPlan::Join(join), changed)
}

fn of_union(union: Union) -> Result<Transformed<LogicalPlan>> {
    let width = union.schema.fields().len();
    let same = union.inputs.iter().all(|input| input.schema().fields().len() == width);
    let finest: Vec<Option<DataType>> = (0..if same { width } else { 0 })
        .map(|at| {
            finest_time(union.inputs.iter().map(|input| input.schema().field(at).data_type()))
        })
        .collect();
    if finest.iter().all(Option::is_none) {
        return Ok(Transformed::no(LogicalPlan::Union(union)));
    }
    let inputs = union.inputs.iter().map(|input| in_units(input, &finest));
    let inputs = inputs.collect::<Result<Vec<_>>>()?;
    Ok(Transformed::yes(LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?)))
}

fn in_units(input: &Arc<LogicalPlan>, finest: &[Option<DataType>]) -> Result<Arc<LogicalPlan>> {
    let exprs = input.schema().iter().zip(finest).map(|((relation, field), finest)| {
        let column = Expr::Column(Column::from((relation, field)));
        match finest {
            Some(finest) if finest != field.data_type() => {
                let cast = Expr::Cast(Cast::new(Box::new(column), finest.clone()));
                cast.alias_qualified(relation.cloned(), field.name())
            }
            _ => column,
        }
    });
    let exprs: Vec<Expr> = exprs.collect();
    Ok(Arc::new(LogicalPlanBuilder::from(Arc::clone(input)).project(exprs)?.build()?))
}
