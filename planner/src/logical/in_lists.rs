//! Keeps DataFusion from merging IN lists of the same expression.
//!
//! DataFusion 55.2 simplifies `x IN (1) AND x IN (2)` to false and `x NOT IN (1) OR x NOT IN (2)`
//! to true, even for a null `x`. It merges lists if both are IN, or one is IN and one NOT IN, under
//! AND, and if both are NOT IN under OR. It treats `x = 1 OR x = 2` as a list as well. In a filter,
//! where null and false are the same, merging under AND is correct unless a list contains a null or
//! a column.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

use super::expressions::map_parts;
use super::same_value::shielded;

/// True if the expression contains such lists at all.
pub(super) fn may_matter(expr: &Expr) -> bool {
    let is_list = |part: &Expr| {
        matches!(part, Expr::InList(_) | Expr::BinaryExpr(BinaryExpr { op: Operator::Or, .. }))
    };
    expr.exists(|part| Ok(is_list(part))).unwrap_or(true)
}

/// Wraps in `same_value(..)` the lists that must not be merged with others. `filters` is true if
/// the expression is a filter.
pub(super) fn keep_apart(expr: Expr, filters: bool) -> Result<Transformed<Expr>> {
    let walked = walk(expr, Place { negated: false, below_not: false, top: filters })?;
    Ok(Transformed::new_transformed(walked.expr, walked.changed))
}

/// The kinds of lists found for one expression.
#[derive(Clone, Copy, Default)]
struct Lists {
    /// `x IN`, with literals that are not null.
    of_literals: bool,
    /// `x IN`, with anything else.
    of_others: bool,
    not_of_literals: bool,
    not_of_others: bool,
}

impl Lists {
    fn positive(self) -> bool {
        self.of_literals || self.of_others
    }

    fn negative(self) -> bool {
        self.not_of_literals || self.not_of_others
    }

    fn others(self) -> bool {
        self.of_others || self.not_of_others
    }

    fn add(&mut self, other: Self) {
        self.of_literals |= other.of_literals;
        self.of_others |= other.of_others;
        self.not_of_literals |= other.not_of_literals;
        self.not_of_others |= other.not_of_others;
    }
}

/// Keyed by the hash of the expression: a collision only costs an unnecessary wrapper.
type Found = HashMap<u64, Lists>;

struct Walked {
    expr: Expr,
    changed: bool,
    found: Found,
}

/// The context above a part of an expression.
#[derive(Clone, Copy)]
struct Place {
    /// True below an odd number of NOTs.
    negated: bool,
    /// True below a NOT. DataFusion merges lists below it both before and after it pushes the NOT
    /// down.
    below_not: bool,
    /// True if only ANDs of a filter are above.
    top: bool,
}

fn walk(expr: Expr, place: Place) -> Result<Walked> {
    let Place { negated, below_not, top } = place;
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }) => {
            let is_and = (op == Operator::And) != negated;
            let place = Place { top: top && op == Operator::And, ..place };
            let mut left = walk(*left, place)?;
            let mut right = walk(*right, place)?;
            if !is_and || below_not {
                add_equality(&mut left, place);
                add_equality(&mut right, place);
            }
            if clash(&left.found, &right.found, is_and, place) {
                let Transformed { data, transformed, .. } = shield_lists(right.expr)?;
                right.changed |= transformed;
                right.expr = data;
                right.found.clear();
            }
            let expr = Expr::BinaryExpr(BinaryExpr {
                left: Box::new(left.expr),
                op,
                right: Box::new(right.expr),
            });
            let found = merged(left.found, right.found);
            Ok(Walked { expr, changed: left.changed || right.changed, found })
        }
        Expr::Not(inner) => {
            let place = Place { negated: !negated, below_not: true, top: false };
            let inner = walk(*inner, place)?;
            Ok(Walked { expr: Expr::Not(Box::new(inner.expr)), ..inner })
        }
        Expr::InList(list) => {
            let literals = list
                .list
                .iter()
                .all(|item| matches!(item, Expr::Literal(value, _) if !value.is_null()));
            let positive = list.negated == negated;
            let lists = Lists {
                of_literals: positive && literals,
                of_others: positive && !literals,
                not_of_literals: !positive && literals,
                not_of_others: !positive && !literals,
            };
            let found = Found::from([(hash(&list.expr), lists)]);
            Ok(Walked { expr: Expr::InList(list), changed: false, found })
        }
        other => {
            let walked = map_parts(other, &mut |child| {
                let place = Place { negated: false, below_not: false, top: false };
                let child = walk(child, place)?;
                Ok(Transformed::new_transformed(child.expr, child.changed))
            })?;
            Ok(Walked { expr: walked.data, changed: walked.transformed, found: Found::new() })
        }
    }
}

/// `x = 1` beside an OR counts as a list.
fn add_equality(side: &mut Walked, place: Place) {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = &side.expr else { return };
    let equal = match op {
        Operator::Eq => !place.negated || place.below_not,
        Operator::NotEq => place.below_not,
        _ => false,
    };
    if !equal {
        return;
    }
    let column = match (left.as_ref(), right.as_ref()) {
        (Expr::Column(_), Expr::Literal(..)) => left,
        (Expr::Literal(..), Expr::Column(_)) => right,
        _ => return,
    };
    let lists = Lists { of_literals: true, ..Lists::default() };
    side.found.entry(hash(column)).or_default().add(lists);
}

fn clash(left: &Found, right: &Found, is_and: bool, place: Place) -> bool {
    let (few, many) = if left.len() < right.len() { (left, right) } else { (right, left) };
    few.iter().any(|(of, one)| {
        let Some(other) = many.get(of) else { return false };
        if place.below_not {
            true
        } else if is_and {
            let literals = !one.others() && !other.others();
            (one.positive() || other.positive()) && !(place.top && literals)
        } else {
            one.negative() && other.negative()
        }
    })
}

fn merged(left: Found, right: Found) -> Found {
    let (few, mut many) = if left.len() < right.len() { (left, right) } else { (right, left) };
    for (of, lists) in few {
        many.entry(of).or_default().add(lists);
    }
    many
}

/// Wraps every list, and every equality of an OR that would become one, in `same_value(..)`.
fn shield_lists(expr: Expr) -> Result<Transformed<Expr>> {
    expr.transform_down(|part| {
        Ok(match part {
            Expr::InList(_) => Transformed::new(shielded(part), true, TreeNodeRecursion::Jump),
            Expr::BinaryExpr(BinaryExpr { op: Operator::Eq | Operator::NotEq, .. }) => {
                Transformed::new(shielded(part), true, TreeNodeRecursion::Jump)
            }
            Expr::BinaryExpr(BinaryExpr { op: Operator::And | Operator::Or, .. })
            | Expr::Not(_) => Transformed::no(part),
            _ => Transformed::new(part, false, TreeNodeRecursion::Jump),
        })
    })
}

fn hash(expr: &Expr) -> u64 {
    let mut hasher = DefaultHasher::new();
    expr.hash(&mut hasher);
    hasher.finish()
}
