//! Turns computed sort keys and window partition keys into columns of a projection below.
//!
//! DataFusion 55.2 does not recognize that rows are sorted by `CASE .. END > 2` or by a comparison
//! with a subquery: it derives the range of values of each part, and one part without an answer
//! fails the whole derivation. A plan that merges sorted partitions is then refused. Also, an
//! aggregate over such an order has the order in the names of its state columns, where a subquery
//! has one name before it is computed and another after.

use std::collections::HashSet;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, LogicalPlanBuilder, Projection};
use datafusion::optimizer::AnalyzerRule;

use super::expressions::{map_named, transform_nodes, transform_parts};
use super::simplify::compares;

/// The analyzer rule; see the [module](self). It runs after types are coerced.
#[derive(Debug, Default)]
pub(crate) struct OrderColumns;

impl AnalyzerRule for OrderColumns {
    fn name(&self) -> &'static str {
        "order_columns"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(transform_nodes(plan, &mut with_columns)?.data)
    }
}

fn with_columns(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    if !matches!(plan, LogicalPlan::Sort(_) | LogicalPlan::Window(_) | LogicalPlan::Aggregate(_)) {
        return Ok(Transformed::no(plan));
    }
    let [input] = plan.inputs()[..] else { return Ok(Transformed::no(plan)) };
    let mut pulled = Pulled::new(input);
    let below: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
    let changed = match plan {
        LogicalPlan::Sort(mut sort) => {
            for by in &mut sort.expr {
                pulled.pull(&mut by.expr)?;
            }
            LogicalPlan::Sort(sort)
        }
        plan => {
            map_named(plan, &mut |expr| transform_parts(expr, &mut |part| pulled.pull_from(part)))?
                .data
        }
    };
    if pulled.exprs.is_empty() {
        return Ok(Transformed::no(changed));
    }
    let keeps_columns = !matches!(changed, LogicalPlan::Aggregate(_));
    let width = below.len();
    let [input] = changed.inputs()[..] else { return Ok(Transformed::no(changed)) };
    let mut exprs = below;
    exprs.extend(pulled.exprs);
    let input = Projection::try_new(exprs, input.clone().into())?;
    let changed = changed
        .with_new_exprs(changed.expressions(), vec![LogicalPlan::Projection(input)])?
        .recompute_schema()?;
    if !keeps_columns {
        return Ok(Transformed::yes(changed));
    }
    // The columns of the order are not columns of the result.
    let columns = changed.schema().columns();
    let added = width..width + pulled.names.len();
    let kept = columns.into_iter().enumerate().filter(|(at, _)| !added.contains(at));
    let kept: Vec<Expr> = kept.map(|(_, column)| Expr::Column(column)).collect();
    Ok(Transformed::yes(LogicalPlanBuilder::from(changed).project(kept)?.build()?))
}

/// The expressions that become columns.
struct Pulled {
    exprs: Vec<Expr>,
    names: HashSet<String>,
    taken: HashSet<String>,
}

impl Pulled {
    fn new(input: &LogicalPlan) -> Self {
        let taken = input.schema().fields().iter().map(|field| field.name().clone()).collect();
        Self { exprs: Vec::new(), names: HashSet::new(), taken }
    }

    /// Replaces an expression by a column, if needed.
    fn pull(&mut self, expr: &mut Expr) -> Result<bool> {
        if !must_be_column(expr)? {
            return Ok(false);
        }
        let mut names = (1..).map(|n| format!("__order_{n}"));
        let name = names
            .find(|name| !self.taken.contains(name) && !self.names.contains(name))
            .unwrap_or_default();
        let column = Expr::Column(Column::new_unqualified(&name));
        self.exprs.push(std::mem::replace(expr, column).alias(&name));
        self.names.insert(name);
        Ok(true)
    }

    fn pull_from(&mut self, mut expr: Expr) -> Result<Transformed<Expr>> {
        let mut changed = false;
        let order = match &mut expr {
            Expr::WindowFunction(function) => {
                for by in &mut function.params.partition_by {
                    changed |= self.pull(by)?;
                }
                &mut function.params.order_by
            }
            Expr::AggregateFunction(function) => {
                let params = &mut function.params;
                for by in &mut params.order_by {
                    let key = by.expr.clone();
                    if self.pull(&mut by.expr)? {
                        changed = true;
                        // With DISTINCT, the argument must stay equal to the key.
                        for arg in params.args.iter_mut().filter(|arg| **arg == key) {
                            arg.clone_from(&by.expr);
                        }
                    }
                }
                return Ok(Transformed::new_transformed(expr, changed));
            }
            _ => return Ok(Transformed::no(expr)),
        };
        for by in order {
            changed |= self.pull(&mut by.expr)?;
        }
        Ok(Transformed::new_transformed(expr, changed))
    }
}

/// True if DataFusion would not recognize rows as sorted by the expression.
fn must_be_column(expr: &Expr) -> Result<bool> {
    expr.exists(|part| {
        Ok(match part {
            Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) => true,
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                let known = |side: &Expr| matches!(side, Expr::Column(_) | Expr::Literal(..));
                (compares(*op) || op.is_logic_operator()) && !(known(left) && known(right))
            }
            _ => false,
        })
    })
}
