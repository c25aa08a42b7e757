//! EXISTS, IN, ANY and ALL.
//!
//! As a conjunct of a filter, where unknown is the same as false, they are semi and anti joins. A row stays
//!
//! | conjunct             | if the subquery has                          |
//! |----------------------|----------------------------------------------|
//! | `x op ANY (S)`       | a row for which `x op q` is true             |
//! | `NOT x op ANY (S)`   | no row for which `x op q` is true or unknown |
//! | `x op ALL (S)`       | no row for which `x op q` is false or unknown|
//! | `NOT x op ALL (S)`   | a row for which `x op q` is false            |
//!
//! Elsewhere they are values, which may be unknown. Marks of joins say whether there is such a row; where the rows
//! are found by keys alone, the numbers of rows and of nulls in each group say what a mark cannot.

use std::sync::Arc;

use datafusion::common::{Column, Result};
use datafusion::functions_aggregate::expr_fn::{count, max, min};
use datafusion::logical_expr::expr::SetQuantifier;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, ExprFunctionExt, JoinType, Limit, LogicalPlan, Operator,
    SubqueryAlias, binary_expr, lit, when,
};

use super::Unnester;
use super::domain::type_of;
use super::matching::{Matching, may_be_null, selected};
use super::scope;
use super::shape::{Pair, all, cross, filter, is_row_by_row, join, project, renamed, unknown};
use bigslice_functions::rows;

/// What stands before a subquery.
#[derive(Debug, Clone)]
pub(super) struct Quantified {
    pub(super) test: Test,
    pub(super) negated: bool,
    pub(super) subquery: LogicalPlan,
}

#[derive(Debug, Clone)]
pub(super) enum Test {
    Exists,
    /// The columns of a row, the operator, ANY or ALL.
    Compare(Vec<Expr>, Operator, SetQuantifier),
}

impl Quantified {
    /// The expression, if it is one of these, perhaps below NOT.
    pub(super) fn of(expr: &Expr) -> Option<Self> {
        match expr {
            Expr::Not(inner) => Self::of(inner).map(|own| Self { negated: !own.negated, ..own }),
            Expr::Exists(exists) => Some(Self {
                test: Test::Exists,
                negated: exists.negated,
                subquery: exists.subquery.subquery.as_ref().clone(),
            }),
            Expr::InSubquery(within) => Some(Self {
                test: Test::Compare(rows::columns(&within.expr), Operator::Eq, SetQuantifier::Any),
                negated: within.negated,
                subquery: within.subquery.subquery.as_ref().clone(),
            }),
            Expr::SetComparison(set) => {
                let own = Self {
                    test: Test::Compare(rows::columns(&set.expr), set.op, set.quantifier),
                    negated: false,
                    subquery: set.subquery.subquery.as_ref().clone(),
                };
                Some(own.plainest())
            }
            _ => None,
        }
    }

    /// Changes what is compared with the subquery.
    pub(super) fn lift_columns(
        &mut self,
        mut change: impl FnMut(Expr) -> Result<Expr>,
    ) -> Result<()> {
        if let Test::Compare(columns, ..) = &mut self.test {
            for column in columns {
                *column = change(std::mem::take(column))?;
            }
        }
        Ok(())
    }

    /// `<> ALL` is NOT IN, and `<> ANY` is NOT `= ALL`.
    fn plainest(self) -> Self {
        let Test::Compare(columns, Operator::NotEq, quantifier) = self.test else { return self };
        let quantifier = match quantifier {
            SetQuantifier::Any => SetQuantifier::All,
            SetQuantifier::All => SetQuantifier::Any,
        };
        let test = Test::Compare(columns, Operator::Eq, quantifier);
        Self { test, negated: !self.negated, subquery: self.subquery }
    }
}

