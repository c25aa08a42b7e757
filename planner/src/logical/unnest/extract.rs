//! Extracts subqueries from the expressions of an operator: joins below the operator compute their
//! values. The schema of the operator stays the same.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, Result};
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Distinct, DistinctOn, Expr, Filter, LogicalPlan, Operator, Projection,
    Sort, Window,
};

use super::super::expressions::transform_parts;
use super::Unnester;
use super::quantified::{Quantified, is_for_datafusion};
use super::scope::{contains_subquery, outer_columns, outer_columns_of, position};
use super::shape::{all, filter, named, project, trimmed};

/// Which subqueries of an expression stay in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Uncorrelated {
    /// Uncorrelated scalar subqueries, which are executed separately.
    Stay,
    /// None: all are extracted.
    Extracted,
}

impl Unnester {
    pub(super) fn extract_filter(&self, node: Filter) -> Result<LogicalPlan> {
        if !contains_subquery(&node.predicate)? {
            return Ok(LogicalPlan::Filter(node));
        }
        let schema = Arc::clone(node.input.schema());
        let mut kept = Vec::new();
        let mut tests = Vec::new();
        let mut extracted = Vec::new();
        let mut input = node.input.as_ref().clone();
        for conjunct in conjuncts(node.predicate.clone()) {
            if is_for_datafusion(&conjunct)?
                || !self.has_extractable(&conjunct, self.uncorrelated_in(&conjunct)?)?
            {
                kept.push(self.null_in_sight(plain_negation(conjunct), &mut input)?);
            } else if let Some(test) = Quantified::of(&conjunct) {
                tests.push(test);
            } else {
                extracted.push(conjunct);
            }
        }
        if tests.is_empty() && extracted.is_empty() && input.schema() == node.input.schema() {
            return Ok(LogicalPlan::Filter(node));
        }
        let outer = filter(kept, input)?;
        let mut current = outer.clone();
        for mut test in tests {
            test.extract_columns(|expr| {
                self.extract(expr, Uncorrelated::Extracted, &outer, &mut current)
            })?;
            current = self.semi(test, &outer, current)?;
        }
        let mut conditions = Vec::new();
        for conjunct in extracted {
            conditions.push(self.extract(
                conjunct,
                Uncorrelated::Extracted,
                &outer,
                &mut current,
            )?);
        }
        trimmed(filter(conditions, current)?, &schema)
    }

    /// Rewrites `x NOT IN (S)` with `x` as a column of `input`, the form that DataFusion's rule
    /// handles correctly. DataFusion 55.2 tests the columns of `x` for nullability, but `nullif(1,
    /// id)` may be null although `id` may not; and it loses nulls if `x` simplifies to a constant,
    /// as `coalesce(1, id)` does.
    fn null_in_sight(&self, conjunct: Expr, input: &mut LogicalPlan) -> Result<Expr> {
        let Expr::InSubquery(mut within) = conjunct else { return Ok(conjunct) };
        if within.negated {
            let columns = self.as_columns(vec![*within.expr], input)?;
            within.expr = Box::new(columns.into_iter().next().unwrap_or_default());
        }
        Ok(Expr::InSubquery(within))
    }

    pub(super) fn extract_projection(&self, node: Projection) -> Result<LogicalPlan> {
        let mut has_extractable = false;
        for expr in &node.expr {
            has_extractable =
                has_extractable || self.has_extractable(expr, self.uncorrelated_in(expr)?)?;
        }
        if !has_extractable {
            return Ok(LogicalPlan::Projection(node));
        }
        let outer = Arc::unwrap_or_clone(node.input);
        let mut current = outer.clone();
        let exprs = self.extract_all(node.expr, &outer, &mut current)?;
        let exprs = exprs.into_iter().zip(node.schema.iter());
        let exprs = exprs.map(|(expr, (relation, field))| {
            let (new_relation, new_name) = expr.qualified_name();
            if new_relation.as_ref() == relation && new_name == *field.name() {
                expr
            } else {
                expr.unalias().alias_qualified(relation.cloned(), field.name())
            }
        });
        project(exprs.collect(), current)
    }

    pub(super) fn extract_aggregate(&self, node: Aggregate) -> Result<LogicalPlan> {
        let alone = self.uncorrelated_elsewhere();
        if !self.any_extractable(node.group_expr.iter().chain(&node.aggr_expr), alone)? {
            return Ok(LogicalPlan::Aggregate(node));
        }
        let outer = Arc::unwrap_or_clone(node.input);
        let mut current = outer.clone();
        let groups = self.extract_all(node.group_expr, &outer, &mut current)?;
        let aggregates = self.extract_all(node.aggr_expr, &outer, &mut current)?;
        let plan = LogicalPlan::Aggregate(Aggregate::try_new(current.into(), groups, aggregates)?);
        let own = all(plan.schema());
        named(plan, own, &node.schema, &[])
    }

