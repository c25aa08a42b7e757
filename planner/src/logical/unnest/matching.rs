//! The rows of a subquery that match a row of the outer plan: the right side of a join and the join
//! condition.
//!
//! If the subquery is a plan below filters and projections, its filters become the condition, and
//! no domain is needed. Otherwise the domain is pushed into it, and its columns are the condition.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, Result};
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{
    BinaryExpr, Distinct, Expr, ExprSchemable, Join, JoinType, LogicalPlan, Operator, lit,
};

use super::Unnester;
use super::domain::Domain;
use super::push_down::Decorrelated;
use super::scope::{self, Reference, arrive};
use super::shape::{Pair, all, filter, is_row_by_row, project, substituted};

/// The right side of a join; see the [module](self). All columns of the plan have new names.
#[derive(Debug, Clone)]
pub(super) struct Matching {
    pub(super) plan: LogicalPlan,
    pub(super) pairs: Vec<Pair>,
    /// Further conditions, over columns of both sides.
    pub(super) condition: Vec<Expr>,
    /// The select list of the subquery, over columns of the plan and, where selected, of the outer
    /// plan.
    pub(super) values: Vec<Expr>,
}

impl Matching {
    /// True if the pairs are the only condition, and the values use inner columns only.
    pub(super) fn is_by_keys(&self) -> bool {
        let own = |value: &Expr| {
            scope::columns(value).iter().all(|c| self.plan.schema().is_column_from_schema(c))
        };
        self.condition.is_empty() && self.values.iter().all(own)
    }
}

/// A subquery split into filters and selected values over a plan.
struct Parts<'a> {
    below: Below<'a>,
    values: Vec<Expr>,
    conjuncts: Vec<Expr>,
}

