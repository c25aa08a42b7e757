//! Single values of text: which type they have, and what they are as one.
//!
//! A type that was decided by the first rows is held to strictly: a value is taken only if nothing
//! of it would be lost. `007`, `+1` and ` 1` are not integers then, and 9007199254740993 is not a
//! float. Types that a user declared are read as a user would.

use datafusion::arrow::compute::kernels::cast_utils::string_to_datetime;
use datafusion::arrow::datatypes::TimeUnit;

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};

/// Integers from here on are not all floats of 64 bits.
pub(super) const EXACT_INTEGERS: u64 = 1 << 53;

/// The day from which dates are counted, in days from the year 1.
const EPOCH_DAYS: i32 = 719_163;

/// Digits of an integer that always fit 64 bits.
const SAFE_DIGITS: usize = 18;

/// An integer as programs write it: no zeros in front, no plus.
pub(super) fn integer(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let (negative, digits) = match bytes {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || (digits[0] == b'0' && digits.len() > 1) {
        return None;
    }
    if digits.len() > SAFE_DIGITS {
        return digits.iter().all(u8::is_ascii_digit).then(|| text.parse().ok()).flatten();
    }
    let mut value: i64 = 0;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + i64::from(digit);
    }
    Some(if negative { -value } else { value })
}

/// An integer as a user may write it: with zeros, a plus, spaces around, or `.0` after it.
pub(super) fn declared_integer(text: &str) -> Option<i64> {
    let text = text.trim();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte == b'0') {
        return None;
    }
    whole.parse().ok()
}

/// True for an integer that no 64-bit float represents exactly.
pub(super) fn is_no_float(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.len() < 16 || digits.bytes().any(|byte| matches!(byte, b'e' | b'E')) {
        return false;
    }
    let whole = digits.split('.').next().unwrap_or_default();
    whole.parse::<u64>().map_or(!whole.is_empty(), |value| value > EXACT_INTEGERS)
        && !is_exact(text)
}

/// Does an integer come back when its float is written?
fn is_exact(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.bytes().any(|byte| byte != b'0') {
        return false;
    }
    whole.parse::<f64>().is_ok_and(|value| format!("{value:.0}") == whole)
}

/// A fraction or a number with an exponent, without zeros in front.
pub(super) fn fraction(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let count = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let whole = count(digits);
    if whole > 1 && digits.starts_with('0') {
        return false;
    }
    let mut rest = &digits[whole..];
    let mut decimals = 0;
    let point = rest.starts_with('.');
    if point {
        decimals = count(&rest[1..]);
        rest = &rest[1 + decimals..];
    }
    if whole + decimals == 0 {
        return false;
    }
    let Some(exponent) = rest.strip_prefix(['e', 'E']) else { return point && rest.is_empty() };
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    !exponent.is_empty() && count(exponent) == exponent.len()
}