    pub(super) fn extract_window(&self, node: Window) -> Result<LogicalPlan> {
        if !self.any_extractable(&node.window_expr, self.uncorrelated_elsewhere())? {
            return Ok(LogicalPlan::Window(node));
        }
        let outer = Arc::unwrap_or_clone(node.input);
        let n_outer = outer.schema().fields().len();
        let mut current = outer.clone();
        let exprs = self.extract_all(node.window_expr, &outer, &mut current)?;
        let n_current = current.schema().fields().len();
        let plan = LogicalPlan::Window(Window::try_new(exprs, current.into())?);
        let columns = plan.schema().columns();
        let own = columns[..n_outer].iter().chain(&columns[n_current..]);
        let own = own.cloned().map(Expr::Column).collect();
        named(plan, own, &node.schema, &[])
    }

    pub(super) fn extract_distinct(&self, node: Distinct) -> Result<LogicalPlan> {
        let Distinct::On(on) = node else { return Ok(LogicalPlan::Distinct(node)) };
        let sort = on.sort_expr.iter().flatten().map(|by| &by.expr);
        let exprs = on.on_expr.iter().chain(&on.select_expr).chain(sort);
        if !self.any_extractable(exprs, self.uncorrelated_elsewhere())? {
            return Ok(LogicalPlan::Distinct(Distinct::On(on)));
        }
        let outer = Arc::unwrap_or_clone(on.input);
        let mut current = outer.clone();
        let by = self.extract_all(on.on_expr, &outer, &mut current)?;
        let select = self.extract_all(on.select_expr, &outer, &mut current)?;
        let select = select.into_iter().zip(on.schema.iter());
        let select = select.map(|(e, (relation, field))| {
            e.unalias().alias_qualified(relation.cloned(), field.name())
        });
        let select = select.collect();
        let mut sort = None;
        if let Some(order) = on.sort_expr {
            let mut sorted = Vec::with_capacity(order.len());
            for by in order {
                let expr =
                    self.extract(by.expr.clone(), Uncorrelated::Extracted, &outer, &mut current)?;
                sorted.push(by.with_expr(expr));
            }
            sort = Some(sorted);
        }
        let on = DistinctOn::try_new(by, select, sort, current.into())?;
        Ok(LogicalPlan::Distinct(Distinct::On(on)))
    }

    pub(super) fn extract_sort(&self, node: Sort) -> Result<LogicalPlan> {
        if !self
            .any_extractable(node.expr.iter().map(|by| &by.expr), self.uncorrelated_elsewhere())?
        {
            return Ok(LogicalPlan::Sort(node));
        }
        let schema = Arc::clone(node.input.schema());
        let exprs: Vec<&Expr> = node.expr.iter().map(|by| &by.expr).collect();
        let outer = with_missing(Arc::unwrap_or_clone(node.input), &exprs)?;
        let mut current = outer.clone();
        let mut sorted = Vec::with_capacity(node.expr.len());
        for by in node.expr {
            let expr =
                self.extract(by.expr.clone(), Uncorrelated::Extracted, &outer, &mut current)?;
            sorted.push(by.with_expr(expr));
        }
        let sort = Sort { expr: sorted, input: Arc::new(current), fetch: node.fetch };
        trimmed(LogicalPlan::Sort(sort), &schema)
    }

    /// Replaces the subqueries of each expression by their values.
    fn extract_all(
        &self,
        exprs: Vec<Expr>,
        outer: &LogicalPlan,
        current: &mut LogicalPlan,
    ) -> Result<Vec<Expr>> {
        exprs
            .into_iter()
            .map(|expr| self.extract(expr, Uncorrelated::Extracted, outer, current))
            .collect()
    }

    /// Replaces the subqueries of the expression by their values, nested ones first.
    fn extract(
        &self,
        expr: Expr,
        alone: Uncorrelated,
        outer: &LogicalPlan,
        current: &mut LogicalPlan,
    ) -> Result<Expr> {
        let extracted = transform_parts(expr, &mut |expr| {
            if !self.must_extract(&expr, alone)? {
                return Ok(Transformed::no(expr));
            }
            if let Expr::ScalarSubquery(subquery) = &expr {
                return Ok(Transformed::yes(self.scalar(&subquery.subquery, outer, current)?));
            }
            match Quantified::of(&expr) {
                Some(test) => Ok(Transformed::yes(self.truth(test, outer, current)?)),
                None => Ok(Transformed::no(expr)),
            }
        })?;
        Ok(extracted.data)
    }

