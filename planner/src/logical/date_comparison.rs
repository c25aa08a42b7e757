//! Compares a date with a constant timestamp as dates, so that file statistics can prune by it.
//!
//! [`time_order`](super::time_order) clamps the date to the range of the timestamp's unit (for the
//! year 9999), and no file can be pruned by a clamped date.

use bigslice_functions::{OutOfRange, cast_time};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator, lit};

const SECONDS_A_DAY: i64 = 86_400;

/// `clamp_time(d, ..) < TIMESTAMP '..'` as a comparison of `d`, where possible.
pub(super) fn compared(binary: &BinaryExpr, schema: &DFSchema) -> Option<Expr> {
    let (clamped, op, literal) = match (binary.left.as_ref(), binary.right.as_ref()) {
        (clamped, Expr::Literal(literal, _)) => (clamped, binary.op, literal),
        (Expr::Literal(literal, _), clamped) => (clamped, binary.op.swap()?, literal),
        _ => return None,
    };
    let Expr::ScalarFunction(call) = clamped else { return None };
    let [date @ Expr::Column(_), _] = call.args.as_slice() else { return None };
    if call.func.name() != cast_time(OutOfRange::Clamp).name()
        || date.get_type(schema).ok()? != DataType::Date32
    {
        return None;
    }
    let (value, per_second) = match literal {
        ScalarValue::TimestampSecond(Some(value), None) => (*value, 1),
        ScalarValue::TimestampMillisecond(Some(value), None) => (*value, 1_000),
        ScalarValue::TimestampMicrosecond(Some(value), None) => (*value, 1_000_000),
        ScalarValue::TimestampNanosecond(Some(value), None) => (*value, 1_000_000_000),
        _ => return None,
    };
    let a_day = SECONDS_A_DAY * per_second;
    let day = i32::try_from(value.div_euclid(a_day)).ok()?;
    let op = match op {
        op if value.rem_euclid(a_day) == 0 => op,
        // The day itself started before the timestamp.
        Operator::Lt | Operator::LtEq => Operator::LtEq,
        Operator::Gt | Operator::GtEq => Operator::Gt,
        _ => return None,
    };
    // Dates out of range are clamped to the ends of the range, so these are ambiguous.
    if value == i64::MIN || value == i64::MAX {
        return None;
    }
    Some(Expr::BinaryExpr(BinaryExpr {
        left: Box::new(date.clone()),
        op,
        right: Box::new(lit(ScalarValue::Date32(Some(day)))),
    }))
}