/// Words for NaN and infinities.
pub(super) fn no_number(text: &str) -> Option<f64> {
    match text {
        "NaN" | "nan" => Some(f64::NAN),
        "inf" | "Inf" | "Infinity" | "+Infinity" => Some(f64::INFINITY),
        "-inf" | "-Inf" | "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// A float, only if it is the number that is written, as far as floats go.
pub(super) fn float(text: &str) -> Option<f64> {
    if let Some(value) = no_number(text) {
        return Some(value);
    }
    if !(fraction(text) || integer(text).is_some() || is_digits(text)) || is_no_float(text) {
        return None;
    }
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

/// Many digits without a zero in front.
fn is_digits(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit())
}

/// A float as a user may write it.
pub(super) fn declared_float(text: &str) -> Option<f64> {
    text.trim().parse().ok()
}

/// A decimal with an exponent without it: the digits, and the point where it belongs.
pub(super) fn without_exponent(text: &str) -> Option<String> {
    /// Zeros that an exponent may add: more digits than any decimal has.
    const ZEROS_MAX: i32 = 100;
    let (mantissa, exponent) = text.trim().split_once(['e', 'E'])?;
    let exponent: i32 =
        exponent.parse().ok().filter(|exponent: &i32| exponent.abs() <= ZEROS_MAX)?;
    let (sign, digits) = match mantissa.as_bytes().first()? {
        b'-' => ("-", &mantissa[1..]),
        b'+' => ("", &mantissa[1..]),
        _ => ("", mantissa),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let all = [whole, part].concat();
    if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let point = i32::try_from(whole.len()).ok()? + exponent;
    let count = usize::try_from(point.max(0)).ok()?;
    let before = usize::try_from((-point).max(0)).ok()?;
    let padded = format!("{}{all}", "0".repeat(before));
    let padded = format!("{padded:0<count$}");
    let (whole, part) = padded.split_at(count);
    Some(format!(
        "{sign}{}.{}",
        if whole.is_empty() { "0" } else { whole },
        if part.is_empty() { "0" } else { part }
    ))
}

/// A truth value as programs write it.
pub(super) fn boolean(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// A truth value as a user may write it.
pub(super) fn declared_boolean(text: &str) -> Option<bool> {
    let text = text.trim();
    let one_of = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    match () {
        () if one_of(&["true", "t", "yes", "y", "on", "1"]) => Some(true),
        () if one_of(&["false", "f", "no", "n", "off", "0"]) => Some(false),
        () => None,
    }
}

/// A date `2024-02-29` that is in the calendar, as days from 1970 on.
pub(super) fn date(text: &str) -> Option<i32> {
    let bytes: &[u8; 10] = text.as_bytes().try_into().ok()?;
    if bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let number = |range: std::ops::Range<usize>| {
        bytes[range].iter().try_fold(0_u32, |value, byte| {
            byte.is_ascii_digit().then(|| value * 10 + u32::from(byte - b'0'))
        })
    };
    let year = i32::try_from(number(0..4)?).ok()?;
    let day = NaiveDate::from_ymd_opt(year, number(5..7)?, number(8..10)?)?;
    Some(chrono::Datelike::num_days_from_ce(&day) - EPOCH_DAYS)
}

/// A date and time `2024-02-29 10:00:00.5`, with or without an offset, that is in the calendar, and
/// the unit that its digits need.
pub(super) fn timestamp(text: &str) -> Option<(DateTime<Utc>, TimeUnit)> {
    let bytes = text.as_bytes();
    let shape = bytes.len() >= 19
        && matches!(bytes[10], b'T' | b' ')
        && bytes[13] == b':'
        && bytes[16] == b':';
    if !shape {
        return None;
    }
    date(text.get(..10)?)?;
    let digits = match bytes.get(19) {
        Some(b'.') => bytes[20..].iter().take_while(|byte| byte.is_ascii_digit()).count(),
        _ => 0,
    };
    let unit = match digits {
        0 => TimeUnit::Second,
        1..=3 => TimeUnit::Millisecond,
        4..=6 => TimeUnit::Microsecond,
        7..=9 => TimeUnit::Nanosecond,
        _ => return None,
    };
    let time = string_to_datetime(&Utc, text).ok()?;
    in_unit(&time, unit)?;
    Some((time, unit))
}

/// A date that is written by a format.
pub(super) fn date_by(text: &str, format: &str) -> Option<i32> {
    let day = NaiveDate::parse_from_str(text.trim(), format).ok()?;
    Some(chrono::Datelike::num_days_from_ce(&day) - EPOCH_DAYS)
}

/// A timestamp that is written by a format, with or without an offset, or without a time.
pub(super) fn timestamp_by(text: &str, format: &str, unit: TimeUnit) -> Option<i64> {
    let text = text.trim();
    let time = DateTime::parse_from_str(text, format).map(|time| time.to_utc()).ok();
    let time = time.or_else(|| Some(NaiveDateTime::parse_from_str(text, format).ok()?.and_utc()));
    let time = time.or_else(|| {
        let day = NaiveDate::parse_from_str(text, format).ok()?;
        Some(day.and_time(chrono::NaiveTime::MIN).and_utc())
    });
    in_unit(&time?, unit)
}

/// The beginning of a date as a number of units.
pub(super) fn midnight(text: &str, unit: TimeUnit) -> Option<i64> {
    let seconds = i64::from(date(text)?) * 86_400;
    in_unit(&DateTime::from_timestamp(seconds, 0)?, unit)
}

/// A point in time as a number of units, if it is one.
pub(super) fn in_unit(time: &DateTime<Utc>, unit: TimeUnit) -> Option<i64> {
    let nanos = i64::from(time.timestamp_subsec_nanos());
    let exact = |divisor: i64| nanos % divisor == 0;
    match unit {
        TimeUnit::Second => exact(1_000_000_000).then(|| time.timestamp()),
        TimeUnit::Millisecond => exact(1_000_000).then(|| time.timestamp_millis()),
        TimeUnit::Microsecond => exact(1_000).then(|| time.timestamp_micros()),
        TimeUnit::Nanosecond => time.timestamp_nanos_opt(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_come_back_as_they_were_written() {
        for text in ["0", "7", "-7", "9223372036854775807", "-9223372036854775808"] {
            assert_eq!(integer(text).unwrap().to_string(), text);
        }
        for text in ["", "-", "007", "-07", "+1", " 1", "1 ", "1_000", "0x1F", "1e5", "1.0"] {
            assert_eq!(integer(text), None, "{text}");
        }
        assert_eq!(integer("9223372036854775808"), None);
        assert_eq!(declared_integer(" +007.00 "), Some(7));
    }

    #[test]
    fn floats_are_the_numbers_that_are_written() {
        for text in ["1.5", ".5", "5.", "1e5", "-1.5E-3", "0.5", "9007199254740992", "1e300"] {
            assert!(float(text).is_some(), "{text}");
        }
        for text in
            ["9007199254740993", "00.5", "007", "1e999", "12345678901234567.89", "1.2.3", "e5", "."]
        {
            assert_eq!(float(text), None, "{text}");
        }
        assert_eq!(float("10000000000000000000000"), Some(1e22));
    }

    #[test]
    fn exponents_move_the_point() {
        for (text, plain) in
            [("1e2", "100.0"), ("-1.25E1", "-12.5"), ("5e-3", "0.005"), ("1.5e0", "1.5")]
        {
            assert_eq!(without_exponent(text).as_deref(), Some(plain), "{text}");
        }
        for text in ["1", "e5", "1e", "1e999", "x1e2"] {
            assert_eq!(without_exponent(text), None, "{text}");
        }
    }

    #[test]
    fn dates_are_in_the_calendar() {
        assert_eq!(date("1970-01-02"), Some(1));
        assert_eq!(date("2024-02-29"), Some(19782));
        for text in ["2024-02-30", "2023-02-29", "2024-1-1", "20240101", "2024-01-01 "] {
            assert_eq!(date(text), None, "{text}");
        }
        let unit = |text: &str| timestamp(text).map(|(_, unit)| unit);
        assert_eq!(unit("2024-02-29 10:00:00"), Some(TimeUnit::Second));
        assert_eq!(unit("2024-02-29T10:00:00.25Z"), Some(TimeUnit::Millisecond));
        assert_eq!(unit("2024-02-30 10:00:00"), None);
        assert_eq!(unit("2024-02-29 10:00:00 foo"), None);
    }
}