impl Unnester {
    /// The rows of `current` for which the conjunct is true. `outer` has the columns that the subquery refers to.
    pub(super) fn semi(
        &self,
        conjunct: Quantified,
        outer: &LogicalPlan,
        mut current: LogicalPlan,
    ) -> Result<LogicalPlan> {
        let Test::Compare(columns, operator, quantifier) = conjunct.test else {
            let Some(subquery) = without_duplicates(&conjunct.subquery) else {
                return filter(vec![lit(!conjunct.negated)], current);
            };
            let matching = self.matching(&subquery, outer, Vec::new())?;
            let kind = if conjunct.negated { JoinType::LeftAnti } else { JoinType::LeftSemi };
            return join(current, matching.plan, kind, &matching.pairs, matching.condition);
        };
        let subquery = row_values(&conjunct.subquery)?;
        let matching = self.matching(&subquery, outer, selected(&subquery))?;
        let columns = if columns.iter().any(Expr::is_volatile) {
            self.as_columns(columns, &mut current)?
        } else {
            columns
        };
        let test = Comparison::new(columns, operator, &matching, &current)?;
        match (quantifier, conjunct.negated) {
            (SetQuantifier::Any, false) => test.join(current, matching, JoinType::LeftSemi),
            (SetQuantifier::Any, true) if !test.may_be_null => {
                test.join(current, matching, JoinType::LeftAnti)
            }
            (quantifier, negated) => {
                let holds = test.holds();
                let (kind, holds) = match (quantifier, negated) {
                    (SetQuantifier::Any, _) => (JoinType::LeftAnti, holds.is_not_false()),
                    (SetQuantifier::All, false) => (JoinType::LeftAnti, holds.is_not_true()),
                    (SetQuantifier::All, true) => (JoinType::LeftSemi, holds.is_false()),
                };
                let Matching { plan, pairs, mut condition, .. } = matching;
                condition.push(holds);
                join(current, plan, kind, &pairs, condition)
            }
        }
    }

    /// An expression over the columns of `current`, to which joins are added, that has the value.
    pub(super) fn truth(
        &self,
        test: Quantified,
        outer: &LogicalPlan,
        current: &mut LogicalPlan,
    ) -> Result<Expr> {
        let negated = test.negated;
        let value = match test.test {
            Test::Exists => self.exists(&test.subquery, outer, current)?,
            Test::Compare(columns, operator, quantifier) => {
                let subquery = row_values(&test.subquery)?;
                let columns = self.as_columns(columns, current)?;
                if scope::may_differ(&subquery)? {
                    self.compared_once(columns, operator, quantifier, &subquery, current)?
                } else {
                    self.compared(columns, operator, quantifier, &subquery, outer, current)?
                }
            }
        };
        Ok(if negated { Expr::Not(Box::new(value)) } else { value })
    }

    fn exists(
        &self,
        subquery: &LogicalPlan,
        outer: &LogicalPlan,
        current: &mut LogicalPlan,
    ) -> Result<Expr> {
        let Some(subquery) = without_duplicates(subquery) else { return Ok(lit(true)) };
        let matching = self.matching(&subquery, outer, Vec::new())?;
        if matching.pairs.is_empty() && matching.condition.is_empty() {
            let first = LogicalPlan::Limit(Limit {
                skip: None,
                fetch: Some(Box::new(lit(1_i64))),
                input: matching.plan.into(),
            });
            let (plan, columns) = self.groups(first, Vec::new(), vec![count(lit(1_i64))])?;
            *current = cross(current.clone(), plan)?;
            return Ok(columns[0].clone().gt(lit(0_i64)));
        }
        let condition = matching.condition.clone();
        self.mark(&matching, condition, current)
    }

    /// Columns of `current` that have the values of the expressions: each is needed more than once.
    fn as_columns(&self, exprs: Vec<Expr>, current: &mut LogicalPlan) -> Result<Vec<Expr>> {
        let mut columns = Vec::with_capacity(exprs.len());
        let mut added = all(current.schema());
        let n_before = added.len();
        for expr in exprs {
            if matches!(expr, Expr::Column(_) | Expr::Literal(..) | Expr::OuterReferenceColumn(..))
            {
                columns.push(expr);
                continue;
            }
            let name = self.fresh();
            added.push(expr.alias(&name));
            columns.push(Expr::Column(Column::new_unqualified(name)));
        }
        if added.len() > n_before {
            *current = project(added, current.clone())?;
        }
        Ok(columns)
    }

    /// A column of `current` that says whether a row matches, with the condition in the place of that of
    /// `matching`.
    fn mark(
        &self,
        matching: &Matching,
        condition: Vec<Expr>,
        current: &mut LogicalPlan,
    ) -> Result<Expr> {
        let alias = self.fresh();
        let old = Arc::clone(matching.plan.schema());
        let right = SubqueryAlias::try_new(matching.plan.clone().into(), alias.as_str())?;
        let right = LogicalPlan::SubqueryAlias(right);
        let under_alias = |expr| renamed(expr, &old, &right.schema().columns());
        let pairs = matching.pairs.iter().map(|pair| Pair {
            inner: Column::new(Some(alias.clone()), pair.inner.name.clone()),
            ..pair.clone()
        });
        let pairs: Vec<Pair> = pairs.collect();
        let condition = condition.into_iter().map(under_alias).collect::<Result<Vec<_>>>()?;
        *current = join(current.clone(), right.clone(), JoinType::LeftMark, &pairs, condition)?;
        Ok(Expr::Column(Column::new(Some(alias), "mark")))
    }

