//! The comparison of outer expressions with the select list of a subquery.

use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, JoinType, LogicalPlan, Operator, binary_expr, lit};

use super::matching::{Matching, may_be_null};
use super::shape::{Pair, join};

/// The comparison of the expressions of an outer row with the select list of a subquery.
pub(super) struct Comparison {
    pub(super) columns: Vec<Expr>,
    pub(super) operator: Operator,
    values: Vec<Expr>,
    pub(super) may_be_null: bool,
}

impl Comparison {
    pub(super) fn new(
        columns: Vec<Expr>,
        operator: Operator,
        matching: &Matching,
        current: &LogicalPlan,
    ) -> Result<Self> {
        let values = matching.values.clone();
        if columns.len() != values.len() {
            return plan_err!(
                "cannot compare {} columns with the {} of a subquery",
                columns.len(),
                values.len()
            );
        }
        let may_be_null = columns.iter().any(|x| may_be_null(x, current.schema()))
            || values.iter().any(|q| may_be_null(q, matching.plan.schema()));
        Ok(Self { columns, operator, values, may_be_null })
    }

    /// The comparison as a condition over a pair of rows.
    pub(super) fn holds(&self) -> Expr {
        let pairs = self.columns.iter().zip(&self.values);
        let all = pairs.map(|(x, q)| binary_expr(x.clone(), self.operator, q.clone()));
        conjunction(all).unwrap_or(lit(true))
    }

    /// The equalities that can be join keys: their inner side is a column.
    pub(super) fn pairs(&self, matching: &Matching) -> Vec<Pair> {
        self.sides(matching).filter_map(|(_, pair)| pair).collect()
    }

    /// The other equalities.
    pub(super) fn unpaired(&self, matching: &Matching) -> Vec<Expr> {
        let sides = self.sides(matching);
        sides.filter(|(_, pair)| pair.is_none()).map(|(equal, _)| equal).collect()
    }

    fn sides<'a>(
        &'a self,
        matching: &'a Matching,
    ) -> impl Iterator<Item = (Expr, Option<Pair>)> + 'a {
        self.columns.iter().zip(&self.values).map(move |(x, q)| {
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

    pub(super) fn join(
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
