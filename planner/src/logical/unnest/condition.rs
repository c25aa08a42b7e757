//! Subqueries in a join condition.
//!
//! For an inner join they move to a filter above it. An outer join evaluates the condition per pair
//! of rows, before it adds unmatched rows, so the subquery's value has to be a column of one of its
//! inputs. It is computed on the null-supplying side; the columns of the other side that it refers
//! to are its domain there, and another join key.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result, not_impl_err};
use datafusion::logical_expr::{Distinct, Expr, Join, JoinType, LogicalPlan};

use super::super::expressions::{map_exprs, transform_parts};
use super::Unnester;
use super::lateral::condition_of;
use super::scope::{self, position};
use super::shape::{cross, filter, join, project, trimmed};

/// A side of a join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

impl Unnester {
    pub(super) fn extract_condition(&self, node: Join) -> Result<LogicalPlan> {
        let mut own = Vec::new();
        let mut rest = Vec::new();
        for conjunct in condition_of(&node) {
            if self.has_extractable_elsewhere(&conjunct)? {
                own.push(conjunct)
            } else {
                rest.push(conjunct)
            }
        }
        if own.is_empty() {
            return Ok(LogicalPlan::Join(node));
        }
        let schema = Arc::clone(&node.schema);
        let (left, right) = (node.left.as_ref().clone(), node.right.as_ref().clone());
        if node.join_type == JoinType::Inner {
            let joined = join(left, right, JoinType::Inner, &[], rest)?;
            return match filter(own, joined)? {
                LogicalPlan::Filter(filter) => self.extract_filter(filter),
                other => Ok(other),
            };
        }
        let (mut left_now, mut right_now) = (left.clone(), right.clone());
        for conjunct in own {
            let side = match self.sides_of(&conjunct, &left, &right)?.as_slice() {
                [Side::Left] => Some(Side::Left),
                [Side::Right] | [] => Some(Side::Right),
                _ => None,
            };
            let value = match side {
                Some(Side::Left) => self.extract_elsewhere(conjunct, &left, &mut left_now)?,
                Some(Side::Right) => self.extract_elsewhere(conjunct, &right, &mut right_now)?,
                None => self.of_both(
                    conjunct,
                    &node,
                    (&left, &right),
                    &mut left_now,
                    &mut right_now,
                    &mut rest,
                )?,
            };
            rest.push(value);
        }
        let joined = join(left_now, right_now, node.join_type, &[], rest)?;
        if matches!(node.join_type, JoinType::LeftMark | JoinType::RightMark) {
            return not_impl_err!("a subquery in the condition of a mark join is not supported");
        }
        trimmed(joined, &schema)
    }

    /// The sides that the conjunct refers to, also in its subqueries.
    fn sides_of(
        &self,
        conjunct: &Expr,
        left: &LogicalPlan,
        right: &LogicalPlan,
    ) -> Result<Vec<Side>> {
        let columns = all_columns(conjunct)?;
        let mut sides = Vec::new();
        for (side, plan) in [(Side::Left, left), (Side::Right, right)] {
            if columns.iter().any(|column| position(plan.schema(), column).is_some()) {
                sides.push(side);
            }
        }
        Ok(sides)
    }

