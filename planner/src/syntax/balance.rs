//! Flattens long chains of `AND` and of `OR`: the parser nests each operator in the next one, so
//! that a thousand of them are a tree of a thousand levels. AND and OR are associative, so grouping
//! does not matter.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Value, VisitorMut};

use super::build;
use crate::error::Error;

/// Longer chains are regrouped. Shorter ones stay as users see them in plans.
const CHAIN_MAX: usize = 32;

/// Regroups chains, top-down.
pub(super) struct Balance;

impl VisitorMut for Balance {
    type Break = Error;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        if let Expr::BinaryOp { op, .. } = expr
            && matches!(op, BinaryOperator::And | BinaryOperator::Or)
        {
            let op = op.clone();
            if length(expr, &op) > CHAIN_MAX {
                let whole = std::mem::replace(expr, Expr::Value(Value::Null.into()));
                *expr = grouped(parts(whole, &op), &op);
            }
        }
        ControlFlow::Continue(())
    }
}

/// The number of operators in a row.
fn length(expr: &Expr, op: &BinaryOperator) -> usize {
    let mut length = 0;
    let mut expr = expr;
    while let Expr::BinaryOp { left, op: this, .. } = expr
        && this == op
    {
        length += 1;
        expr = left;
    }
    length
}

/// The operands, in order.
fn parts(expr: Expr, op: &BinaryOperator) -> Vec<Expr> {
    let mut parts = Vec::new();
    let mut rest = expr;
    loop {
        match rest {
            Expr::BinaryOp { left, op: this, right } if this == *op => {
                parts.push(*right);
                rest = *left;
            }
            first => {
                parts.push(first);
                break;
            }
        }
    }
    parts.reverse();
    parts
}

fn grouped(mut parts: Vec<Expr>, op: &BinaryOperator) -> Expr {
    while parts.len() > 1 {
        let mut pairs = Vec::with_capacity(parts.len().div_ceil(2));
        let mut parts_left = parts.into_iter();
        while let Some(left) = parts_left.next() {
            pairs.push(match parts_left.next() {
                Some(right) => build::binary(left, op.clone(), right),
                None => left,
            });
        }
        parts = pairs;
    }
    parts.pop().unwrap_or_else(|| Expr::Value(Value::Null.into()))
}