    /// The value of an expression elsewhere than in the operators of this file.
    pub(super) fn extract_elsewhere(
        &self,
        expr: Expr,
        outer: &LogicalPlan,
        current: &mut LogicalPlan,
    ) -> Result<Expr> {
        self.extract(expr, Uncorrelated::Extracted, outer, current)
    }

    /// True if the rule has to rewrite an expression elsewhere than in a filter or a projection.
    pub(super) fn has_extractable_elsewhere(&self, expr: &Expr) -> Result<bool> {
        self.has_extractable(expr, self.uncorrelated_elsewhere())
    }

    /// On machines, DataFusion turns scalar subqueries into joins only in filters and projections.
    fn uncorrelated_elsewhere(&self) -> Uncorrelated {
        if self.executes_scalars { Uncorrelated::Stay } else { Uncorrelated::Extracted }
    }

    /// The same for a filter or a projection, where a correlated subquery may become a join
    /// condition.
    fn uncorrelated_in(&self, expr: &Expr) -> Result<Uncorrelated> {
        let is_plain = outer_columns_of(expr)?.is_empty();
        Ok(if is_plain { Uncorrelated::Stay } else { self.uncorrelated_elsewhere() })
    }

    /// True if the expression itself is a subquery that the rule has to rewrite.
    fn must_extract(&self, expr: &Expr, alone: Uncorrelated) -> Result<bool> {
        match expr {
            Expr::ScalarSubquery(subquery) => {
                let stays = alone == Uncorrelated::Stay || self.executes_scalars;
                Ok(!stays || !outer_columns(&subquery.subquery)?.is_empty())
            }
            Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_) => Ok(true),
            _ => Ok(false),
        }
    }

    fn has_extractable(&self, expr: &Expr, alone: Uncorrelated) -> Result<bool> {
        expr.exists(|expr| self.must_extract(expr, alone))
    }

    fn any_extractable<'a>(
        &self,
        exprs: impl IntoIterator<Item = &'a Expr>,
        alone: Uncorrelated,
    ) -> Result<bool> {
        for expr in exprs {
            if self.has_extractable(expr, alone)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Splits a predicate into conjuncts: `NOT (a OR b)` is `NOT a AND NOT b`.
fn conjuncts(predicate: Expr) -> Vec<Expr> {
    let mut done = Vec::new();
    for conjunct in split_conjunction_owned(predicate) {
        match conjunct {
            Expr::Not(inner) => match *inner {
                Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
                    done.extend(conjuncts(Expr::Not(left)));
                    done.extend(conjuncts(Expr::Not(right)));
                }
                Expr::Not(inner) => done.extend(conjuncts(*inner)),
                other => done.push(Expr::Not(Box::new(other))),
            },
            other => done.push(other),
        }
    }
    done
}

/// `NOT x IN (S)` as `x NOT IN (S)`, the form that DataFusion's rules look for.
fn plain_negation(conjunct: Expr) -> Expr {
    match conjunct {
        Expr::Not(inner) => match *inner {
            Expr::InSubquery(mut within) => {
                within.negated = !within.negated;
                Expr::InSubquery(within)
            }
            Expr::Exists(mut exists) => {
                exists.negated = !exists.negated;
                Expr::Exists(exists)
            }
            other => Expr::Not(Box::new(other)),
        },
        other => other,
    }
}

/// The input of a sort, with the unselected columns that a subquery in ORDER BY refers to. The SQL
/// planner adds only columns that ORDER BY itself names.
fn with_missing(input: LogicalPlan, order: &[&Expr]) -> Result<LogicalPlan> {
    let LogicalPlan::Projection(projection) = &input else { return Ok(input) };
    let missing = missing_columns(order, &projection.schema, projection.input.schema())?;
    if missing.is_empty() {
        return Ok(input);
    }
    let exprs = projection.expr.iter().cloned().chain(missing.into_iter().map(Expr::Column));
    project(exprs.collect(), projection.input.as_ref().clone())
}

fn missing_columns(order: &[&Expr], has: &DFSchema, below: &DFSchema) -> Result<Vec<Column>> {
    let mut missing = Vec::new();
    for expr in order {
        for reference in outer_columns_of(expr)? {
            let column = reference.column;
            if position(has, &column).is_none()
                && position(below, &column).is_some()
                && !missing.contains(&column)
            {
                missing.push(column);
            }
        }
    }
    Ok(missing)
}
