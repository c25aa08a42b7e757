//! Finds the outer columns that a subquery refers to.
//!
//! An outer reference names a column, but not the query that has it. As in SQL, it means the
//! innermost query with a column of that name. Inner subqueries become joins first, so the
//! references that are left belong to the operator with the subquery, or to one further out.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::datatypes::FieldRef;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result, Spans};
use datafusion::logical_expr::{Expr, LogicalPlan, Subquery};

use super::any_expression;

/// The prefix of generated names.
pub(super) const PREFIX: &str = "__unnest_";

/// An outer column, as the subquery refers to it.
#[derive(Debug, Clone)]
pub(super) struct Reference {
    pub(super) column: Column,
    pub(super) field: FieldRef,
    /// The number of uses in the subquery.
    pub(super) uses: usize,
}

/// The columns that the plan refers to but does not have, each once.
pub(super) fn outer_columns(plan: &LogicalPlan) -> Result<Vec<Reference>> {
    let mut found: Vec<Reference> = Vec::new();
    plan.apply_with_subqueries(|node| {
        if matches!(node, LogicalPlan::Subquery(_)) {
            // The node's list of references repeats those in its plan.
            return Ok(TreeNodeRecursion::Continue);
        }
        node.apply_expressions(|expr| {
            collect(expr, &mut found)?;
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(found)
}

/// The same for one expression and the subqueries in it.
pub(super) fn outer_columns_of(expr: &Expr) -> Result<Vec<Reference>> {
    let mut found = Vec::new();
    collect(expr, &mut found)?;
    expr.apply(|expr| {
        if let Some(subquery) = subquery_of(expr) {
            for reference in outer_columns(&subquery.subquery)? {
                add(&mut found, &reference.column, &reference.field, reference.uses);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

fn collect(expr: &Expr, found: &mut Vec<Reference>) -> Result<()> {
    expr.apply(|expr| {
        if let Expr::OuterReferenceColumn(field, column) = expr {
            add(found, column, field, 1);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

fn add(found: &mut Vec<Reference>, column: &Column, field: &FieldRef, uses: usize) {
    match found.iter_mut().find(|reference| same(&reference.column, column)) {
        Some(reference) => reference.uses += uses,
        None => found.push(Reference { column: column.clone(), field: Arc::clone(field), uses }),
    }
}

fn same(one: &Column, other: &Column) -> bool {
    one.relation == other.relation && one.name == other.name
}

/// The position of exactly this column. (For a column without a relation, DataFusion would accept
/// one of any relation.)
pub(super) fn position(schema: &DFSchema, column: &Column) -> Option<usize> {
    schema.iter().position(|(relation, field)| {
        relation == column.relation.as_ref() && *field.name() == column.name
    })
}

/// The references that are columns of `schema`.
pub(super) fn bound(references: Vec<Reference>, schema: &DFSchema) -> Vec<Reference> {
    references.into_iter().filter(|r| position(schema, &r.column).is_some()).collect()
}

/// The subquery of an expression, if it has one.
pub(super) fn subquery_of(expr: &Expr) -> Option<&Subquery> {
    match expr {
        Expr::ScalarSubquery(subquery) => Some(subquery),
        Expr::Exists(exists) => Some(&exists.subquery),
        Expr::InSubquery(within) => Some(&within.subquery),
        Expr::SetComparison(comparison) => Some(&comparison.subquery),
        _ => None,
    }
}

/// True if the expression is or contains a subquery.
pub(super) fn contains_subquery(expr: &Expr) -> Result<bool> {
    expr.exists(|expr| Ok(subquery_of(expr).is_some()))
}

/// True if the plan contains a subquery or a lateral join.
pub(super) fn has_subqueries(plan: &LogicalPlan) -> Result<bool> {
    let mut lateral = false;
    plan.apply(|node| {
        lateral = lateral || matches!(node, LogicalPlan::Subquery(_));
        Ok(if lateral { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(lateral || any_expression(plan, |expr| subquery_of(expr).is_some())?)
}

/// The first number that no generated name in this plan uses. A plan may have been rewritten
/// before, as part of a view.
pub(super) fn names_taken(plan: &LogicalPlan) -> Result<usize> {
    let mut next = 1;
    let mut take = |name: &str| {
        let number = name.strip_prefix(PREFIX).and_then(|rest| rest.parse::<usize>().ok());
        next = next.max(number.map_or(0, |number| number + 1));
    };
    plan.apply_with_subqueries(|node| {
        for (relation, field) in node.schema().iter() {
            take(field.name());
            if let Some(relation) = relation {
                take(relation.table());
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(next)
}

/// A subquery of a plan, with the list of its outer references.
pub(super) fn subquery(plan: LogicalPlan, spans: Spans) -> Result<Subquery> {
    let outer_ref_columns = outer_columns(&plan)?
        .into_iter()
        .map(|reference| Expr::OuterReferenceColumn(reference.field, reference.column))
        .collect();
    Ok(Subquery { subquery: Arc::new(plan), outer_ref_columns, spans })
}

/// Replaces references to a plan with this schema by columns: the expression is now evaluated
/// there.
pub(super) fn arrive(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let arrived = expr.transform(|expr| match expr {
        Expr::OuterReferenceColumn(_, column) if position(schema, &column).is_some() => {
            Ok(Transformed::yes(Expr::Column(column)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(arrived.data)
}

/// The columns of the expression itself, without those of subqueries.
pub(super) fn columns(expr: &Expr) -> HashSet<Column> {
    expr.column_refs().into_iter().cloned().collect()
}

/// True if the plan is nondeterministic: it has volatile functions, or a limit without an order.
pub(super) fn is_nondeterministic(plan: &LogicalPlan) -> Result<bool> {
    let mut limited = false;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Limit(limit) = node {
            limited = limited || !below_is_sorted(&limit.input);
        }
        Ok(if limited { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(limited || any_expression(plan, Expr::is_volatile_node)?)
}

fn below_is_sorted(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Sort(_) => true,
        LogicalPlan::Projection(projection) => below_is_sorted(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => below_is_sorted(&alias.input),
        _ => false,
    }
}
