//! Aggregates in a correlated subquery: the columns of the domain become additional grouping keys.
//!
//! An aggregate without GROUP BY also returns a row for no input, as does the empty set of ROLLUP.
//! A domain value without input has no group; a join from the domain adds it.

use std::sync::Arc;

use datafusion::arrow::datatypes::Field;
use datafusion::common::{Column, Result, ScalarValue, not_impl_err};
use datafusion::logical_expr::expr::GroupingSet;
use datafusion::logical_expr::utils::powerset;
use datafusion::logical_expr::{Aggregate, Expr, JoinType, LogicalPlan, cast, lit, when};

use super::Unnester;
use super::domain::{Domain, Key};
use super::push_down::Decorrelated;
use super::shape::{Pair, cross, filter, join, named, or_zero, project};

/// Aggregates that are null for no rows.
const NULL_OF_NONE: &[&str] = &[
    "sum",
    "min",
    "max",
    "avg",
    "mean",
    "median",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "var",
    "var_pop",
    "var_samp",
    "var_sample",
    "first_value",
    "last_value",
    "array_agg",
    "string_agg",
    "bool_and",
    "bool_or",
    "bit_and",
    "bit_or",
    "bit_xor",
    "corr",
    "covar",
    "covar_pop",
    "covar_samp",
    "percentile_cont",
    "percentile_disc",
    "mode",
    "approx_median",
    "approx_percentile_cont",
];

/// Aggregates that are zero for no rows and never null.
const ZERO_OF_NONE: &[&str] = &["count", "approx_distinct", "regr_count"];

/// The value of an aggregate for no rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OfNone {
    Null,
    Zero,
    /// Not known here; only the function knows.
    Unknown,
}

pub(super) fn of_none(aggregate: &Expr) -> OfNone {
    let Expr::AggregateFunction(function) = aggregate.clone().unalias() else {
        return OfNone::Unknown;
    };
    let name = function.func.name();
    if NULL_OF_NONE.contains(&name) {
        OfNone::Null
    } else if ZERO_OF_NONE.contains(&name) {
        OfNone::Zero
    } else {
        OfNone::Unknown
    }
}

pub(super) fn zero(field: &Field) -> Result<ScalarValue> {
    ScalarValue::new_zero(field.data_type())
}

impl Unnester {
    pub(super) fn push_down_aggregate(
        &self,
        aggregate: &Aggregate,
        domain: &Domain,
    ) -> Result<Decorrelated> {
        let input = self.push_down(&aggregate.input, domain, Self::no_hints(domain))?;
        let bind = |exprs: &[Expr]| -> Result<Vec<Expr>> {
            exprs.iter().map(|expr| domain.bind(expr.clone(), &input.keys)).collect()
        };
        let aggregates = bind(&aggregate.aggr_expr)?;
        if aggregate.group_expr.is_empty() {
            return self.ungrouped(aggregate, aggregates, &input, domain);
        }
        let groups = bind(&aggregate.group_expr)?;
        if let [Expr::GroupingSet(sets)] = groups.as_slice() {
            return self.grouping_sets(aggregate, sets, aggregates, input, domain);
        }
        let keys = input.key_columns();
        // A column of an outer query is a key of the domain already.
        let is_key = |group: &&Expr| group.try_as_col().is_some_and(|column| keys.contains(column));
        let added = groups.iter().filter(|group| !is_key(group)).cloned().collect();
        let plan = grouped(&input, added, aggregates)?;
        let columns = plan.schema().columns();
        let mut rest = columns[keys.len()..].iter().cloned().map(Expr::Column);
        let mut own: Vec<Expr> = Vec::with_capacity(aggregate.schema.fields().len());
        for group in &groups {
            own.extend(if is_key(&group) { Some(group.clone()) } else { rest.next() });
        }
        own.extend(rest);
        let plan = named(plan, own, &aggregate.schema, &keys)?;
        Ok(Decorrelated { plan, keys: input.keys })
    }

