//! Operators and EXTRACT, planned as functions of ours.
//!
//! DataFusion 55.2 plans EXTRACT as its own `date_part`, whatever function of that name the session has, and refuses to
//! multiply an interval.

use bigslice_functions::{Scale, date_part, scale_interval};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable};
use datafusion::sql::sqlparser::ast::BinaryOperator;

/// The planner of these, ahead of DataFusion's.
#[derive(Debug)]
pub(crate) struct Operators;

impl ExprPlanner for Operators {
    fn plan_extract(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        let call = ScalarFunction::new_udf(date_part(), args);
        Ok(PlannerResult::Planned(Expr::ScalarFunction(call)))
    }

    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        let scale = match expr.op {
            BinaryOperator::Multiply => Scale::Times,
            BinaryOperator::Divide => Scale::Over,
            _ => return Ok(PlannerResult::Original(expr)),
        };
        let (left, right) = (expr.left.get_type(schema), expr.right.get_type(schema));
        let (Ok(left), Ok(right)) = (left, right) else { return Ok(PlannerResult::Original(expr)) };
        let args = match (left, right) {
            (DataType::Interval(_), of) if of.is_numeric() => vec![expr.left, expr.right],
            (of, DataType::Interval(_)) if of.is_numeric() && scale == Scale::Times => {
                vec![expr.right, expr.left]
            }
            _ => return Ok(PlannerResult::Original(expr)),
        };
        let call = ScalarFunction::new_udf(scale_interval(scale), args);
        Ok(PlannerResult::Planned(Expr::ScalarFunction(call)))
    }
}
