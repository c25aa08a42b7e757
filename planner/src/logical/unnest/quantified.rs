//! EXISTS, IN, ANY and ALL.
//!
//! As conjuncts of a filter, where unknown is the same as false, they are semi and anti joins. A
//! row is kept:
//!
//! | conjunct             | if the subquery has                          |
//! |----------------------|----------------------------------------------|
//! | `x op ANY (S)`       | a row for which `x op q` is true             |
//! | `NOT x op ANY (S)`   | no row for which `x op q` is true or unknown |
//! | `x op ALL (S)`       | no row for which `x op q` is false or unknown|
//! | `NOT x op ALL (S)`   | a row for which `x op q` is false            |
//!
//! Elsewhere they are values; see [`truth`](super::truth).

use bigslice_functions::rows;
use datafusion::common::Result;
use datafusion::logical_expr::expr::SetQuantifier;
use datafusion::logical_expr::{Distinct, Expr, JoinType, Limit, LogicalPlan, Operator, lit};

use super::comparison::Comparison;
use super::matching::{Matching, selected};
use super::shape::{filter, is_row_by_row, join, project};
use super::{Unnester, scope};

/// The predicate in front of a subquery.
#[derive(Debug, Clone)]
pub(super) struct Quantified {
    pub(super) test: Test,
    pub(super) negated: bool,
    pub(super) subquery: LogicalPlan,
}

#[derive(Debug, Clone)]
pub(super) enum Test {
    Exists,
    /// The expressions of a row, the operator, ANY or ALL.
    Compare(Vec<Expr>, Operator, SetQuantifier),
}

impl Quantified {
    /// Parses the expression, perhaps below NOT.
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

    /// Rewrites the expressions that are compared with the subquery.
    pub(super) fn extract_columns(
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
    /// The rows of `current` for which the conjunct is true. `outer` has the columns that the
    /// subquery refers to.
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
            let matching = self.matching(&subquery, outer, &[])?;
            let kind = if conjunct.negated { JoinType::LeftAnti } else { JoinType::LeftSemi };
            return join(current, matching.plan, kind, &matching.pairs, matching.condition);
        };
        let subquery = row_values(&conjunct.subquery)?;
        let matching = self.matching(&subquery, outer, &selected(&subquery))?;
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
}

/// The subquery without what does not affect whether it has a row; `None` if it always has one.
pub(super) fn without_duplicates(subquery: &LogicalPlan) -> Option<LogicalPlan> {
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

/// A subquery whose only column is a row, as one that selects the columns of the row.
pub(super) fn row_values(subquery: &LogicalPlan) -> Result<LogicalPlan> {
    if let LogicalPlan::Projection(projection) = subquery
        && let [expr] = projection.expr.as_slice()
        && let Some(columns) = rows::row(expr)
    {
        return project(columns.to_vec(), projection.input.as_ref().clone());
    }
    Ok(subquery.clone())
}

/// True if DataFusion may handle the conjunct: its subquery is uncorrelated, and the expression
/// compared with it contains a column.
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
