//! Subqueries and lateral joins become joins, before DataFusion's own rules see them.
//!
//! DataFusion 55.2 decorrelates by moving filters out of the subquery. That refuses whatever is more than a
//! filter (LIMIT, UNION, inequalities below an aggregate, two levels, EXISTS as a value) and gives wrong rows
//! for some of the rest: NOT IN forgets nulls as soon as it is correlated or stands below OR, and
//! EXISTS of an aggregate without GROUP BY loses the rows that match nothing.
//!
//! The general way is that of Neumann and Kemper ("Unnesting Arbitrary Queries", 2015; "Improving Unnesting
//! of Complex Queries", 2025). A subquery that refers to columns of the plan around it is computed once for
//! all values that these columns have: its *domain* ([`domain`]). The domain moves down through the operators
//! of the subquery ([`pull`]) until nothing refers outwards, and the result is joined to the outer plan by the
//! columns of the domain. Where a filter of the subquery says that an outer column equals an inner expression,
//! that expression takes the place of the domain, which is then not needed.
//!
//! ```text
//!  node          walks the plan from its leaves, so that inner subqueries are joins before outer ones are met
//!   lift         takes subqueries out of one operator's expressions: joins below it give their values
//!    scalar      a value, with an error for more than one row
//!    quantified  EXISTS, IN, ANY and ALL: semi and anti joins in a WHERE
//!    truth       and three-valued marks elsewhere
//!   condition    subqueries in the condition of a join
//!   lateral      a join whose right side refers to its left side
//! ```
//!
//! What stays for DataFusion's rules: subqueries that refer to nothing outside where these are right, which is
//! scalar ones (in one process) and EXISTS, IN and NOT IN as a conjunct of a filter.

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
mod grouped;
mod joins;
mod lateral;
mod lift;
mod limit;
mod matching;
mod pull;
mod quantified;
mod scalar;
mod scope;
mod shape;
mod truth;

#[cfg(test)]
mod tests;

/// The analyzer rule that turns subqueries into joins. It runs before types are coerced, because it makes
/// comparisons of its own that are to be coerced like those of the user.
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
            scalars_run_alone: config.optimizer.enable_physical_uncorrelated_scalar_subquery,
        };
        let plan = unnester.plan(plan)?;
        match scope::outer_columns(&plan)?.first() {
            None => Ok(plan),
            Some(reference) => plan_err!(
                "the column {} of an outer query cannot be used at this place of a subquery",
                reference.column.flat_name()
            ),
        }
    }
}

/// What the rule needs to know while it walks one plan.
pub(super) struct Unnester {
    /// The number of the next column or relation that the rule makes up.
    names: Cell<usize>,
    /// DataFusion runs a scalar subquery that refers to nothing outside by itself, wherever it stands. It
    /// cannot on machines, see `OneRowSubqueries`.
    scalars_run_alone: bool,
}

impl Unnester {
    /// A name that nothing else in the plan has.
    fn fresh(&self) -> String {
        let number = self.names.get();
        self.names.set(number + 1);
        format!("{}{number}", scope::PREFIX)
    }

    /// The plan with joins for its subqueries. Its schema stays.
    fn plan(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        plan.transform_up(|node| self.node(node).map(Transformed::yes)).map(|done| done.data)
    }

    /// One operator, whose inputs are done.
    fn node(&self, node: LogicalPlan) -> Result<LogicalPlan> {
        let node = node.map_expressions(|expr| expr.transform_up(|expr| self.inner(expr)))?.data;
        // A subquery, of this node or below, may have become one that can be null.
        let node = with_own_schema(node)?;
        match node {
            LogicalPlan::Filter(filter) => self.lift_filter(filter),
            LogicalPlan::Projection(projection) => self.lift_projection(projection),
            LogicalPlan::Aggregate(aggregate) => self.lift_aggregate(aggregate),
            LogicalPlan::Window(window) => self.lift_window(window),
            LogicalPlan::Sort(sort) => self.lift_sort(sort),
            LogicalPlan::Distinct(distinct) => self.lift_distinct(distinct),
            LogicalPlan::Join(join) => self.join_node(join),
            other => Ok(other),
        }
    }

    /// The expression, with the plan of its subquery done.
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

/// The scalar subquery, with a value that may be null, as that of no rows is. (One that refers outwards becomes the
/// right side of a left join, which makes it so.)
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

/// Whether the plan has a row, whatever there is in the tables.
fn has_a_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => has_a_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => has_a_row(&alias.input),
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(empty) => empty.produce_one_row,
        _ => false,
    }
}

/// Whether `check` holds for an expression of the plan, of its inputs or of its subqueries.
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