    fn ungrouped(
        &self,
        old: &Aggregate,
        aggregates: Vec<Expr>,
        input: &Decorrelated,
        domain: &Domain,
    ) -> Result<Decorrelated> {
        let kinds: Vec<OfNone> = aggregates.iter().map(of_none).collect();
        let keys = input.keys.clone();
        let defaults = if kinds.contains(&OfNone::Unknown) {
            Some(self.of_no_rows(&aggregates, input)?)
        } else {
            None
        };
        let groups = grouped(input, Vec::new(), aggregates)?;
        let marker = self.fresh();
        let (groups, columns) = self.marked(groups, keys.len(), &marker)?;
        let (mut plan, outer_keys) = self.with_domain(groups, &keys, domain)?;
        let is_missing = Expr::Column(Column::new_unqualified(&marker)).is_null();
        let mut values = Vec::with_capacity(kinds.len());
        for (index, (kind, column)) in kinds.iter().zip(&columns).enumerate() {
            let value = Expr::Column(column.clone());
            values.push(match (kind, &defaults) {
                (OfNone::Null, _) => value,
                (OfNone::Zero, _) => or_zero(value, zero(old.schema.field(index))?),
                (OfNone::Unknown, Some((_, defaults))) => {
                    when(is_missing.clone(), defaults[index].clone()).otherwise(value)?
                }
                (OfNone::Unknown, None) => {
                    return not_impl_err!(
                        "the aggregate {value} in a correlated subquery: its value for no rows \
                         is not known"
                    );
                }
            });
        }
        if let Some((defaults, _)) = defaults {
            plan = cross(plan, defaults)?;
        }
        let names = outer_keys.iter().map(|key| key.column.clone()).collect::<Vec<_>>();
        Ok(Decorrelated { plan: named(plan, values, &old.schema, &names)?, keys: outer_keys })
    }

    /// The groups, with renamed aggregates and a column that is never null.
    fn marked(
        &self,
        groups: LogicalPlan,
        n_keys: usize,
        marker: &str,
    ) -> Result<(LogicalPlan, Vec<Column>)> {
        let columns = groups.schema().columns();
        let mut exprs: Vec<Expr> = columns[..n_keys].iter().cloned().map(Expr::Column).collect();
        let mut renamed = Vec::new();
        for column in &columns[n_keys..] {
            let name = self.fresh();
            exprs.push(Expr::Column(column.clone()).alias(&name));
            renamed.push(Column::new_unqualified(name));
        }
        exprs.push(lit(true).alias(marker));
        Ok((project(exprs, groups)?, renamed))
    }

    /// Every value of the domain, with its group if there is one.
    fn with_domain(
        &self,
        groups: LogicalPlan,
        keys: &[Key],
        domain: &Domain,
    ) -> Result<(LogicalPlan, Vec<Key>)> {
        let (values, outer_keys) = domain.instance(self)?;
        let pairs: Vec<Pair> = outer_keys
            .iter()
            .zip(keys)
            .map(|(outer, inner)| Pair {
                outer: Expr::Column(outer.column.clone()),
                inner: inner.column.clone(),
                null_safe: !outer.without_nulls && !inner.without_nulls,
            })
            .collect();
        Ok((join(values, groups, JoinType::Left, &pairs, Vec::new())?, outer_keys))
    }

    /// One row of the aggregates' values for no rows, and its columns.
    fn of_no_rows(
        &self,
        aggregates: &[Expr],
        input: &Decorrelated,
    ) -> Result<(LogicalPlan, Vec<Expr>)> {
        let nothing = filter(vec![lit(false)], input.plan.clone())?;
        let plan = Aggregate::try_new(Arc::new(nothing), Vec::new(), aggregates.to_vec())?;
        let plan = LogicalPlan::Aggregate(plan);
        let mut exprs = Vec::new();
        let mut columns = Vec::new();
        for column in plan.schema().columns() {
            let name = self.fresh();
            exprs.push(Expr::Column(column).alias(&name));
            columns.push(Expr::Column(Column::new_unqualified(name)));
        }
        Ok((project(exprs, plan)?, columns))
    }

