//! Builders for small plans: projections that keep names, joins on keys, substitution.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, ExprSchema, NullEquality, Result, ScalarValue};
use datafusion::functions::expr_fn::coalesce;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    Expr, Filter, Join, JoinConstraint, JoinType, LogicalPlan, Operator, Projection, binary_expr,
    lit,
};

use super::scope;

/// An outer column and the inner column that must be equal to it.
#[derive(Debug, Clone)]
pub(super) struct Pair {
    pub(super) outer: Expr,
    pub(super) inner: Column,
    /// True if null equals null. Otherwise null equals nothing, and the inner column may have no
    /// nulls.
    pub(super) null_safe: bool,
}

pub(super) fn project(exprs: Vec<Expr>, input: LogicalPlan) -> Result<LogicalPlan> {
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input))?))
}

pub(super) fn filter(predicates: Vec<Expr>, input: LogicalPlan) -> Result<LogicalPlan> {
    match conjunction(predicates) {
        Some(predicate) => Ok(LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(input))?)),
        None => Ok(input),
    }
}

/// The columns of `schema`, as expressions.
pub(super) fn all(schema: &DFSchema) -> Vec<Expr> {
    schema.columns().into_iter().map(Expr::Column).collect()
}

/// The expressions under the field names of `schema`, followed by the columns of `more`.
pub(super) fn named(
    input: LogicalPlan,
    exprs: Vec<Expr>,
    schema: &DFSchema,
    more: &[Column],
) -> Result<LogicalPlan> {
    let named = exprs.into_iter().zip(schema.iter()).map(|(expr, (relation, field))| {
        let is_named = matches!(&expr, Expr::Column(column)
            if column.relation.as_ref() == relation && column.name == *field.name());
        if is_named {
            return expr;
        }
        expr.unalias().alias_qualified(relation.cloned(), field.name())
    });
    let exprs: Vec<Expr> = named.chain(more.iter().cloned().map(Expr::Column)).collect();
    if exprs.len() == input.schema().fields().len()
        && exprs.iter().zip(input.schema().columns()).all(|(e, c)| *e == Expr::Column(c))
    {
        return Ok(input);
    }
    project(exprs, input)
}

/// Projects the plan to the columns of `schema`, which it has under the same names.
pub(super) fn trimmed(input: LogicalPlan, schema: &DFSchema) -> Result<LogicalPlan> {
    named(input, all(schema), schema, &[])
}

/// Joins on pairs and a condition.
///
/// A null-safe pair does not use the join's own null equality: DataFusion 55.2
/// (`EliminateCrossJoin`) gives all joins that it merges the null equality of the topmost one. The
/// pair becomes a condition, with a key beside it that makes the join a hash join.
pub(super) fn join(
    left: LogicalPlan,
    right: LogicalPlan,
    join_type: JoinType,
    pairs: &[Pair],
    mut condition: Vec<Expr>,
) -> Result<LogicalPlan> {
    let mut on = Vec::with_capacity(pairs.len());
    for pair in pairs {
        let (outer, inner) = (pair.outer.clone(), Expr::Column(pair.inner.clone()));
        if pair.null_safe {
            let data_type = right.schema().field_from_column(&pair.inner)?.data_type();
            on.extend(key_without_nulls(&outer, &inner, data_type));
            condition.push(binary_expr(outer, Operator::IsNotDistinctFrom, inner));
        } else if outer.column_refs().is_empty() {
            condition.push(outer.eq(inner));
        } else {
            on.push((outer, inner));
        }
    }
    let condition = match conjunction(condition) {
        // An outer join needs a condition, even one that is always true.
        None if on.is_empty() && join_type != JoinType::Inner => Some(lit(true)),
        condition => condition,
    };
    Ok(LogicalPlan::Join(Join::try_new(
        Arc::new(left),
        Arc::new(right),
        on,
        condition,
        join_type,
        JoinConstraint::On,
        NullEquality::NullEqualsNothing,
        false,
    )?))
}

/// Keys that are equal if both values are equal or both are null, and perhaps for other values.
pub(super) fn key_without_nulls(
    outer: &Expr,
    inner: &Expr,
    data_type: &DataType,
) -> Option<(Expr, Expr)> {
    let default = ScalarValue::new_default(data_type).ok().filter(|value| !value.is_null())?;
    Some((or_zero(outer.clone(), default.clone()), or_zero(inner.clone(), default)))
}

pub(super) fn cross(left: LogicalPlan, right: LogicalPlan) -> Result<LogicalPlan> {
    join(left, right, JoinType::Inner, &[], Vec::new())
}

/// Rewrites an expression over the columns `exprs` of an operator as one over the operator's input;
/// `None` if it refers to other columns.
pub(super) fn substituted(expr: Expr, schema: &DFSchema, exprs: &[Expr]) -> Result<Option<Expr>> {
    let mut missing = false;
    let result = expr.transform_down(|expr| match expr {
        Expr::Column(column) => {
            match schema.maybe_index_of_column(&column).and_then(|index| exprs.get(index)) {
                // The replacement is over another schema, so it is not searched.
                Some(inner) => Ok(Transformed::new(
                    inner.clone().unalias_nested().data,
                    true,
                    datafusion::common::tree_node::TreeNodeRecursion::Jump,
                )),
                None => {
                    missing = true;
                    Ok(Transformed::no(Expr::Column(column)))
                }
            }
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok((!missing).then_some(result.data))
}

/// Renames the columns of `schema` in the expression, and leaves others.
pub(super) fn renamed(expr: Expr, schema: &DFSchema, names: &[Column]) -> Result<Expr> {
    let renamed = expr.transform(|expr| match expr {
        Expr::Column(column) => match scope::position(schema, &column) {
            Some(index) => Ok(Transformed::yes(Expr::Column(names[index].clone()))),
            None => Ok(Transformed::no(Expr::Column(column))),
        },
        other => Ok(Transformed::no(other)),
    })?;
    Ok(renamed.data)
}

/// `value`, or zero where it is null.
pub(super) fn or_zero(value: Expr, zero: ScalarValue) -> Expr {
    coalesce(vec![value, Expr::Literal(zero, None)])
}

pub(super) fn unknown() -> Expr {
    Expr::Literal(ScalarValue::Boolean(None), None)
}

/// True if an operator returns one row for each row of its input, so that conditions can move
/// below.
pub(super) fn is_row_by_row(projection: &Projection) -> bool {
    projection.expr.iter().all(|expr| {
        !expr.is_volatile()
            && !expr.exists(|e| Ok(matches!(e, Expr::Unnest(_)))).unwrap_or(true)
            && !scope::contains_subquery(expr).unwrap_or(true)
    })
}
