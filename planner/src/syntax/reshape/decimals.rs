//! Keeps the digits of decimal literals that do not fit into a double.
//!
//! DataFusion 55.2 reads every literal with a point or of more than 64 bits as a double, even below
//! a cast to DECIMAL: `1.005::decimal(8,2)` is 1.00.
//!
//! A literal that is cast to DECIMAL or rounded becomes a string, and a literal with more digits
//! than a double holds becomes a decimal. Sums, differences, products and remainders of literals
//! are computed here, exactly: `0.1 + 0.2` is 0.3.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, DataType, ExactNumberInfo, Expr, FunctionArg, FunctionArgExpr,
    FunctionArguments, SetExpr, UnaryOperator, Value, ValueWithSpan,
};

use super::super::build;

/// The number of digits that identify every double.
const DOUBLE_DIGITS: usize = 17;
/// The maximum number of digits of a decimal.
const DECIMAL_DIGITS: usize = 38;

/// Rewrites one expression; its children are rewritten already.
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
        Expr::BinaryOp { left, op, right } => {
            if let Some(result) = computed(left, op, right) {
                *expr = result.written();
                if let Expr::Value(value) = expr
                    && let Some(decimal) = long(value)
                {
                    *expr = decimal;
                }
            }
        }
        Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case("round") => {
            if let FunctionArguments::List(list) = &mut function.args
                && let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(number))) =
                    list.args.first_mut()
                && let Some(digits) = Digits::of(number).filter(|digits| digits.scale > 0)
            {
                *number = digits.decimal();
            }
        }
        _ => {}
    }
}

/// Writes the casts to DECIMAL in VALUES twice. DataFusion 55.2 casts each column of VALUES to one
/// type when it makes the plan, and a rule has to know which of the casts are DataFusion's: the
/// outer ones of numbers that are not decimals.
pub(super) fn cast_twice(set: &mut SetExpr) {
    match set {
        SetExpr::Values(values) => {
            let cells = values.rows.iter_mut().flat_map(|row| &mut row.content);
            for cell in cells {
                if let Expr::Cast { kind, data_type, .. } = bare(cell)
                    && is_decimal(data_type)
                {
                    *cell = Expr::Cast {
                        kind: kind.clone(),
                        data_type: data_type.clone(),
                        expr: Box::new(cell.clone()),
                        array: false,
                        format: None,
                    };
                }
            }
        }
        SetExpr::SetOperation { left, right, .. } => {
            cast_twice(left);
            cast_twice(right);
        }
        _ => {}
    }
}

fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Nested(inner) => bare(inner),
        other => other,
    }
}

fn is_decimal(kind: &DataType) -> bool {
    matches!(kind, DataType::Decimal(_) | DataType::Numeric(_) | DataType::Dec(_))
}

/// The number as a string literal that can be cast to DECIMAL.
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

/// A number as an integer over a power of ten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Digits {
    value: i128,
    scale: u32,
}

impl Digits {
    /// Parses a literal.
    fn of(expr: &Expr) -> Option<Self> {
        match expr {
            Expr::Nested(inner) => Self::of(inner),
            Expr::UnaryOp { op: UnaryOperator::Minus, expr } => {
                let Self { value, scale } = Self::of(expr)?;
                Some(Self { value: -value, scale })
            }
            Expr::Value(ValueWithSpan { value: Value::Number(digits, _), .. }) => {
                let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
                let all = format!("{whole}{fraction}");
                let plain = all.len() <= DECIMAL_DIGITS && all.bytes().all(|b| b.is_ascii_digit());
                let scale = u32::try_from(fraction.len()).ok()?;
                Some(Self { value: plain.then(|| all.parse().ok())??, scale })
            }
            _ => None,
        }
    }

    fn at(self, scale: u32) -> Option<i128> {
        self.value.checked_mul(10_i128.checked_pow(scale - self.scale)?)
    }

    fn text(self) -> String {
        let digits = self.value.unsigned_abs().to_string();
        let scale = self.scale as usize;
        let digits = format!("{digits:0>width$}", width = scale + 1);
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") }
    }