    fn grouping_sets(
        &self,
        old: &Aggregate,
        sets: &GroupingSet,
        aggregates: Vec<Expr>,
        input: Decorrelated,
        domain: &Domain,
    ) -> Result<Decorrelated> {
        let sets = listed(sets)?;
        let n_empty = sets.iter().filter(|set| set.is_empty()).count();
        let kinds: Vec<OfNone> = aggregates.iter().map(of_none).collect();
        let key_columns = input.key_columns();
        let keys = || key_columns.iter().cloned().map(Expr::Column);
        if sets.iter().flatten().any(|expr| keys().any(|key| key == *expr)) {
            return not_impl_err!(
                "grouping sets of a subquery with a column of an outer query: it has one value \
                 there, so leave it out"
            );
        }
        // In front, so that the bits of __grouping_id for the user's keys keep their positions.
        let sets = sets.into_iter().map(|set| keys().chain(set).collect()).collect();
        let by = vec![Expr::GroupingSet(GroupingSet::GroupingSets(sets))];
        let plan = Aggregate::try_new(Arc::new(input.plan.clone()), by, aggregates)?;
        let plan = LogicalPlan::Aggregate(plan);
        let columns = plan.schema().columns()[key_columns.len()..].to_vec();
        let n_groups = old.schema.fields().len() - old.aggr_expr.len() - 1;
        let mut exprs: Vec<Expr> = columns.iter().cloned().map(Expr::Column).collect();
        exprs[n_groups] =
            cast(exprs[n_groups].clone(), old.schema.field(n_groups).data_type().clone());
        let plan = named(plan, exprs, &old.schema, &key_columns)?;
        if n_empty == 0 {
            return Ok(Decorrelated { plan, keys: input.keys });
        }
        if n_empty > 1 || kinds.contains(&OfNone::Unknown) {
            return not_impl_err!(
                "a correlated subquery with the empty grouping set twice, or with aggregates whose \
                 value for no rows is not known: group in a separate query and join it"
            );
        }
        // A domain value without rows has the row of the empty set.
        let own = plan.schema().columns()[..old.schema.fields().len()].to_vec();
        let keys = input.keys;
        let marker = self.fresh();
        let reordered: Vec<Expr> =
            key_columns.iter().chain(&own).cloned().map(Expr::Column).collect();
        let (groups, renamed) = self.marked(project(reordered, plan)?, keys.len(), &marker)?;
        let (plan, outer_keys) = self.with_domain(groups, &keys, domain)?;
        let all_grouped = (1_u64 << n_groups.min(63)) - 1;
        let mut values = Vec::with_capacity(renamed.len());
        for (index, column) in renamed.into_iter().enumerate() {
            let field = old.schema.field(index);
            let value = Expr::Column(column);
            values.push(if index < n_groups {
                value
            } else if index == n_groups {
                let id = ScalarValue::UInt64(Some(all_grouped)).cast_to(field.data_type())?;
                or_zero(value, id)
            } else if kinds[index - n_groups - 1] == OfNone::Zero {
                or_zero(value, zero(field)?)
            } else {
                value
            });
        }
        let names = outer_keys.iter().map(|key| key.column.clone()).collect::<Vec<_>>();
        Ok(Decorrelated { plan: named(plan, values, &old.schema, &names)?, keys: outer_keys })
    }
}

/// Groups by the keys of the domain and by `groups`.
pub(super) fn grouped(
    input: &Decorrelated,
    groups: Vec<Expr>,
    aggregates: Vec<Expr>,
) -> Result<LogicalPlan> {
    let keys = input.keys.iter().map(|key| Expr::Column(key.column.clone()));
    let by = keys.chain(groups).collect();
    let plan = Aggregate::try_new(Arc::new(input.plan.clone()), by, aggregates)?;
    Ok(LogicalPlan::Aggregate(plan))
}

/// The grouping sets of a ROLLUP, a CUBE or a list of sets.
fn listed(sets: &GroupingSet) -> Result<Vec<Vec<Expr>>> {
    Ok(match sets {
        GroupingSet::GroupingSets(sets) => sets.clone(),
        GroupingSet::Rollup(exprs) => (0..=exprs.len()).map(|n| exprs[..n].to_vec()).collect(),
        GroupingSet::Cube(exprs) => {
            let sets = powerset(exprs)?;
            sets.into_iter().map(|set| set.into_iter().cloned().collect()).collect()
        }
    })
}
