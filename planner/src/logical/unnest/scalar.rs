//! Scalar subqueries: the value of the only row, null for no rows, an error for more than one.
//!
//! The error applies to rows of the outer plan only. If an inner expression has replaced the
//! domain, there may be groups for values that the outer plan does not have, and these may have
//! many rows. So `only_row` checks the number of rows after the join.

use datafusion::common::tree_node::TreeNode;
use datafusion::common::{Column, Result};
use datafusion::functions_aggregate::expr_fn::{count, first_value};
use datafusion::logical_expr::{Aggregate, Expr, JoinType, LogicalPlan, lit};

use bigslice_functions::only_row;

use super::Unnester;
use super::domain::Domain;
use super::grouped::{OfNone, grouped, of_none, zero};
use super::matching::pairs;
use super::push_down::Decorrelated;
use super::scope::{self, arrive};
use super::shape::{Pair, all, is_row_by_row, join, or_zero, project, substituted};
use crate::scalar_subquery::one_row;

impl Unnester {
    /// Adds a join to `current`; returns an expression over its columns for the subquery's value.
    /// `outer` has the columns that the subquery refers to.
    pub(super) fn scalar(
        &self,
        subquery: &LogicalPlan,
        outer: &LogicalPlan,
        current: &mut LogicalPlan,
    ) -> Result<Expr> {
        if let Some(expr) = without_from(subquery)? {
            return arrive(expr, outer.schema());
        }
        let references = scope::bound(scope::outer_columns(subquery)?, outer.schema());
        if references.is_empty() {
            return self.scalar_of_nothing(subquery, current);
        }
        let domain = Domain::of_values(&references, outer)?;
        if let Some((value, aggregate)) = aggregate_on_top(subquery)? {
            return self.aggregated(value, aggregate, &domain, outer, current);
        }
        let decorrelated = self.push_down(subquery, &domain, Self::no_hints(&domain))?;
        let pairs = pairs(&domain, &decorrelated);
        self.joined(subquery, decorrelated, pairs, current)
    }

    /// An uncorrelated subquery: one row for all rows of the outer plan.
    fn scalar_of_nothing(&self, subquery: &LogicalPlan, current: &mut LogicalPlan) -> Result<Expr> {
        let is_closed = scope::outer_columns(subquery)?.is_empty();
        if !is_closed || has_one_row(subquery) {
            let decorrelated = Decorrelated { plan: subquery.clone(), keys: Vec::new() };
            return self.joined(subquery, decorrelated, Vec::new(), current);
        }
        let value = one_row().call(all(subquery.schema()));
        let checked = Aggregate::try_new(subquery.clone().into(), Vec::new(), vec![value])?;
        let plan = LogicalPlan::Aggregate(checked);
        let decorrelated = Decorrelated { plan: plan.clone(), keys: Vec::new() };
        self.joined(&plan, decorrelated, Vec::new(), current)
    }

    /// Joins the first column of `decorrelated`.
    fn joined(
        &self,
        subquery: &LogicalPlan,
        decorrelated: Decorrelated,
        pairs: Vec<Pair>,
        current: &mut LogicalPlan,
    ) -> Result<Expr> {
        let value = Expr::Column(decorrelated.plan.schema().columns().swap_remove(0));
        let is_single = has_one_row(subquery);
        let outer_column = pairs.first().map(|pair| pair.outer.clone());
        let (plan, columns) = if is_single {
            (decorrelated.plan, vec![value])
        } else {
            let aggregates = vec![first_value(value, Vec::new()), count(lit(1_i64))];
            let n_keys = decorrelated.keys.len();
            let plan = grouped(&decorrelated, Vec::new(), aggregates)?;
            let columns = plan.schema().columns()[n_keys..].to_vec();
            (plan, columns.into_iter().map(Expr::Column).collect())
        };
        let mut exprs = Vec::new();
        let mut named = Vec::new();
        for column in columns {
            let name = self.fresh();
            exprs.push(column.alias(&name));
            named.push(Expr::Column(Column::new_unqualified(name)));
        }
        let mut renamed = Vec::with_capacity(pairs.len());
        for pair in pairs {
            let name = self.fresh();
            exprs.push(Expr::Column(pair.inner.clone()).alias(&name));
            renamed.push(Pair { inner: Column::new_unqualified(name), ..pair });
        }
        let right = project(exprs, plan)?;
        *current = join(current.clone(), right, JoinType::Left, &renamed, Vec::new())?;
        let value = named.swap_remove(0);
        if is_single {
            return Ok(value);
        }
        let rows = named.swap_remove(0);
        Ok(only_row::call(value, rows, outer_column))
    }

