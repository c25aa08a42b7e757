//! The call that hides an expression from DataFusion's rules.

use bigslice_functions::same_value;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::ScalarFunction;

/// `same_value(expr)`.
pub(super) fn shielded(expr: Expr) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(same_value(), vec![expr]))
}

/// True if the expression is hidden already.
pub(super) fn is_shielded(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if call.func.name() == same_value().name())
}