    /// The number as a literal.
    fn written(self) -> Expr {
        let number = Expr::value(Value::Number(self.text(), false));
        match self.value < 0 {
            true => Expr::Nested(Box::new(Expr::UnaryOp {
                op: UnaryOperator::Minus,
                expr: Box::new(number),
            })),
            false => number,
        }
    }

    /// The number as a decimal with its digits.
    fn decimal(self) -> Expr {
        let n_digits = self.value.unsigned_abs().to_string().len().max(self.scale as usize + 1);
        let sign = if self.value < 0 { "-" } else { "" };
        cast(format!("{sign}{}", self.text()), n_digits, i64::from(self.scale))
    }
}

/// The exact result of an operator over literals of which one has a point, if there is one.
fn computed(left: &Expr, op: &BinaryOperator, right: &Expr) -> Option<Digits> {
    let (left, right) = (Digits::of(left)?, Digits::of(right)?);
    let scale = left.scale.max(right.scale);
    if scale == 0 {
        return None;
    }
    let (value, scale) = match op {
        BinaryOperator::Plus => (left.at(scale)?.checked_add(right.at(scale)?)?, scale),
        BinaryOperator::Minus => (left.at(scale)?.checked_sub(right.at(scale)?)?, scale),
        BinaryOperator::Multiply => {
            (left.value.checked_mul(right.value)?, left.scale + right.scale)
        }
        BinaryOperator::Modulo => (left.at(scale)?.checked_rem(right.at(scale)?)?, scale),
        _ => return None,
    };
    let fits = value.unsigned_abs().to_string().len().max(scale as usize + 1) <= DECIMAL_DIGITS;
    fits.then_some(Digits { value, scale })
}

/// A number with too many digits for a double, as a decimal.
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
    Some(cast(plain(digits), n_digits, scale))
}

fn cast(digits: String, n_digits: usize, scale: i64) -> Expr {
    let info = ExactNumberInfo::PrecisionAndScale(n_digits as u64, scale);
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(build::text(digits)),
        data_type: DataType::Decimal(info),
        array: false,
        format: None,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::GenericDialect;

    use super::super::super::visit::visit_mut;

    fn kept(sql: &str) -> String {
        let statement = super::super::super::parse(sql, Box::new(GenericDialect {}), 50);
        let mut statement = statement.expect("it can be parsed");
        visit_mut(&mut statement, &mut super::super::Reshape).expect("it can be read");
        statement.to_string()
    }

    #[test]
    fn numbers_keep_their_digits() {
        for (sql, expected) in [
            ("SELECT 0.1 + 0.2", "SELECT 0.3"),
            ("SELECT (0.1 + 0.7) * 10", "SELECT 8.0"),
            ("SELECT 0.06 - 0.01", "SELECT 0.05"),
            ("SELECT 0.1 - 0.25", "SELECT (-0.15)"),
            ("SELECT 5.5 % 0.1", "SELECT 0.0"),
            ("SELECT 1 + 2, 1 / 3.0, x + 0.1", "SELECT 1 + 2, 1 / 3.0, x + 0.1"),
            ("SELECT 1e2 + 0.5", "SELECT 1e2 + 0.5"),
            ("SELECT 1.005::DECIMAL(8,2)", "SELECT '1.005'::DECIMAL(8,2)"),
            ("SELECT CAST(-.5 AS DECIMAL(8,2))", "SELECT CAST('-0.5' AS DECIMAL(8,2))"),
            ("SELECT round(2.675, 2)", "SELECT round(CAST('2.675' AS DECIMAL(4,3)), 2)"),
            ("SELECT 18446744073709551616", "SELECT CAST('18446744073709551616' AS DECIMAL(20,0))"),
            (
                "SELECT 0.1234567890123456789",
                "SELECT CAST('0.1234567890123456789' AS DECIMAL(19,19))",
            ),
            ("SELECT 18446744073709551615", "SELECT 18446744073709551615"),
        ] {
            assert_eq!(kept(sql), expected, "{sql}");
        }
    }
}