    /// A subquery that is an expression over aggregates of all its rows. Outer rows without a match
    /// take the aggregates' values for no rows, so no domain is needed to find them.
    fn aggregated(
        &self,
        value: Expr,
        aggregate: &Aggregate,
        domain: &Domain,
        outer: &LogicalPlan,
        current: &mut LogicalPlan,
    ) -> Result<Expr> {
        let input = self.push_down(&aggregate.input, domain, Self::no_hints(domain))?;
        let bound = aggregate.aggr_expr.iter().map(|expr| domain.bind(expr.clone(), &input.keys));
        let plan = grouped(&input, Vec::new(), bound.collect::<Result<Vec<Expr>>>()?)?;
        let columns = plan.schema().columns();
        let mut exprs = Vec::with_capacity(columns.len());
        let mut renamed = Vec::with_capacity(domain.len());
        for (pair, column) in pairs(domain, &input).into_iter().zip(&columns) {
            let name = self.fresh();
            exprs.push(Expr::Column(column.clone()).alias(&name));
            renamed.push(Pair { inner: Column::new_unqualified(name), ..pair });
        }
        let mut values = Vec::with_capacity(aggregate.aggr_expr.len());
        for (index, column) in columns[domain.len()..].iter().enumerate() {
            let name = self.fresh();
            exprs.push(Expr::Column(column.clone()).alias(&name));
            let named = Expr::Column(Column::new_unqualified(name));
            values.push(match of_none(&aggregate.aggr_expr[index]) {
                OfNone::Zero => or_zero(named, zero(aggregate.schema.field(index))?),
                OfNone::Null | OfNone::Unknown => named,
            });
        }
        let right = project(exprs, plan)?;
        *current = join(current.clone(), right, JoinType::Left, &renamed, Vec::new())?;
        let value = substituted(value, &aggregate.schema, &values)?;
        match value {
            Some(value) => arrive(value, outer.schema()),
            None => {
                datafusion::common::internal_err!(
                    "a scalar subquery refers to columns that are not of its aggregate"
                )
            }
        }
    }
}

/// The expression of a subquery without FROM.
fn without_from(subquery: &LogicalPlan) -> Result<Option<Expr>> {
    let mut node = subquery;
    loop {
        match node {
            LogicalPlan::SubqueryAlias(alias) => node = alias.input.as_ref(),
            LogicalPlan::Projection(projection) => {
                let LogicalPlan::EmptyRelation(empty) = projection.input.as_ref() else {
                    return Ok(None);
                };
                let [expr] = projection.expr.as_slice() else { return Ok(None) };
                let is_value = empty.produce_one_row && is_row_by_row(projection);
                return Ok(is_value.then(|| expr.clone().unalias()));
            }
            _ => return Ok(None),
        }
    }
}

/// The subquery as an expression over the columns of an aggregate without GROUP BY, if it is one
/// and the aggregates' values for no rows are known.
fn aggregate_on_top(subquery: &LogicalPlan) -> Result<Option<(Expr, &Aggregate)>> {
    let mut node = subquery;
    let mut value = all(subquery.schema()).swap_remove(0);
    loop {
        let moved = match node {
            LogicalPlan::Projection(projection) if is_row_by_row(projection) => {
                node = projection.input.as_ref();
                substituted(value, &projection.schema, &projection.expr)?
            }
            LogicalPlan::SubqueryAlias(alias) => {
                node = alias.input.as_ref();
                substituted(value, &alias.schema, &all(alias.input.schema()))?
            }
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => {
                node = sort.input.as_ref();
                Some(value)
            }
            LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.is_empty() => {
                let is_known = aggregate.aggr_expr.iter().all(|a| of_none(a) != OfNone::Unknown);
                return Ok(is_known.then_some((value, aggregate)));
            }
            _ => return Ok(None),
        };
        match moved {
            Some(moved) => value = moved,
            None => return Ok(None),
        }
    }
}

/// True if the subquery has at most one row for each value of its domain.
fn has_one_row(subquery: &LogicalPlan) -> bool {
    match subquery {
        LogicalPlan::Projection(projection) => {
            let sets = projection
                .expr
                .iter()
                .any(|e| e.exists(|e| Ok(matches!(e, Expr::Unnest(_)))).unwrap_or(true));
            !sets && has_one_row(&projection.input)
        }
        LogicalPlan::Filter(filter) => has_one_row(&filter.input),
        LogicalPlan::SubqueryAlias(alias) => has_one_row(&alias.input),
        LogicalPlan::Sort(sort) => sort.fetch == Some(1) || has_one_row(&sort.input),
        LogicalPlan::Distinct(distinct) => has_one_row(distinct.input()),
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::Limit(limit) => {
            let one = limit.fetch.as_ref().is_some_and(|fetch| {
                matches!(fetch.as_ref(), Expr::Literal(value, _)
                    if i64::try_from(value.clone()).is_ok_and(|fetch| fetch <= 1))
            });
            one || has_one_row(&limit.input)
        }
        LogicalPlan::EmptyRelation(_) => true,
        LogicalPlan::Values(values) => values.values.len() <= 1,
        _ => false,
    }
}
