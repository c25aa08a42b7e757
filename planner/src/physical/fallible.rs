//! Tells which expressions can fail for some row: divisions, casts, checked arithmetic, most
//! functions.

use std::sync::Arc;

use datafusion::arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, Schema, TimeUnit,
};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, CastExpr, Literal};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};

/// Functions that never fail, so that it does not matter for which rows they are computed. A
/// function missing here is only evaluated for fewer rows, which costs little.
const TOTAL: [&str; 39] = [
    "array_has",
    "array_length",
    "btrim",
    "cardinality",
    "ceil",
    "character_length",
    "coalesce",
    "concat",
    "concat_ws",
    "contains",
    "date_part",
    "date_trunc",
    "ends_with",
    "float_key",
    "floor",
    "get_field",
    "greatest",
    "isnan",
    "iszero",
    "least",
    "lower",
    "ltrim",
    "make_array",
    "named_struct",
    "nanvl",
    "nested_key",
    "nullable",
    "nullable_constant",
    "nullif",
    "nvl",
    "octet_length",
    "reverse",
    "rtrim",
    "same_value",
    "starts_with",
    "strpos",
    "struct",
    "unknown",
    "upper",
];

/// True if evaluating `expr` can fail for a row of `schema`.
pub(super) fn is_fallible(expr: &Arc<dyn PhysicalExpr>, schema: &Schema) -> bool {
    fails_itself(expr, schema)
        || expr.children().into_iter().any(|child| is_fallible(child, schema))
}

/// The number of places where evaluating `expr` can fail. A guard has fewer than the expression
/// that it guards, because it tests parts of it.
pub(super) fn n_fallible(expr: &Arc<dyn PhysicalExpr>, schema: &Schema) -> usize {
    let below = expr.children().into_iter().map(|child| n_fallible(child, schema)).sum::<usize>();
    below + usize::from(fails_itself(expr, schema))
}

fn fails_itself(expr: &Arc<dyn PhysicalExpr>, schema: &Schema) -> bool {
    if let Some(function) = expr.downcast_ref::<ScalarFunctionExpr>() {
        let constant = function.args().iter().skip(1).all(|arg| arg.is::<Literal>());
        return match function.name() {
            name if TOTAL.contains(&name) => false,
            // They can only fail because of arguments that are literals here, and then fail for
            // every row.
            "substr" | "regexp_like" | "split_part" | "left" | "right" | "round" => !constant,
            "rounded_divide" => {
                let kind = expr.data_type(schema);
                kind.is_ok_and(|kind| is_widest(&kind))
                    || !function.args().iter().skip(1).all(divides)
            }
            _ => true,
        };
    }
    if let Some(cast) = expr.downcast_ref::<CastExpr>() {
        let from = cast.expr().data_type(schema);
        let is_literal = cast.expr().is::<Literal>();
        return !cast.cast_options().safe
            && !is_literal
            && !from.is_ok_and(|from| always_fits(&from, cast.cast_type()));
    }
    if let Some(binary) = expr.downcast_ref::<BinaryExpr>() {
        return fails_binary(binary, expr, schema);
    }
    false
}

fn fails_binary(binary: &BinaryExpr, expr: &Arc<dyn PhysicalExpr>, schema: &Schema) -> bool {
    let Ok(kind) = expr.data_type(schema) else { return true };
    match binary.op() {
        Operator::Divide | Operator::Modulo => match kind {
            kind if kind.is_floating() => false,
            kind if is_widest(&kind) => true,
            _ => !divides(binary.right()),
        },
        // Operations that can overflow are functions (see `logical::numbers`); timestamps use
        // operators.
        Operator::Plus | Operator::Minus | Operator::Multiply => !kind.is_numeric(),
        Operator::RegexMatch
        | Operator::RegexIMatch
        | Operator::RegexNotMatch
        // A constant pattern fails for all rows or for none.
        | Operator::RegexNotIMatch => !collect_columns(binary.right()).is_empty(),
        _ => false,
    }
}

/// True for a number that every other number can be divided by.
fn divides(expr: &Arc<dyn PhysicalExpr>) -> bool {
    let Some(literal) = expr.downcast_ref::<Literal>() else { return false };
    let value = literal.value();
    let zero = ScalarValue::new_zero(&value.data_type());
    let minus_one = ScalarValue::new_negative_one(&value.data_type());
    !value.is_null()
        && zero.is_ok_and(|zero| zero != *value)
        && minus_one.map_or(true, |n| n != *value)
}

/// True for a decimal with the most digits of its type: it may have been truncated.
fn is_widest(kind: &DataType) -> bool {
    match kind {
        DataType::Decimal128(digits, _) => *digits == DECIMAL128_MAX_PRECISION,
        DataType::Decimal256(digits, _) => *digits == DECIMAL256_MAX_PRECISION,
        DataType::Decimal32(..) | DataType::Decimal64(..) => true,
        _ => false,
    }
}

/// True if every value of type `from` fits into type `to`.
fn always_fits(from: &DataType, to: &DataType) -> bool {
    use DataType::{
        Binary, Boolean, Date32, Date64, Decimal128, Dictionary, LargeUtf8, Timestamp, Utf8,
        Utf8View,
    };
    let whole_digits = |digits: u8, scale: i8| i16::from(digits) - i16::from(scale);
    match (from, to) {
        (from, to) if from == to => true,
        (DataType::Null, _) => true,
        (Dictionary(_, from), to) => always_fits(from, to),
        (from, Utf8 | LargeUtf8 | Utf8View) => !from.is_nested() && *from != Binary,
        (Boolean, to) => to.is_numeric(),
        (from, to) if from.is_integer() && to.is_integer() => {
            let width = |kind: &DataType| kind.primitive_width().unwrap_or(0);
            let signs = from.is_signed_integer() == to.is_signed_integer();
            width(from) < width(to) && (signs || to.is_signed_integer())
                || (signs && width(from) == width(to))
        }
        (from, to) if from.is_numeric() && to.is_floating() => true,
        (from, Decimal128(digits, scale)) if from.is_integer() => {
            let needed = match from.primitive_width() {
                Some(1) => 3,
                Some(2) => 5,
                Some(4) => 10,
                _ => 20,
            };
            whole_digits(*digits, *scale) >= needed
        }
        (Decimal128(n, from), Decimal128(m, to)) => {
            // One more digit for rounding up.
            let carry = i16::from(to < from);
            whole_digits(*m, *to) >= whole_digits(*n, *from) + carry
        }
        (Date32, Date64 | Timestamp(TimeUnit::Second | TimeUnit::Millisecond, _)) => true,
        (Timestamp(..), Date32) => true,
        _ => false,
    }
}
