//! Applies the ORDER BY of a subquery to the aggregates over it: `string_agg(s, ',') FROM (SELECT s
//! ... ORDER BY i)`.
//!
//! DataFusion 55.2 drops an ORDER BY below an aggregate, as the SQL standard allows. PostgreSQL and
//! DuckDB keep it, and queries rely on it. The rule adds the order to order-sensitive aggregates
//! that have none of their own.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, Result};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    Aggregate, Expr, Filter, Limit, LogicalPlan, Projection, SortExpr, SubqueryAlias,
};
use datafusion::optimizer::AnalyzerRule;

use super::expressions::{transform_nodes, transform_parts};

/// Order-sensitive aggregates: the result depends on the order of the input rows.
pub(crate) const ORDERED: [&str; 5] =
    ["array_agg", "string_agg", "first_value", "last_value", "nth_value"];

/// The prefix of the names of sort keys that are passed up.
const PREFIX: &str = "__order_";

/// The analyzer rule; see the [module](self).
#[derive(Debug)]
pub(super) struct KeptOrder;

impl AnalyzerRule for KeptOrder {
    fn name(&self) -> &'static str {
        "kept_order"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let changed = transform_nodes(plan, &mut |node| match node {
            LogicalPlan::Aggregate(aggregate) if aggregate.aggr_expr.iter().any(shows_order) => {
                ordered(aggregate)
            }
            other => Ok(Transformed::no(other)),
        })?;
        Ok(changed.data)
    }
}

/// True for an order-sensitive aggregate without an order.
fn shows_order(expr: &Expr) -> bool {
    match expr {
        Expr::Alias(alias) => shows_order(&alias.expr),
        Expr::AggregateFunction(aggregate) => {
            aggregate.params.order_by.is_empty()
                && !aggregate.params.distinct
                && ORDERED.contains(&aggregate.func.name())
        }
        _ => false,
    }
}

fn ordered(node: Aggregate) -> Result<Transformed<LogicalPlan>> {
    let Some((input, order)) = handed_up(&node.input)? else {
        return Ok(Transformed::no(LogicalPlan::Aggregate(node)));
    };
    let plan = LogicalPlan::Aggregate(node.clone());
    let names = NamePreserver::new(&plan);
    let mut aggregates = Vec::with_capacity(node.aggr_expr.len());
    for expr in node.aggr_expr {
        if !shows_order(&expr) {
            aggregates.push(expr);
            continue;
        }
        let name = names.save(&expr);
        let with_order = transform_parts(expr, &mut |expr| match expr {
            Expr::AggregateFunction(mut aggregate) => {
                aggregate.params.order_by.clone_from(&order);
                Ok(Transformed::yes(Expr::AggregateFunction(aggregate)))
            }
            other => Ok(Transformed::no(other)),
        })?;
        aggregates.push(name.restore(with_order.data));
    }
    let node = Aggregate::try_new(Arc::new(input), node.group_expr, aggregates)?;
    Ok(Transformed::yes(LogicalPlan::Aggregate(node)))
}

/// Adds the sort keys of the plan's rows as columns; returns the plan and these keys.
fn handed_up(plan: &LogicalPlan) -> Result<Option<(LogicalPlan, Vec<SortExpr>)>> {
    Ok(match plan {
        LogicalPlan::Sort(sort) => Some((plan.clone(), sort.expr.clone())),
        LogicalPlan::Limit(limit) => handed_up(&limit.input)?.map(|(input, order)| {
            let limit = Limit { input: Arc::new(input), ..limit.clone() };
            (LogicalPlan::Limit(limit), order)
        }),
        LogicalPlan::Filter(filter) => match handed_up(&filter.input)? {
            Some((input, order)) => {
                let filter = Filter::try_new(filter.predicate.clone(), Arc::new(input))?;
                Some((LogicalPlan::Filter(filter), order))
            }
            None => None,
        },
        LogicalPlan::SubqueryAlias(alias) => match handed_up(&alias.input)? {
            Some((input, order)) => {
                let below = Arc::clone(input.schema());
                let alias = SubqueryAlias::try_new(Arc::new(input), alias.alias.clone())?;
                let order = renamed(order, &below, &alias.schema)?;
                order.map(|order| (LogicalPlan::SubqueryAlias(alias), order))
            }
            None => None,
        },
        LogicalPlan::Projection(projection) => match handed_up(&projection.input)? {
            Some((input, order)) if order.iter().all(|by| !by.expr.is_volatile()) => {
                let mut exprs = projection.expr.clone();
                let mut keys = Vec::with_capacity(order.len());
                for (n, by) in order.into_iter().enumerate() {
                    let name = format!("{PREFIX}{n}");
                    exprs.push(by.expr.clone().alias(&name));
                    keys.push(by.with_expr(Expr::Column(Column::new_unqualified(name))));
                }
                let plan = Projection::try_new(exprs, Arc::new(input)).ok();
                plan.map(|plan| (LogicalPlan::Projection(plan), keys))
            }
            _ => None,
        },
        _ => None,
    })
}

/// The keys with the column names that an alias gives them.
fn renamed(
    order: Vec<SortExpr>,
    below: &DFSchema,
    above: &DFSchema,
) -> Result<Option<Vec<SortExpr>>> {
    let mut keys = Vec::with_capacity(order.len());
    for by in order {
        let mut is_found = true;
        let expr = by.expr.clone().transform(|expr| match expr {
            Expr::Column(column) => match below.maybe_index_of_column(&column) {
                Some(at) => {
                    Ok(Transformed::yes(Expr::Column(Column::from(above.qualified_field(at)))))
                }
                None => {
                    is_found = false;
                    Ok(Transformed::no(Expr::Column(column)))
                }
            },
            other => Ok(Transformed::no(other)),
        })?;
        if !is_found {
            return Ok(None);
        }
        keys.push(by.with_expr(expr.data));
    }
    Ok(Some(keys))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::util::pretty::pretty_format_batches;
    use datafusion::prelude::SessionContext;

    #[tokio::test]
    async fn keeping_the_order_is_still_needed() {
        let plain = SessionContext::new();
        let sql = "SELECT string_agg(s, '') FROM (SELECT s FROM (VALUES (1, 'a'), (2, 'b')) t(i, s) \
                   ORDER BY i DESC) q";
        let rows = plain.sql(sql).await.expect("planned").collect().await.expect("rows");
        let text = pretty_format_batches(&rows).expect("text").to_string();
        assert!(text.contains(" ab "), "DataFusion keeps it by itself: {text}");
    }
}
