//! Decorrelates subqueries: turns subqueries and lateral joins into joins, before DataFusion's own
//! rules see them.
//!
//! DataFusion 55.2 decorrelates by moving filters out of the subquery. It refuses whatever is more
//! than a filter (LIMIT, UNION, inequalities below an aggregate, two levels, EXISTS as a value) and
//! returns wrong rows for some of the rest: NOT IN loses nulls if it is correlated or below OR, and
//! EXISTS of an aggregate without GROUP BY loses the rows without a match.
//!
//! The general algorithm is that of Neumann and Kemper ("Unnesting Arbitrary Queries", 2015;
//! "Improving Unnesting of Complex Queries", 2025). A correlated subquery is computed once for all
//! values of the outer columns that it refers to: its *domain* ([`domain`]). The domain is pushed
//! down through the operators of the subquery ([`push_down`]) until there are no outer references
//! left, and the result is joined to the outer plan on the columns of the domain. If a filter of
//! the subquery equates an outer column with an inner expression, that expression replaces the
//! domain, which is then not needed.
//!
//! ```text
//!  node          walks the plan bottom-up, so that inner subqueries become joins before outer ones
//!   extract      replaces the subqueries of one operator by joins below it
//!    scalar      a value, with an error for more than one row
//!    quantified  EXISTS, IN, ANY and ALL: semi and anti joins in a WHERE
//!    truth       and three-valued marks elsewhere
//!   condition    subqueries in the condition of a join
//!   lateral      a join whose right side refers to its left side
//! ```
//!
//! DataFusion's rules still handle the uncorrelated subqueries that they get right: scalar ones (in
//! one process), and EXISTS, IN and NOT IN as conjuncts of a filter.

use std::cell::Cell;
use std::sync::Arc;

use bigslice_functions::nullable;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Subquery};
use datafusion::optimizer::AnalyzerRule;

use super::expressions::with_own_schema;

mod comparison;
mod condition;
mod domain;
mod extract;
mod grouped;
mod joins;
mod lateral;
mod limit;
mod matching;
mod push_down;
mod quantified;
mod scalar;
mod scope;
mod shape;
mod truth;

#[cfg(test)]
mod tests;

/// The analyzer rule that turns subqueries into joins. It runs before types are coerced, so that
/// the comparisons it adds are coerced like the user's.
#[derive(Debug, Default)]
pub(crate) struct UnnestSubqueries;

impl AnalyzerRule for UnnestSubqueries {
    fn name(&self) -> &'static str {
        "unnest_subqueries"
    }

    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        if !scope::has_subqueries(&plan)? {
            return Ok(plan);
        }
        let unnester = Unnester {
            names: Cell::new(scope::names_taken(&plan)?),
            executes_scalars: config.optimizer.enable_physical_uncorrelated_scalar_subquery,
        };
        let plan = unnester.plan(plan)?;
        match scope::outer_columns(&plan)?.first() {
            None => Ok(plan),
            Some(reference) => plan_err!(
                "the column {} of an outer query cannot be used in this part of a subquery",
                reference.column.flat_name()
            ),
        }
    }
}

/// The state of the rule for one plan.
pub(super) struct Unnester {
    /// The number of the next generated column or relation name.
    names: Cell<usize>,
    /// True if DataFusion executes uncorrelated scalar subqueries separately, wherever they are. On
    /// machines it cannot; see `OneRowSubqueries`.
    executes_scalars: bool,
}

impl Unnester {
    /// A name that is unique in the plan.
    fn fresh(&self) -> String {
        let number = self.names.get();
        self.names.set(number + 1);
        format!("{}{number}", scope::PREFIX)
    }

    /// Replaces the subqueries of the plan by joins. The schema stays the same.
    fn plan(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        plan.transform_up(|node| self.node(node).map(Transformed::yes)).map(|done| done.data)
    }

    /// Rewrites one operator; its inputs are rewritten already.
    fn node(&self, node: LogicalPlan) -> Result<LogicalPlan> {
        let node = node.map_expressions(|expr| expr.transform_up(|expr| self.inner(expr)))?.data;
        // A subquery of this node or below may have become nullable.
        let node = with_own_schema(node)?;
        match node {
            LogicalPlan::Filter(filter) => self.extract_filter(filter),
            LogicalPlan::Projection(projection) => self.extract_projection(projection),
            LogicalPlan::Aggregate(aggregate) => self.extract_aggregate(aggregate),
            LogicalPlan::Window(window) => self.extract_window(window),
            LogicalPlan::Sort(sort) => self.extract_sort(sort),
            LogicalPlan::Distinct(distinct) => self.extract_distinct(distinct),
            LogicalPlan::Join(join) => self.join_node(join),
            other => Ok(other),
        }
    }

    /// Rewrites the plan of the expression's subquery.
    fn inner(&self, expr: Expr) -> Result<Transformed<Expr>> {
        Ok(Transformed::yes(match expr {
            Expr::ScalarSubquery(subquery) => {
                Expr::ScalarSubquery(null_of_nothing(self.subquery(subquery)?)?)
            }
            Expr::Exists(mut exists) => {
                exists.subquery = self.subquery(exists.subquery)?;
                Expr::Exists(exists)
            }
            Expr::InSubquery(mut within) => {
                within.subquery = self.subquery(within.subquery)?;
                Expr::InSubquery(within)
            }
            Expr::SetComparison(mut comparison) => {
                comparison.subquery = self.subquery(comparison.subquery)?;
                Expr::SetComparison(comparison)
            }
            other => return Ok(Transformed::no(other)),
        }))
    }

    fn subquery(&self, subquery: Subquery) -> Result<Subquery> {
        let plan = self.plan(Arc::unwrap_or_clone(subquery.subquery))?;
        scope::subquery(plan, subquery.spans)
    }
}

/// Makes the value of the scalar subquery nullable, because it is null for no rows. (A correlated
/// one becomes the right side of a left join, which does so.)
fn null_of_nothing(subquery: Subquery) -> Result<Subquery> {
    let schema = subquery.subquery.schema();
    let is_so = schema.field(0).is_nullable() || has_a_row(&subquery.subquery);
    if is_so || !subquery.outer_ref_columns.is_empty() {
        return Ok(subquery);
    }
    let is_constant = match subquery.subquery.as_ref() {
        LogicalPlan::Projection(projection) => !projection.expr[0].any_column_refs(),
        _ => false,
    };
    let columns = schema.columns().into_iter().map(|column| {
        let name = column.name.clone();
        let value = nullable(is_constant).call(vec![Expr::Column(column)]);
        value.alias(name)
    });
    let columns: Vec<_> = columns.collect();
    let plan = LogicalPlanBuilder::from(Arc::unwrap_or_clone(subquery.subquery));
    Ok(Subquery { subquery: Arc::new(plan.project(columns)?.build()?), ..subquery })
}

/// True if the plan always returns a row, whatever the tables contain.
fn has_a_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => has_a_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => has_a_row(&alias.input),
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(empty) => empty.produce_one_row,
        _ => false,
    }
}

/// True if `check` holds for an expression of the plan, of its inputs or of its subqueries.
fn any_expression(plan: &LogicalPlan, check: impl Fn(&Expr) -> bool) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            found = found || expr.exists(|expr| Ok(check(expr)))?;
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })
    })?;
    Ok(found)
}
