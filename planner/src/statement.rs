//! Limits on the shape of a parsed statement. The engine checks them between parsing and planning.
//!
//! The check uses sqlparser's visitor, which reaches every expression the grammar allows and moves
//! its stack to the heap where needed; it stops at the first limit exceeded. The parser bounds
//! nested queries and parentheses, so what remains is what the parser builds in a loop: chains of
//! operators, set operations, joins and common table expressions.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Expr, Query, Select, SetExpr, TableFactor, UnaryOperator, Visitor,
};

use crate::error::{Error, Result};
use crate::syntax::visit;
use crate::text::{Limit, StatementLimits};

/// Refuses a statement with expressions that are too deep or too many, or with too many set
/// operations, joins or common table expressions.
pub fn check_statement(statement: &Statement, limits: &StatementLimits) -> Result<()> {
    visit(statement, &mut Walk { limits, depth: 0, exprs: 0, branches: 0, joins: 0, ctes: 0 })
}

struct Walk<'l> {
    limits: &'l StatementLimits,
    /// The number of expressions around the current one.
    depth: usize,
    exprs: usize,
    branches: usize,
    joins: usize,
    ctes: usize,
}

impl Walk<'_> {
    fn query(&mut self, query: &Query) -> Result<()> {
        if let Some(with) = &query.with {
            self.ctes += with.cte_tables.len();
            Limit::Ctes.check(self.ctes, self.limits)?;
        }
        // Counts a chain of set operations before the visitor descends into it.
        let mut sets = vec![query.body.as_ref()];
        while let Some(set) = sets.pop() {
            if let SetExpr::SetOperation { left, right, .. } = set {
                self.branches += 1;
                Limit::Branches.check(self.branches, self.limits)?;
                sets.extend([left.as_ref(), right.as_ref()]);
            }
        }
        Ok(())
    }

    fn expr(&mut self, expr: &Expr) -> Result<()> {
        self.depth += 1;
        Limit::Depth.check(self.depth, self.limits)?;
        if !is_literal(expr) {
            self.exprs += 1;
            Limit::Exprs.check(self.exprs, self.limits)?;
        }
        Ok(())
    }
}

/// Literals cost the planner next to nothing, and lists have hundreds of thousands of them.
fn is_literal(expr: &Expr) -> bool {
    match expr {
        Expr::Value(_) | Expr::TypedString(_) | Expr::Interval(_) => true,
        Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, expr } => {
            matches!(expr.as_ref(), Expr::Value(_))
        }
        _ => false,
    }
}

fn step(result: Result<()>) -> ControlFlow<Error> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }
}

impl Visitor for Walk<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Error> {
        step(self.query(query))
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Error> {
        let joins = select.from.iter().map(|from| from.joins.len()).sum::<usize>();
        // A comma in FROM is a cross join.
        self.joins += joins + select.from.len().saturating_sub(1);
        step(Limit::Joins.check(self.joins, self.limits))
    }

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<Error> {
        if let TableFactor::NestedJoin { table_with_joins, .. } = table {
            self.joins += table_with_joins.joins.len();
        }
        step(Limit::Joins.check(self.joins, self.limits))
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Error> {
        step(self.expr(expr))
    }

    fn post_visit_expr(&mut self, _expr: &Expr) -> ControlFlow<Error> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}