    fn compared(
        &self,
        columns: Vec<Expr>,
        operator: Operator,
        quantifier: SetQuantifier,
        subquery: &LogicalPlan,
        outer: &LogicalPlan,
        current: &mut LogicalPlan,
    ) -> Result<Expr> {
        let matching = self.matching(subquery, outer, selected(subquery))?;
        let test = Comparison::new(columns, operator, &matching, current)?;
        let is_single = test.columns.len() == 1;
        if operator != Operator::Eq && is_single && matching.is_by_keys() {
            let value = &matching.values[0];
            let data_type = type_of(value, &matching.plan)?;
            if data_type.is_numeric() || data_type.is_temporal() || data_type.is_string() {
                return self.against_ends(&test, quantifier, &matching, current);
            }
        }
        let holds = test.holds();
        let decided = match quantifier {
            SetQuantifier::Any => holds.clone(),
            SetQuantifier::All => holds.clone().is_false(),
        };
        let mut condition = matching.condition.clone();
        condition.push(decided);
        let is_any = matches!(quantifier, SetQuantifier::Any);
        let found = if is_any && operator == Operator::Eq {
            let mut keyed = matching.clone();
            keyed.pairs.extend(test.pairs(&matching));
            let rest = matching.condition.iter().cloned().chain(test.unpaired(&matching)).collect();
            self.mark(&keyed, rest, current)?
        } else {
            self.mark(&matching, condition, current)?
        };
        if !test.may_be_null {
            return Ok(if is_any { found } else { Expr::Not(Box::new(found)) });
        }
        if is_any && operator == Operator::Eq && is_single && matching.is_by_keys() {
            return self.by_counts(&test, found, &matching, current);
        }
        let mut condition = matching.condition.clone();
        condition.push(holds.is_null());
        let is_unknown = self.mark(&matching, condition, current)?;
        when(found, lit(is_any)).when(is_unknown, unknown()).otherwise(lit(!is_any))
    }

    /// Groups by the inner sides of pairs, with the aggregates under new names.
    fn groups(
        &self,
        plan: LogicalPlan,
        by: Vec<Column>,
        aggregates: Vec<Expr>,
    ) -> Result<(LogicalPlan, Vec<Expr>)> {
        let n_by = by.len();
        let by = by.into_iter().map(Expr::Column).collect();
        let plan = LogicalPlan::Aggregate(Aggregate::try_new(plan.into(), by, aggregates)?);
        let mut exprs = Vec::new();
        let mut columns = Vec::new();
        for (index, column) in plan.schema().columns().into_iter().enumerate() {
            if index < n_by {
                exprs.push(Expr::Column(column));
            } else {
                let name = self.fresh();
                exprs.push(Expr::Column(column).alias(&name));
                columns.push(Expr::Column(Column::new_unqualified(name)));
            }
        }
        Ok((project(exprs, plan)?, columns))
    }

    /// Joins to each row what the aggregates say of the rows that are its own.
    fn facts(
        &self,
        matching: &Matching,
        aggregates: Vec<Expr>,
        current: &mut LogicalPlan,
    ) -> Result<Vec<Expr>> {
        let by: Vec<Column> = matching.pairs.iter().map(|pair| pair.inner.clone()).collect();
        let (groups, columns) = self.groups(matching.plan.clone(), by, aggregates)?;
        // The mark before has columns of these names on its right side, which are gone from its result.
        *current = join(current.clone(), groups, JoinType::Left, &matching.pairs, Vec::new())?;
        Ok(columns)
    }

