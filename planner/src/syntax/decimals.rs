//! Decimal numbers of which a double would lose digits. DataFusion 55.2 makes a double of every number with a point or of
//! more than 64 bits, also of one that is cast to DECIMAL at once: `1.005::decimal(8,2)` is 1.00.
//!
//! What is cast to DECIMAL becomes the text of the number, and a number of more digits than a double has
//! a decimal of that many.

use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, ExactNumberInfo, Expr, UnaryOperator, Value, ValueWithSpan,
};

/// The digits with which every double can be told from all others.
const DOUBLE_DIGITS: usize = 17;
/// The digits that a decimal can have.
const DECIMAL_DIGITS: usize = 38;

/// Changes one expression, whose children are done.
pub(super) fn keep(expr: &mut Expr) {
    match expr {
        Expr::Value(value) => {
            if let Some(decimal) = long(value) {
                *expr = decimal;
            }
        }
        Expr::Cast { expr: number, data_type, .. } if is_decimal(data_type) => {
            if let Some(text) = text_of(number) {
                **number = text;
            }
        }
        _ => {}
    }
}

fn is_decimal(kind: &DataType) -> bool {
    matches!(kind, DataType::Decimal(_) | DataType::Numeric(_) | DataType::Dec(_))
}

/// The number as a text that can be cast to DECIMAL.
fn text_of(expr: &Expr) -> Option<Expr> {
    match expr {
        Expr::Nested(inner) => text_of(inner),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match text_of(expr)? {
            Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), span })
                if !text.starts_with('-') =>
            {
                Some(Expr::Value(Value::SingleQuotedString(format!("-{text}")).with_span(span)))
            }
            _ => None,
        },
        Expr::Value(ValueWithSpan { value: Value::Number(digits, _), span })
            if digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') =>
        {
            Some(Expr::Value(Value::SingleQuotedString(plain(digits)).with_span(*span)))
        }
        _ => None,
    }
}

/// `.5` and `5.` as 0.5 and 5.
fn plain(digits: &str) -> String {
    let digits = digits.trim_end_matches('.');
    if digits.starts_with('.') { format!("0{digits}") } else { digits.to_owned() }
}

/// A number of too many digits for a double, as a decimal.
fn long(value: &ValueWithSpan) -> Option<Expr> {
    let Value::Number(digits, _) = &value.value else { return None };
    let (whole, fraction) = match digits.split_once('.') {
        Some((whole, fraction)) => (whole, fraction),
        None if digits.parse::<u64>().is_err() => (digits.as_str(), ""),
        None => return None,
    };
    if !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let whole = whole.trim_start_matches('0');
    let n_digits = whole.len() + fraction.len();
    let n_told = format!("{whole}{fraction}").trim_matches('0').len();
    if n_told <= DOUBLE_DIGITS || n_digits > DECIMAL_DIGITS {
        return None;
    }
    let scale = i64::try_from(fraction.len()).ok()?;
    let info = ExactNumberInfo::PrecisionAndScale(n_digits as u64, scale);
    Some(Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(Expr::Value(Value::SingleQuotedString(plain(digits)).with_span(value.span))),
        data_type: DataType::Decimal(info),
        array: false,
        format: None,
    })
}
