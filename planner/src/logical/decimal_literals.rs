//! Reads number literals with a decimal point as decimals where they meet decimals.
//!
//! DataFusion 55.2 reads every such literal as a double, and a decimal that meets it becomes a
//! double, too: `price * 0.15` and `price - 0.1 = 0.2` lose the exact digits that the decimal
//! column is for. Where the other operand of `+`, `-`, `*`, `%` or of a comparison is a decimal, or
//! the literal is cast to one, the rule takes its digits as written. A quotient by a double stays a
//! double, which has more digits.
//!
//! The number of digits of `round` becomes a literal of the type that the function takes: the type
//! of `round(price, 1)` depends on whether it is a literal, which a cast around it is only after
//! constants are folded, too late for what is compared with it.

use datafusion::arrow::datatypes::DECIMAL128_MAX_PRECISION;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{
    Between, BinaryExpr, Cast, Expr, ExprSchemable, LogicalPlan, Operator, TryCast,
};
use datafusion::optimizer::AnalyzerRule;

use super::expressions::{rewrite, transform_parts};
use super::simplify::compares;

/// The analyzer rule; see the [module](self).
#[derive(Debug)]
pub(super) struct DecimalLiterals;

impl AnalyzerRule for DecimalLiterals {
    fn name(&self) -> &'static str {
        "decimal_literals"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite(plan, &|node| Ok(Transformed::no(node)), &|expr, schema| {
            transform_parts(expr, &mut |node| Ok(beside_decimals(node, schema)))
        })
    }
}

/// Rewrites one expression; its children are rewritten already.
fn beside_decimals(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let is_decimal = |expr: &Expr| expr.get_type(schema).is_ok_and(|kind| kind.is_decimal());
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if keeps_digits(op) => {
            let mut both = [left, right];
            let changed = match (is_decimal(&both[0]), is_decimal(&both[1])) {
                (true, false) => take(&mut both[1]),
                (false, true) => take(&mut both[0]),
                _ => false,
            };
            let [left, right] = both;
            mark(changed, Expr::BinaryExpr(BinaryExpr { left, op, right }))
        }
        Expr::Between(Between { expr, negated, mut low, mut high }) if is_decimal(&expr) => {
            let changed = take(&mut low) | take(&mut high);
            mark(changed, Expr::Between(Between { expr, negated, low, high }))
        }
        Expr::InList(InList { expr, mut list, negated }) if is_decimal(&expr) => {
            let changed = list.iter_mut().fold(false, |changed, item| take(item) | changed);
            mark(changed, Expr::InList(InList { expr, list, negated }))
        }
        Expr::Cast(Cast { mut expr, field }) if field.data_type().is_decimal() => {
            let changed = take(&mut expr);
            mark(changed, Expr::Cast(Cast { expr, field }))
        }
        Expr::TryCast(TryCast { mut expr, field }) if field.data_type().is_decimal() => {
            let changed = take(&mut expr);
            mark(changed, Expr::TryCast(TryCast { expr, field }))
        }
        Expr::ScalarFunction(mut call) if call.name() == "round" => {
            let digits = call.args.get_mut(1).and_then(|digits| match digits {
                Expr::Literal(ScalarValue::Int64(Some(n)), _) => {
                    i32::try_from(*n).ok().map(|n| *digits = Expr::Literal(n.into(), None))
                }
                _ => None,
            });
            mark(digits.is_some(), Expr::ScalarFunction(call))
        }
        other => Transformed::no(other),
    }
}

fn mark(changed: bool, expr: Expr) -> Transformed<Expr> {
    if changed { Transformed::yes(expr) } else { Transformed::no(expr) }
}

fn keeps_digits(op: Operator) -> bool {
    matches!(op, Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Modulo)
        || compares(op)
}

/// Turns the number into a decimal if it has few enough digits.
pub(super) fn take(expr: &mut Expr) -> bool {
    let decimal = match expr {
        Expr::Literal(ScalarValue::Float64(Some(number)), _) => exactly(*number),
        Expr::Negative(inner) => match inner.as_ref() {
            Expr::Literal(ScalarValue::Float64(Some(number)), _) => exactly(-*number),
            _ => None,
        },
        _ => None,
    };
    let Some(decimal) = decimal else { return false };
    *expr = Expr::Literal(decimal, None);
    true
}

/// The number with the digits as written: the fewest that identify the double.
fn exactly(number: f64) -> Option<ScalarValue> {
    // Very large or small numbers would be printed with more digits than were written.
    if !number.is_finite() || number != 0.0 && !(1e-15..1e17).contains(&number.abs()) {
        return None;
    }
    let text = number.abs().to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let n_digits = u8::try_from(whole.trim_start_matches('0').len() + fraction.len()).ok()?.max(1);
    if n_digits > DECIMAL128_MAX_PRECISION {
        return None;
    }
    let scale = i8::try_from(fraction.len()).ok()?;
    let digits = if number < 0.0 { -digits } else { digits };
    Some(ScalarValue::Decimal128(Some(digits), n_digits, scale))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::AsArray;
    use datafusion::arrow::datatypes::DataType;
    use datafusion::prelude::SessionContext;

    use super::*;

    #[test]
    fn numbers_keep_the_digits_that_they_are_written_with() {
        for (number, digits, n_digits, scale) in [
            (0.15, 15, 2, 2),
            (-0.1, -1, 1, 1),
            (1.005, 1005, 4, 3),
            (2.0, 2, 1, 0),
            (0.0, 0, 1, 0),
            (0.001, 1, 3, 3),
        ] {
            let expected = ScalarValue::Decimal128(Some(digits), n_digits, scale);
            assert_eq!(exactly(number), Some(expected), "{number}");
        }
        for number in [f64::NAN, f64::INFINITY, 1e300, 1e-300] {
            assert_eq!(exactly(number), None, "{number}");
        }
        let types = DataType::Decimal128(4, 3);
        assert_eq!(exactly(1.005).map(|value| value.data_type()), Some(types));
    }

    #[tokio::test]
    async fn numbers_beside_decimals_are_still_needed() {
        let plain = SessionContext::new();
        let sql = "SELECT x - 0.1 = 0.2 FROM (SELECT arrow_cast('0.30', 'Decimal128(5, 2)') AS x)";
        let rows = plain.sql(sql).await.expect("planned").collect().await.expect("rows");
        assert!(!rows[0].column(0).as_boolean().value(0), "DataFusion keeps decimals by itself");
    }
}