    /// The value of IN: true if found, else unknown if a null is on either side, unless there is no row at all.
    fn by_counts(
        &self,
        test: &Comparison,
        found: Expr,
        matching: &Matching,
        current: &mut LogicalPlan,
    ) -> Result<Expr> {
        let aggregates = vec![count(lit(1_i64)), count(matching.values[0].clone())];
        let facts = self.facts(matching, aggregates, current)?;
        let (rows, known) = (facts[0].clone(), facts[1].clone());
        let is_empty = rows.clone().is_null().or(rows.clone().eq(lit(0_i64)));
        let is_unknown = test.columns[0].clone().is_null().or(rows.gt(known));
        when(is_empty, lit(false))
            .when(found, lit(true))
            .when(is_unknown, unknown())
            .otherwise(lit(false))
    }

    /// The value of a comparison with an order: the least and the greatest value decide.
    fn against_ends(
        &self,
        test: &Comparison,
        quantifier: SetQuantifier,
        matching: &Matching,
        current: &mut LogicalPlan,
    ) -> Result<Expr> {
        let value = matching.values[0].clone();
        let aggregates =
            vec![count(lit(1_i64)), count(value.clone()), min(value.clone()), max(value)];
        let facts = self.facts(matching, aggregates, current)?;
        let [rows, known, least, greatest] = facts.as_slice() else {
            return datafusion::common::internal_err!(
                "four aggregates, but {} columns",
                facts.len()
            );
        };
        let is_any = matches!(quantifier, SetQuantifier::Any);
        let is_more = matches!(test.operator, Operator::Gt | Operator::GtEq);
        let end = if is_more == is_any { least } else { greatest };
        let x = &test.columns[0];
        let holds = binary_expr(x.clone(), test.operator, end.clone());
        let is_empty = rows.clone().is_null().or(rows.clone().eq(lit(0_i64)));
        let has_null = rows.clone().gt(known.clone());
        let decided = if is_any { holds } else { holds.is_false() };
        when(is_empty, lit(!is_any))
            .when(x.clone().is_null(), unknown())
            .when(decided, lit(is_any))
            .when(has_null, unknown())
            .otherwise(lit(!is_any))
    }

    /// The value with one run of the subquery, which may differ in a second one: it counts for how many rows
    /// the comparison is decided, and for how many it is unknown.
    fn compared_once(
        &self,
        columns: Vec<Expr>,
        operator: Operator,
        quantifier: SetQuantifier,
        subquery: &LogicalPlan,
        current: &mut LogicalPlan,
    ) -> Result<Expr> {
        // The compared columns become references of the subquery to the plan as it is now.
        let schema = Arc::clone(current.schema());
        let inner = columns.into_iter().map(|expr| match expr {
            Expr::Column(column) => {
                let index = schema.index_of_column(&column)?;
                let (_, field) = schema.qualified_field(index);
                Ok(Expr::OuterReferenceColumn(Arc::clone(field), column))
            }
            other => Ok(other),
        });
        let inner = inner.collect::<Result<Vec<Expr>>>()?;
        let values = selected(subquery);
        let pairs = inner.into_iter().zip(values);
        let holds =
            conjunction(pairs.map(|(x, q)| binary_expr(x, operator, q))).unwrap_or(lit(true));
        let is_any = matches!(quantifier, SetQuantifier::Any);
        let decided = if is_any { holds.clone().is_true() } else { holds.clone().is_false() };
        let counts = vec![
            count(lit(1_i64)).filter(decided).build()?,
            count(lit(1_i64)).filter(holds.is_null()).build()?,
        ];
        let (counted, columns) = self.groups(subquery.clone(), Vec::new(), counts)?;
        let value = when(columns[0].clone().gt(lit(0_i64)), lit(is_any))
            .when(columns[1].clone().gt(lit(0_i64)), unknown())
            .otherwise(lit(!is_any))?;
        let one = project(vec![value.alias(self.fresh())], counted)?;
        let before = current.clone();
        self.scalar(&one, &before, current)
    }
}

/// The comparison of a row's columns with what a subquery selects.
struct Comparison {
    columns: Vec<Expr>,
    operator: Operator,
    values: Vec<Expr>,
    may_be_null: bool,
}

impl Comparison {
    fn new(
        columns: Vec<Expr>,
        operator: Operator,
        matching: &Matching,
        current: &LogicalPlan,
    ) -> Result<Self> {
        let values = matching.values.clone();
        if columns.len() != values.len() {
            return datafusion::common::plan_err!(
                "{} columns are compared with the {} of a subquery",
                columns.len(),
                values.len()
            );
        }
        let may_be_null = columns.iter().any(|x| may_be_null(x, current.schema()))
            || values.iter().any(|q| may_be_null(q, matching.plan.schema()));
        Ok(Self { columns, operator, values, may_be_null })
    }

