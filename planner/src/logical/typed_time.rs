//! Our own cast to a type of times.

use bigslice_functions::{OutOfRange, cast_time};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::ScalarFunction;

/// The cast of ours of `expr` to `to`.
pub(super) fn as_time(expr: Expr, to: &DataType, out_of_range: OutOfRange) -> Expr {
    let null = ScalarValue::try_new_null(to).unwrap_or(ScalarValue::Null);
    let args = vec![expr, Expr::Literal(null, None)];
    Expr::ScalarFunction(ScalarFunction::new_udf(cast_time(out_of_range), args))
}
