//! Joins in a correlated subquery: the domain is pushed into the side that refers to it, or into
//! both sides, which are then joined on it, too. A row-preserving side always has it.

use std::sync::Arc;

use datafusion::common::{Column, NullEquality, Result, not_impl_err};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    Expr, ExprSchemable, Join, JoinConstraint, JoinType, LogicalPlan, Operator, binary_expr, when,
};

use super::domain::{Domain, Key};
use super::push_down::{Decorrelated, Hints};
use super::shape::{key_without_nulls, named};
use super::{Unnester, scope};

/// The sides of a join with the domain.
struct Sides {
    left: Option<Decorrelated>,
    right: Option<Decorrelated>,
}

impl Unnester {
    pub(super) fn push_down_join(
        &self,
        old: &Join,
        domain: &Domain,
        hints: &Hints,
    ) -> Result<Decorrelated> {
        if old.null_aware {
            return not_impl_err!("a null-aware join in a correlated subquery is not supported");
        }
        let sides = self.sides(old, domain, hints)?;
        let (mut on, mut condition) = bound_condition(old, domain, &sides)?;
        if let Sides { left: Some(left), right: Some(right) } = &sides {
            add_keys(&mut on, &mut condition, old.null_equality, &left.keys, &right.keys);
        }
        let n_left = old.left.schema().fields().len();
        let n_right = old.right.schema().fields().len();
        let left_keys = sides.left.as_ref().map(|side| side.keys.clone());
        let right_keys = sides.right.as_ref().map(|side| side.keys.clone());
        let left = sides.left.map_or_else(|| Arc::clone(&old.left), |side| Arc::new(side.plan));
        let right = sides.right.map_or_else(|| Arc::clone(&old.right), |side| Arc::new(side.plan));
        let plan = LogicalPlan::Join(Join::try_new(
            Arc::clone(&left),
            right,
            on,
            conjunction(condition),
            old.join_type,
            JoinConstraint::On,
            old.null_equality,
            false,
        )?);
        let columns = plan.schema().columns();
        let own =
            own_columns(old.join_type, &columns, n_left, left.schema().fields().len(), n_right);
        let own = own.into_iter().map(Expr::Column).collect();
        match (old.join_type, left_keys, right_keys) {
            (JoinType::Full, Some(left), Some(right)) => self.full(plan, own, old, &left, &right),
            (
                JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark,
                _,
                Some(keys),
            )
            | (_, Some(keys), _)
            | (_, None, Some(keys)) => {
                let names = keys.iter().map(|key| key.column.clone()).collect::<Vec<_>>();
                Ok(Decorrelated { plan: named(plan, own, &old.schema, &names)?, keys })
            }
            (_, None, None) => not_impl_err!("a join without its domain"),
        }
    }

    fn sides(&self, old: &Join, domain: &Domain, hints: &Hints) -> Result<Sides> {
        let in_left = domain.is_used_by(&old.left)?;
        let in_right = domain.is_used_by(&old.right)?;
        let on_left = side_hints(hints, &old.left);
        let on_right = side_hints(hints, &old.right);
        let (left, right) = match old.join_type {
            JoinType::Inner if !in_left && !in_right => {
                let right_is_known = on_right.iter().all(Option::is_some);
                (!right_is_known, right_is_known)
            }
            JoinType::Inner => (in_left, in_right),
            JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => {
                (true, in_right)
            }
            JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => {
                (in_left, true)
            }
            JoinType::Full => (true, true),
        };
        // A filter above constrains the join's result: it cannot constrain a side that is
        // null-supplying or only tested.
        let kept_left = is_kept(old.join_type, true);
        let kept_right = is_kept(old.join_type, false);
        let none = || Self::no_hints(domain);
        Ok(Sides {
            left: left
                .then(|| {
                    self.push_down(&old.left, domain, if kept_left { on_left } else { none() })
                })
                .transpose()?,
            right: right
                .then(|| {
                    self.push_down(&old.right, domain, if kept_right { on_right } else { none() })
                })
                .transpose()?,
        })
    }

