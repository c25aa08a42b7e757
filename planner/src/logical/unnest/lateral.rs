//! Joins whose right side refers to columns of the left side: LATERAL, and UNNEST of a column.
//!
//! A `Subquery` node around a lateral plan marks its outer references. It stays around the
//! references that a nested lateral join leaves for the enclosing join.

use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{NullHandling, Result, Spans, not_impl_err};
use datafusion::functions_nested::expr_fn::array_empty;
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{
    Expr, Join, JoinType, LogicalPlan, Operator, Subquery, Unnest, binary_expr, lit, when,
};
use datafusion::scalar::ScalarValue;

use super::Unnester;
use super::domain::{Domain, is_row_wise};
use super::matching::pairs;
use super::push_down::Decorrelated;
use super::scope::{self, Reference};
use super::shape::{all, filter, join, named, project};

impl Unnester {
    /// Rewrites a join: lateral sides, and subqueries in the condition.
    pub(super) fn join_node(&self, node: Join) -> Result<LogicalPlan> {
        let references = lateral_references(&node.right)?;
        let bound = scope::bound(references, node.left.schema());
        let node =
            if bound.is_empty() { LogicalPlan::Join(node) } else { self.lateral(&node, &bound)? };
        match node {
            LogicalPlan::Join(join) => self.extract_condition(join),
            other => Ok(other),
        }
    }

    fn lateral(&self, node: &Join, references: &[Reference]) -> Result<LogicalPlan> {
        if !matches!(node.join_type, JoinType::Inner | JoinType::Left) {
            return not_impl_err!(
                "LATERAL on the right of a {} join: write an inner or a left join",
                node.join_type
            );
        }
        let schema = Arc::clone(&node.schema);
        let condition = condition_of(node);
        let is_inner = node.join_type == JoinType::Inner;
        let rows = Domain::of_rows(&node.left);
        let done = if is_row_wise(&node.right, &rows)? && is_inner {
            let plan = self.row_wise(&node.right, &rows, node)?;
            self.conditioned(plan, condition)?
        } else if let Some(plan) = self.kept_with_unnest(node, &rows, &condition)? {
            plan
        } else {
            let domain = Domain::of_values(references, &node.left)?;
            let decorrelated = self.push_down(&node.right, &domain, Self::no_hints(&domain))?;
            self.joined_back(node, &domain, decorrelated, condition)?
        };
        let plan = named(done.clone(), all(done.schema()), &schema, &[])?;
        around_rest(plan)
    }

    /// The left rows, each with its right rows.
    fn row_wise(&self, right: &LogicalPlan, rows: &Domain, node: &Join) -> Result<LogicalPlan> {
        let decorrelated = self.push_down(right, rows, Self::no_hints(rows))?;
        back_in_order(&decorrelated, node)
    }

    fn conditioned(&self, plan: LogicalPlan, condition: Vec<Expr>) -> Result<LogicalPlan> {
        match filter(condition, plan)? {
            LogicalPlan::Filter(filter) => self.extract_filter(filter),
            other => Ok(other),
        }
    }

    fn joined_back(
        &self,
        node: &Join,
        domain: &Domain,
        decorrelated: Decorrelated,
        condition: Vec<Expr>,
    ) -> Result<LogicalPlan> {
        let n_left = node.left.schema().fields().len();
        let n_right = node.right.schema().fields().len();
        let pairs = pairs(domain, &decorrelated);
        let left = node.left.as_ref().clone();
        let plan = join(left, decorrelated.plan, node.join_type, &pairs, condition)?;
        let plan = match plan {
            LogicalPlan::Join(join) => self.extract_condition(join)?,
            other => other,
        };
        let own = plan.schema().columns().into_iter().take(n_left + n_right).map(Expr::Column);
        named(plan.clone(), own.collect(), &node.schema, &[])
    }

    /// `LEFT JOIN UNNEST(list) ON TRUE`: an empty or null list becomes a list of one null, which
    /// unnests to one row, and a mark says that this row is not an element of the list.
    fn kept_with_unnest(
        &self,
        node: &Join,
        rows: &Domain,
        condition: &[Expr],
    ) -> Result<Option<LogicalPlan>> {
        let is_true = condition
            .iter()
            .all(|c| matches!(c, Expr::Literal(ScalarValue::Boolean(Some(true)), _)));
        if node.join_type != JoinType::Left || !is_true || !is_row_wise(&node.right, rows)? {
            return Ok(None);
        }
        let Some(unnest) = only_unnest(&node.right) else { return Ok(None) };
        let lists: Vec<usize> = unnest.list_type_columns.iter().map(|(index, _)| *index).collect();
        if lists.is_empty()
            || !unnest.struct_type_columns.is_empty()
            || unnest.list_type_columns.iter().any(|(_, list)| list.depth != 1)
        {
            return Ok(None);
        }
        let mark = self.fresh();
        let marked = marked_lists(unnest, &lists, &mark)?;
        let right = replaced_unnest(&node.right, &marked)?;
        let n_right = node.right.schema().fields().len();
        let decorrelated = self.push_down(&right, rows, Self::no_hints(rows))?;
        let columns = right.schema().columns();
        let has_row = Expr::Column(columns[n_right].clone());
        let mut exprs = Vec::with_capacity(n_right);
        for column in &columns[..n_right] {
            // Without an ELSE it is a null of the column's type.
            let value = Expr::Column(column.clone());
            exprs.push(when(has_row.clone(), value).end()?);
        }
        let keys = decorrelated.key_columns();
        let plan = named(decorrelated.plan, exprs, node.right.schema(), &keys)?;
        back_in_order(&Decorrelated { plan, keys: decorrelated.keys }, node).map(Some)
    }
}