enum Below<'a> {
    Node(&'a LogicalPlan),
    /// An inner join whose condition is among the conjuncts.
    Join(&'a Join),
}

impl Unnester {
    /// The rows of a subquery for the rows of `outer`; `values` is true if its select list is
    /// needed.
    pub(super) fn matching(
        &self,
        subquery: &LogicalPlan,
        outer: &LogicalPlan,
        values: &[Expr],
    ) -> Result<Matching> {
        let references = scope::bound(scope::outer_columns(subquery)?, outer.schema());
        if references.is_empty() {
            return self.renamed(subquery.clone(), values, Vec::new(), Vec::new(), outer.schema());
        }
        if let Some(parts) = taken_apart(subquery, values.to_vec(), outer.schema())? {
            return self.of_parts(parts, outer.schema());
        }
        let (decorrelated, pairs) = self.for_values_of(subquery, &references, outer)?;
        let keys: Vec<Column> = decorrelated.key_columns();
        let matching = self.renamed(decorrelated.plan, values, keys, Vec::new(), outer.schema())?;
        let inner = matching.pairs.iter().map(|pair| pair.inner.clone());
        let pairs = pairs.into_iter().zip(inner).map(|(pair, inner)| Pair { inner, ..pair });
        Ok(Matching { pairs: pairs.collect(), ..matching })
    }

    /// The subquery with its domain, and the pairs that join it to the outer plan.
    pub(super) fn for_values_of(
        &self,
        subquery: &LogicalPlan,
        references: &[Reference],
        outer: &LogicalPlan,
    ) -> Result<(Decorrelated, Vec<Pair>)> {
        let domain = Domain::of_values(references, outer)?;
        let decorrelated = self.push_down(subquery, &domain, Self::no_hints(&domain))?;
        let pairs = pairs(&domain, &decorrelated);
        Ok((decorrelated, pairs))
    }

    fn of_parts(&self, parts: Parts<'_>, outer: &DFSchema) -> Result<Matching> {
        let below = match parts.below {
            Below::Node(node) => node.clone(),
            Below::Join(join) => {
                let mut join = join.clone();
                join.filter = None;
                LogicalPlan::Join(join)
            }
        };
        let mut own = Vec::new();
        let mut keys = Vec::new();
        let mut rest = Vec::new();
        for conjunct in parts.conjuncts {
            if scope::bound(scope::outer_columns_of(&conjunct)?, outer).is_empty() {
                own.push(conjunct);
            } else if let Some((outer_side, inner_side)) = equality(&conjunct, outer)? {
                keys.push((arrive(outer_side, outer)?, inner_side));
            } else {
                rest.push(conjunct);
            }
        }
        let plan = filter(own, below)?;
        self.with_names(plan, &parts.values, keys, rest, outer)
    }

    /// Renames the plan's values, and the columns in `keys` as the inner sides of pairs.
    fn renamed(
        &self,
        plan: LogicalPlan,
        values: &[Expr],
        keys: Vec<Column>,
        rest: Vec<Expr>,
        outer: &DFSchema,
    ) -> Result<Matching> {
        let keys = keys.into_iter().map(|key| (lit(true), Expr::Column(key))).collect();
        self.with_names(plan, values, keys, rest, outer)
    }

    fn with_names(
        &self,
        plan: LogicalPlan,
        values: &[Expr],
        keys: Vec<(Expr, Expr)>,
        rest: Vec<Expr>,
        outer: &DFSchema,
    ) -> Result<Matching> {
        let mut exprs: Vec<Expr> = Vec::new();
        let mut rename = |expr: Expr| -> Column {
            let name = self.fresh();
            exprs.push(expr.alias(&name));
            Column::new_unqualified(name)
        };
        let mut pairs = Vec::new();
        for (outer_side, inner_side) in keys {
            pairs.push(Pair { outer: outer_side, inner: rename(inner_side), null_safe: false });
        }
        let mut renamed: Vec<(Column, Column)> = Vec::new();
        let mut inner_named = |expr: Expr,
                               rename: &mut dyn FnMut(Expr) -> Column|
         -> Result<Expr> {
            let named = expr.transform(|expr| match expr {
                Expr::Column(column) => {
                    let known =
                        renamed.iter().find(|(old, _)| *old == column).map(|(_, new)| new.clone());
                    let new = known.unwrap_or_else(|| {
                        let new = rename(Expr::Column(column.clone()));
                        renamed.push((column, new.clone()));
                        new
                    });
                    Ok(Transformed::yes(Expr::Column(new)))
                }
                other => Ok(Transformed::no(other)),
            })?;
            arrive(named.data, outer)
        };
        let mut condition = Vec::new();
        for conjunct in rest {
            condition.push(inner_named(conjunct, &mut rename)?);
        }
        let mut selected = Vec::new();
        for value in values {
            if scope::bound(scope::outer_columns_of(value)?, outer).is_empty() {
                selected.push(Expr::Column(rename(value.clone())));
            } else {
                selected.push(inner_named(value.clone(), &mut rename)?);
            }
        }
        if exprs.is_empty() {
            exprs.push(lit(true).alias(self.fresh()));
        }
        Ok(Matching { plan: project(exprs, plan)?, pairs, condition, values: selected })
    }
}

/// The pairs of outer columns and keys.
pub(super) fn pairs(domain: &Domain, decorrelated: &Decorrelated) -> Vec<Pair> {
    domain
        .outer_columns()
        .zip(&decorrelated.keys)
        .map(|((column, field), key)| Pair {
            outer: Expr::Column(column.clone()),
            inner: key.column.clone(),
            null_safe: field.is_nullable() && !key.without_nulls,
        })
        .collect()
}

/// The select list of the subquery.
pub(super) fn selected(subquery: &LogicalPlan) -> Vec<Expr> {
    all(subquery.schema())
}

/// Removes filters and projections from a subquery until nothing refers to the outer plan; `None`
/// if some other operator does.
fn taken_apart<'a>(
    subquery: &'a LogicalPlan,
    values: Vec<Expr>,
    outer: &DFSchema,
) -> Result<Option<Parts<'a>>> {
    let is_bound = |plan: &LogicalPlan| -> Result<bool> {
        Ok(!scope::bound(scope::outer_columns(plan)?, outer).is_empty())
    };
    let mut parts = Parts { below: Below::Node(subquery), values, conjuncts: Vec::new() };
    let mut node = subquery;
    loop {
        if !is_bound(node)? {
            parts.below = Below::Node(node);
            return Ok(Some(parts));
        }
        node = match node {
            LogicalPlan::Projection(projection) if is_row_by_row(projection) => {
                if !parts.move_below(&projection.schema, &projection.expr)? {
                    return Ok(None);
                }
                projection.input.as_ref()
            }
            LogicalPlan::SubqueryAlias(alias) => {
                if !parts.move_below(&alias.schema, &all(alias.input.schema()))? {
                    return Ok(None);
                }
                alias.input.as_ref()
            }
            LogicalPlan::Filter(filter) => {
                parts.conjuncts.extend(split_conjunction_owned(filter.predicate.clone()));
                filter.input.as_ref()
            }
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => sort.input.as_ref(),
            // Duplicate rows do not change whether there is a match.
            LogicalPlan::Distinct(Distinct::All(input)) => input.as_ref(),
            LogicalPlan::Join(join)
                if join.join_type == JoinType::Inner
                    && !is_bound(join.left.as_ref())?
                    && !is_bound(join.right.as_ref())?
                    && join.on.is_empty() =>
            {
                let filter = join.filter.clone();
                parts.conjuncts.extend(filter.into_iter().flat_map(split_conjunction_owned));
                parts.below = Below::Join(join);
                return Ok(Some(parts));
            }
            _ => return Ok(None),
        };
    }
}

impl Parts<'_> {
    /// Rewrites everything over the input of an operator whose columns are `exprs`; false if that
    /// is not possible.
    fn move_below(&mut self, schema: &DFSchema, exprs: &[Expr]) -> Result<bool> {
        for own in self.values.iter_mut().chain(&mut self.conjuncts) {
            match substituted(std::mem::take(own), schema, exprs)? {
                Some(moved) => *own = moved,
                None => return Ok(false),
            }
        }
        Ok(true)
    }
}

/// The sides of an equality of an outer and an inner expression.
fn equality(conjunct: &Expr, outer: &DFSchema) -> Result<Option<(Expr, Expr)>> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = conjunct else {
        return Ok(None);
    };
    for (outer_side, inner_side) in [(left, right), (right, left)] {
        let references = scope::outer_columns_of(outer_side)?;
        let n_all = references.len();
        let is_outer = n_all > 0
            && scope::bound(references, outer).len() == n_all
            && scope::columns(outer_side).is_empty();
        let is_inner = scope::outer_columns_of(inner_side)?.is_empty();
        let is_plain = !outer_side.is_volatile()
            && !inner_side.is_volatile()
            && !scope::contains_subquery(outer_side)?
            && !scope::contains_subquery(inner_side)?;
        if is_outer && is_inner && is_plain {
            return Ok(Some((outer_side.as_ref().clone(), inner_side.as_ref().clone())));
        }
    }
    Ok(None)
}

/// True if the expression may be null, or if its type is not known yet.
pub(super) fn may_be_null(expr: &Expr, schema: &DFSchema) -> bool {
    expr.nullable(schema).unwrap_or(true)
}