    /// Whether the comparison holds for a row of both sides.
    fn holds(&self) -> Expr {
        let pairs = self.columns.iter().zip(&self.values);
        let all = pairs.map(|(x, q)| binary_expr(x.clone(), self.operator, q.clone()));
        conjunction(all).unwrap_or(lit(true))
    }

    /// The equalities that can be keys of a join, whose inner side is a column.
    fn pairs(&self, matching: &Matching) -> Vec<Pair> {
        self.sides(matching).filter_map(|(_, pair)| pair).collect()
    }

    /// The other equalities.
    fn unpaired(&self, matching: &Matching) -> Vec<Expr> {
        let sides = self.sides(matching);
        sides.filter(|(_, pair)| pair.is_none()).map(|(equal, _)| equal).collect()
    }

    fn sides<'a>(
        &'a self,
        matching: &'a Matching,
    ) -> impl Iterator<Item = (Expr, Option<Pair>)> + 'a {
        self.columns.iter().zip(&self.values).map(|(x, q)| {
            let equal = x.clone().eq(q.clone());
            let pair = match q {
                Expr::Column(column)
                    if matching.plan.schema().is_column_from_schema(column)
                        && !x.column_refs().is_empty() =>
                {
                    Some(Pair { outer: x.clone(), inner: column.clone(), null_safe: false })
                }
                _ => None,
            };
            (equal, pair)
        })
    }

    fn join(
        &self,
        current: LogicalPlan,
        matching: Matching,
        kind: JoinType,
    ) -> Result<LogicalPlan> {
        if self.operator != Operator::Eq {
            let Matching { plan, pairs, mut condition, .. } = matching;
            condition.push(self.holds());
            return join(current, plan, kind, &pairs, condition);
        }
        let more = self.pairs(&matching);
        let rest = self.unpaired(&matching);
        let Matching { plan, mut pairs, mut condition, .. } = matching;
        pairs.extend(more);
        condition.extend(rest);
        join(current, plan, kind, &pairs, condition)
    }
}

/// The subquery without what does not matter for whether it has a row; nothing if it always has one.
fn without_duplicates(subquery: &LogicalPlan) -> Option<LogicalPlan> {
    let inner = match subquery {
        LogicalPlan::Projection(projection) if is_row_by_row(projection) => &projection.input,
        LogicalPlan::SubqueryAlias(alias) => &alias.input,
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => &sort.input,
        LogicalPlan::Distinct(Distinct::All(input)) => input,
        LogicalPlan::Limit(Limit { skip: None, fetch: Some(fetch), input })
            if matches!(fetch.as_ref(), Expr::Literal(value, _)
                if i64::try_from(value.clone()).is_ok_and(|fetch| fetch > 0)) =>
        {
            input
        }
        LogicalPlan::Aggregate(aggregate) => match aggregate.group_expr.as_slice() {
            [] => return None,
            [Expr::GroupingSet(_)] => return Some(subquery.clone()),
            _ => &aggregate.input,
        },
        other => return Some(other.clone()),
    };
    without_duplicates(inner)
}

/// The subquery whose only column is a row, as one that selects the columns of the row.
fn row_values(subquery: &LogicalPlan) -> Result<LogicalPlan> {
    if let LogicalPlan::Projection(projection) = subquery
        && let [expr] = projection.expr.as_slice()
        && let Some(columns) = rows::row(expr)
    {
        return project(columns.to_vec(), projection.input.as_ref().clone());
    }
    Ok(subquery.clone())
}

/// Whether a conjunct may stay for DataFusion: its subquery refers to nothing outside, and what it is
/// compared with is a column.
pub(super) fn is_for_datafusion(conjunct: &Expr) -> Result<bool> {
    let inner = match conjunct {
        Expr::Not(inner) => inner.as_ref(),
        other => other,
    };
    match inner {
        Expr::Exists(exists) => Ok(scope::outer_columns(&exists.subquery.subquery)?.is_empty()),
        Expr::InSubquery(within) => {
            let compared = &within.expr;
            Ok(scope::outer_columns(&within.subquery.subquery)?.is_empty()
                && !compared.column_refs().is_empty()
                && !compared.is_volatile()
                && !scope::contains_subquery(compared)?
                && scope::outer_columns_of(compared)?.is_empty()
                && rows::row(compared).is_none())
        }
        _ => Ok(false),
    }
}
