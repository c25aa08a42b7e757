//! EXISTS, IN, ANY and ALL as three-valued expressions.
//!
//! Mark joins say whether a row of the subquery matches. If the rows match on keys alone, the
//! counts of rows and of nulls per group tell false from unknown.

use std::sync::Arc;

use datafusion::common::{Column, Result};
use datafusion::functions_aggregate::expr_fn::{count, max, min};
use datafusion::logical_expr::expr::SetQuantifier;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    Aggregate, Expr, ExprFunctionExt, JoinType, Limit, LogicalPlan, Operator, SubqueryAlias,
    binary_expr, lit, when,
};

use super::comparison::Comparison;
use super::domain::type_of;
use super::matching::{Matching, selected};
use super::quantified::{Quantified, Test, row_values, without_duplicates};
use super::shape::{Pair, all, cross, join, project, renamed, unknown};
use super::{Unnester, scope};

impl Unnester {
    /// Adds joins to `current`; returns an expression over its columns for the value.
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
                if scope::is_nondeterministic(&subquery)? {
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
        let matching = self.matching(&subquery, outer, &[])?;
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

    /// Adds the expressions as columns of `current`: each is used more than once.
    pub(super) fn as_columns(
        &self,
        exprs: Vec<Expr>,
        current: &mut LogicalPlan,
    ) -> Result<Vec<Expr>> {
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

    /// Adds a column to `current` that is true if a row matches, with `condition` in place of that
    /// of `matching`.
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
        let matching = self.matching(subquery, outer, &selected(subquery))?;
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

    /// Groups by the inner sides of pairs, with renamed aggregates.
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

    /// Joins each row to the aggregates of its matching rows.
    fn facts(
        &self,
        matching: &Matching,
        aggregates: Vec<Expr>,
        current: &mut LogicalPlan,
    ) -> Result<Vec<Expr>> {
        let by: Vec<Column> = matching.pairs.iter().map(|pair| pair.inner.clone()).collect();
        let (groups, columns) = self.groups(matching.plan.clone(), by, aggregates)?;
        // An earlier mark has columns of these names on its right side, which its result does not
        // have.
        *current = join(current.clone(), groups, JoinType::Left, &matching.pairs, Vec::new())?;
        Ok(columns)
    }

    /// The value of IN: true if found, else unknown if either side has a null and there is any row.
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

    /// The value of an inequality: the minimum and the maximum decide.
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

    /// Computes the value with one execution of a nondeterministic subquery: counts the rows for
    /// which the comparison is decided, and those for which it is unknown.
    fn compared_once(
        &self,
        columns: Vec<Expr>,
        operator: Operator,
        quantifier: SetQuantifier,
        subquery: &LogicalPlan,
        current: &mut LogicalPlan,
    ) -> Result<Expr> {
        // The compared columns become references of the subquery to the current plan.
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