/// The left columns under their names, then the right columns.
fn back_in_order(decorrelated: &Decorrelated, node: &Join) -> Result<LogicalPlan> {
    let n_right = node.right.schema().fields().len();
    let right = decorrelated.plan.schema().columns().into_iter().take(n_right).map(Expr::Column);
    let keys = decorrelated.keys.iter().map(|key| Expr::Column(key.column.clone()));
    let exprs = keys.chain(right).collect();
    named(decorrelated.plan.clone(), exprs, &node.schema, &[])
}

/// The condition of a join, including its equalities.
pub(super) fn condition_of(node: &Join) -> Vec<Expr> {
    let operator = match node.null_equality {
        datafusion::common::NullEquality::NullEqualsNull => Operator::IsNotDistinctFrom,
        datafusion::common::NullEquality::NullEqualsNothing => Operator::Eq,
    };
    let on = node.on.iter().map(|(left, right)| binary_expr(left.clone(), operator, right.clone()));
    let rest = node.filter.clone().into_iter().flat_map(split_conjunction_owned);
    on.chain(rest).collect()
}

/// The references within the lateral parts of a plan.
fn lateral_references(plan: &LogicalPlan) -> Result<Vec<Reference>> {
    let mut found: Vec<Reference> = Vec::new();
    plan.apply(|node| {
        if !matches!(node, LogicalPlan::Subquery(_)) {
            return Ok(TreeNodeRecursion::Continue);
        }
        for reference in scope::outer_columns(node)? {
            if !found.iter().any(|known| known.column == reference.column) {
                found.push(reference);
            }
        }
        Ok(TreeNodeRecursion::Jump)
    })?;
    // The number of uses in the whole plan decides what may replace a column.
    let all = scope::outer_columns(plan)?;
    for reference in &mut found {
        if let Some(known) = all.iter().find(|known| known.column == reference.column) {
            reference.uses = known.uses;
        }
    }
    Ok(found)
}

/// Keeps the `Subquery` mark around references that are still open.
fn around_rest(plan: LogicalPlan) -> Result<LogicalPlan> {
    if scope::outer_columns(&plan)?.is_empty() {
        return Ok(plan);
    }
    let subquery: Subquery = scope::subquery(plan, Spans::new())?;
    Ok(LogicalPlan::Subquery(subquery))
}

/// The `Unnest` of a plan that otherwise has only projections and aliases.
fn only_unnest(plan: &LogicalPlan) -> Option<&Unnest> {
    match plan {
        LogicalPlan::Unnest(unnest) => Some(unnest),
        LogicalPlan::SubqueryAlias(alias) => only_unnest(&alias.input),
        LogicalPlan::Subquery(subquery) => only_unnest(&subquery.subquery),
        LogicalPlan::Projection(projection) => only_unnest(&projection.input),
        _ => None,
    }
}

/// The unnest over null lists in place of empty ones, with the mark as its last column.
fn marked_lists(unnest: &Unnest, lists: &[usize], mark: &str) -> Result<LogicalPlan> {
    let columns = unnest.input.schema().columns();
    let mut exprs = Vec::with_capacity(columns.len() + 1);
    let mut marks = Vec::new();
    for (index, column) in columns.iter().enumerate() {
        let value = Expr::Column(column.clone());
        if !lists.contains(&index) {
            exprs.push(value);
            continue;
        }
        let is_filled = array_empty(value.clone()).is_false();
        marks.push(is_filled.clone());
        exprs.push(
            when(is_filled, value).end()?.alias_qualified(column.relation.clone(), &column.name),
        );
    }
    let is_any = marks.into_iter().reduce(Expr::or).unwrap_or(lit(false));
    exprs.push(is_any.alias(mark));
    let input = project(exprs, unnest.input.as_ref().clone())?;
    let options = unnest.options.clone().with_null_handling(NullHandling::Preserve);
    let plan = Unnest::try_new(input.into(), unnest.exec_columns.clone(), options)?;
    Ok(LogicalPlan::Unnest(plan))
}

/// The plan with its unnest replaced by `marked`, and with the mark as its last column.
fn replaced_unnest(plan: &LogicalPlan, marked: &LogicalPlan) -> Result<LogicalPlan> {
    let inner = |input: &LogicalPlan| replaced_unnest(input, marked);
    match plan {
        LogicalPlan::Unnest(_) => Ok(marked.clone()),
        LogicalPlan::SubqueryAlias(alias) => {
            let input = inner(&alias.input)?;
            let alias = datafusion::logical_expr::SubqueryAlias::try_new(
                input.into(),
                alias.alias.clone(),
            )?;
            Ok(LogicalPlan::SubqueryAlias(alias))
        }
        LogicalPlan::Subquery(subquery) => inner(&subquery.subquery),
        LogicalPlan::Projection(projection) => {
            let input = inner(&projection.input)?;
            let last = input.schema().columns().pop();
            let mut exprs = projection.expr.clone();
            exprs.extend(last.map(Expr::Column));
            project(exprs, input)
        }
        _ => not_impl_err!("a lateral join over {} is not supported", plan.display()),
    }
}