    /// Evaluates the condition on the null-supplying side, for each value of the other side's
    /// columns.
    fn of_both(
        &self,
        conjunct: Expr,
        node: &Join,
        (left, right): (&LogicalPlan, &LogicalPlan),
        left_now: &mut LogicalPlan,
        right_now: &mut LogicalPlan,
        rest: &mut Vec<Expr>,
    ) -> Result<Expr> {
        let (other, now) = match node.join_type {
            JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti => (left, right_now),
            JoinType::Right | JoinType::RightSemi | JoinType::RightAnti => (right, left_now),
            kind => {
                return not_impl_err!(
                    "a subquery in the condition of a {kind} join that refers to columns of both \
                     sides: compute its value in a query on one side"
                );
            }
        };
        let mut wanted: Vec<Column> = Vec::new();
        for column in all_columns(&conjunct)? {
            if position(other.schema(), &column).is_some() && !wanted.contains(&column) {
                wanted.push(column);
            }
        }
        let mut exprs = Vec::new();
        let mut names = Vec::new();
        for column in &wanted {
            let name = self.fresh();
            exprs.push(Expr::Column(column.clone()).alias(&name));
            names.push(Column::new_unqualified(name));
        }
        let values = LogicalPlan::Distinct(Distinct::All(project(exprs, other.clone())?.into()));
        *now = cross(now.clone(), values)?;
        let conjunct = renamed_everywhere(conjunct, &wanted, &names)?;
        let outer = now.clone();
        let value = self.extract_elsewhere(conjunct, &outer, now)?;
        for (column, name) in wanted.into_iter().zip(names) {
            let (one, other) = (Expr::Column(column), Expr::Column(name));
            rest.push(datafusion::logical_expr::binary_expr(
                one,
                datafusion::logical_expr::Operator::IsNotDistinctFrom,
                other,
            ));
        }
        Ok(value)
    }
}

/// The columns that the expression and its subqueries refer to.
fn all_columns(expr: &Expr) -> Result<Vec<Column>> {
    let mut columns: Vec<Column> = expr.column_refs().into_iter().cloned().collect();
    columns.extend(scope::outer_columns_of(expr)?.into_iter().map(|reference| reference.column));
    // Sets have no stable order, and plans should be deterministic.
    columns.sort_by_key(Column::flat_name);
    Ok(columns)
}

/// Renames columns in the expression and in its subqueries.
fn renamed_everywhere(expr: Expr, from: &[Column], to: &[Column]) -> Result<Expr> {
    let new =
        |column: &Column| from.iter().position(|c| c == column).map(|index| to[index].clone());
    let renamed = transform_parts(expr, &mut |expr| {
        Ok(match expr {
            Expr::Column(column) => match new(&column) {
                Some(name) => Transformed::yes(Expr::Column(name)),
                None => Transformed::no(Expr::Column(column)),
            },
            Expr::OuterReferenceColumn(field, column) => match new(&column) {
                Some(name) => Transformed::yes(Expr::OuterReferenceColumn(field, name)),
                None => Transformed::no(Expr::OuterReferenceColumn(field, column)),
            },
            Expr::ScalarSubquery(mut own) => {
                own = in_subquery(own, from, to)?;
                Transformed::yes(Expr::ScalarSubquery(own))
            }
            Expr::Exists(mut exists) => {
                exists.subquery = in_subquery(exists.subquery, from, to)?;
                Transformed::yes(Expr::Exists(exists))
            }
            Expr::InSubquery(mut within) => {
                within.subquery = in_subquery(within.subquery, from, to)?;
                Transformed::yes(Expr::InSubquery(within))
            }
            Expr::SetComparison(mut set) => {
                set.subquery = in_subquery(set.subquery, from, to)?;
                Transformed::yes(Expr::SetComparison(set))
            }
            other => Transformed::no(other),
        })
    })?;
    Ok(renamed.data)
}

/// Renames outer columns in a subquery.
fn in_subquery(
    subquery: datafusion::logical_expr::Subquery,
    from: &[Column],
    to: &[Column],
) -> Result<datafusion::logical_expr::Subquery> {
    let plan = Arc::unwrap_or_clone(subquery.subquery);
    let renamed = plan.transform_up(|node| {
        map_exprs(node, &mut |expr| {
            transform_parts(expr, &mut |expr| match expr {
                Expr::OuterReferenceColumn(field, column) => {
                    Ok(match from.iter().position(|c| *c == column) {
                        Some(index) => {
                            Transformed::yes(Expr::OuterReferenceColumn(field, to[index].clone()))
                        }
                        None => Transformed::no(Expr::OuterReferenceColumn(field, column)),
                    })
                }
                other => Ok(Transformed::no(other)),
            })
        })
    })?;
    scope::subquery(renamed.data, subquery.spans)
}