    /// A row of a full join takes the domain's value from either side.
    fn full(
        &self,
        plan: LogicalPlan,
        own: Vec<Expr>,
        old: &Join,
        left: &[Key],
        right: &[Key],
    ) -> Result<Decorrelated> {
        let n_own = own.len();
        let mut exprs: Vec<Expr> = own
            .into_iter()
            .zip(old.schema.iter())
            .map(|(expr, (relation, field))| expr.alias_qualified(relation.cloned(), field.name()))
            .collect();
        let mut keys = Vec::with_capacity(left.len());
        for (left, right) in left.iter().zip(right) {
            let name = self.fresh();
            let (one, other) =
                (Expr::Column(left.column.clone()), Expr::Column(right.column.clone()));
            let value = when(one.clone().is_null(), other).otherwise(one)?;
            exprs.push(value.alias(&name));
            keys.push(Key {
                column: Column::new_unqualified(name),
                data_type: left.data_type.clone(),
                without_nulls: left.without_nulls && right.without_nulls,
            });
        }
        debug_assert_eq!(exprs.len(), n_own + keys.len());
        Ok(Decorrelated { plan: super::shape::project(exprs, plan)?, keys })
    }
}

/// True if the join returns rows of this side unchanged.
fn is_kept(join_type: JoinType, left: bool) -> bool {
    match join_type {
        JoinType::Inner => true,
        JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => left,
        JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => !left,
        JoinType::Full => false,
    }
}

/// The hints that use columns of one side only.
fn side_hints(hints: &Hints, side: &LogicalPlan) -> Hints {
    let is_of_side = |expr: &Expr| {
        scope::columns(expr).iter().all(|column| side.schema().is_column_from_schema(column))
            && expr.get_type(side.schema()).is_ok()
    };
    hints.iter().map(|hint| hint.clone().filter(is_of_side)).collect()
}

type Condition = (Vec<(Expr, Expr)>, Vec<Expr>);

fn bound_condition(old: &Join, domain: &Domain, sides: &Sides) -> Result<Condition> {
    let keys_of_left = sides.left.as_ref().map(|side| &side.keys);
    let keys_of_right = sides.right.as_ref().map(|side| &side.keys);
    let Some(any) = keys_of_left.or(keys_of_right) else {
        return not_impl_err!("a join without its domain");
    };
    let mut on = Vec::with_capacity(old.on.len());
    let mut condition = Vec::new();
    for (left, right) in &old.on {
        if domain.is_used_in([left, right]) {
            let left = domain.bind(left.clone(), keys_of_left.unwrap_or(any))?;
            let right = domain.bind(right.clone(), keys_of_right.unwrap_or(any))?;
            let operator = match old.null_equality {
                NullEquality::NullEqualsNull => Operator::IsNotDistinctFrom,
                NullEquality::NullEqualsNothing => Operator::Eq,
            };
            condition.push(binary_expr(left, operator, right));
        } else {
            on.push((left.clone(), right.clone()));
        }
    }
    if let Some(filter) = &old.filter {
        condition.push(domain.bind(filter.clone(), any)?);
    }
    Ok((on, condition))
}

/// Adds the condition that both sides have the same domain value. See [`super::shape::join`] for
/// nulls.
fn add_keys(
    on: &mut Vec<(Expr, Expr)>,
    condition: &mut Vec<Expr>,
    equality: NullEquality,
    left: &[Key],
    right: &[Key],
) {
    for (left, right) in left.iter().zip(right) {
        let (one, other) = (Expr::Column(left.column.clone()), Expr::Column(right.column.clone()));
        if left.without_nulls || right.without_nulls || equality == NullEquality::NullEqualsNull {
            on.push((one, other));
        } else {
            on.extend(key_without_nulls(&one, &other, &right.data_type));
            condition.push(binary_expr(one, Operator::IsNotDistinctFrom, other));
        }
    }
}

/// The columns that the join had before its sides got the domain.
fn own_columns(
    join_type: JoinType,
    columns: &[Column],
    n_left: usize,
    n_left_now: usize,
    n_right: usize,
) -> Vec<Column> {
    let first = |n: usize| columns.iter().take(n).cloned();
    match join_type {
        JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => {
            first(n_left).chain(columns.iter().skip(n_left_now).take(n_right).cloned()).collect()
        }
        JoinType::LeftSemi | JoinType::LeftAnti => first(n_left).collect(),
        JoinType::RightSemi | JoinType::RightAnti => first(n_right).collect(),
        JoinType::LeftMark => first(n_left).chain(columns.last().cloned()).collect(),
        JoinType::RightMark => first(n_right).chain(columns.last().cloned()).collect(),
    }
}
