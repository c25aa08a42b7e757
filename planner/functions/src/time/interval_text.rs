//! Parses interval formats that DataFusion 55.2 refuses: `02:03:04`, `1-2` for years and months, `1
//! 02:03:04`, `P1Y2M3DT4H5M6S`, `3 days ago`, and those with two fields, as in `INTERVAL '10:30'
//! MINUTE TO SECOND`.

use std::fmt::Write;

const NANOS_A_SECOND: i64 = 1_000_000_000;

/// Months, days and nanoseconds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Parts {
    months: i64,
    days: i64,
    nanos: i64,
}

/// The text of an interval in DataFusion's format, if it has one of those formats. `last_field` is
/// the field after TO, in lower case.
pub fn normal_interval(text: &str, last_field: Option<&str>) -> Option<String> {
    let text = text.trim();
    let (text, ago) = match text.strip_suffix("ago") {
        Some(rest) => (rest.trim_end(), true),
        None => (text, false),
    };
    let parts = match (iso(text), last_field) {
        (Some(parts), _) => parts,
        (None, Some(last)) => of_fields(text, last)?,
        (None, None) if text.contains(':') => clock_after_words(text)?,
        (None, None) => return ago.then(|| negated_words(text)).flatten(),
    };
    let sign = if ago { -1 } else { 1 };
    let mut normal = String::new();
    let Parts { months, days, nanos } = parts;
    // Writing to a string cannot fail.
    let _ = write!(
        normal,
        "{} months {} days {} nanoseconds",
        months * sign,
        days * sign,
        nanos.checked_mul(sign)?
    );
    Some(normal)
}

/// Parses `P1Y2M3W4DT5H6M7.5S`.
fn iso(text: &str) -> Option<Parts> {
    let mut rest = text.strip_prefix(['P', 'p'])?;
    let mut parts = Parts::default();
    let mut in_time = false;
    let mut any = false;
    while !rest.is_empty() {
        if let Some(time) = rest.strip_prefix(['T', 't']) {
            in_time = true;
            rest = time;
            continue;
        }
        let end = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let (number, unit) = rest.split_at(end);
        let unit_letter = unit.chars().next()?.to_ascii_uppercase();
        rest = &unit[1..];
        any = true;
        let whole = || number.parse::<i64>().ok();
        match (unit_letter, in_time) {
            ('Y', false) => parts.months += whole()?.checked_mul(12)?,
            ('M', false) => parts.months += whole()?,
            ('W', false) => parts.days += whole()?.checked_mul(7)?,
            ('D', false) => parts.days += whole()?,
            ('H', true) => parts.nanos += nanos(number, 3600)?,
            ('M', true) => parts.nanos += nanos(number, 60)?,
            ('S', true) => parts.nanos += nanos(number, 1)?,
            _ => return None,
        }
    }
    any.then_some(parts)
}

/// A number of units of `seconds` each, with or without a fraction.
fn nanos(number: &str, seconds: i64) -> Option<i64> {
    let (digits, negative) = match number.strip_prefix('-') {
        Some(digits) => (digits, true),
        None => (number.strip_prefix('+').unwrap_or(number), false),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = |text: &str| text.bytes().all(|c| c.is_ascii_digit());
    if !is_number(whole)
        || !is_number(fraction)
        || digits.len() < 1 + usize::from(digits.contains('.'))
    {
        return None;
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let kept = &fraction[..fraction.len().min(9)];
    let below: i64 = if kept.is_empty() { 0 } else { kept.parse().ok()? };
    let scale = 10_i64.pow(u32::try_from(9 - kept.len()).ok()?);
    let total =
        whole.checked_mul(NANOS_A_SECOND)?.checked_add(below * scale)?.checked_mul(seconds)?;
    Some(if negative { -total } else { total })
}

/// Hours, minutes and seconds, the last two with two digits; `from` is the unit of the first of two
/// parts, in seconds.
fn clock(text: &str, from: i64) -> Option<i64> {
    let (text, negative) = match text.strip_prefix('-') {
        Some(rest) => (rest, true),
        None => (text.strip_prefix('+').unwrap_or(text), false),
    };
    let parts: Vec<&str> = text.split(':').collect();
    let total = match parts.as_slice() {
        [one, other] => nanos(one, from)?.checked_add(nanos(other, from / 60)?)?,
        [hours, minutes, seconds] => {
            let hours = nanos(hours, 3600)?;
            hours.checked_add(nanos(minutes, 60)?)?.checked_add(nanos(seconds, 1)?)?
        }
        _ => return None,
    };
    Some(if negative { -total } else { total })
}

/// Parses `02:03:04`, `3 02:03:04` and `1 month 2 days 02:03:04`.
fn clock_after_words(text: &str) -> Option<Parts> {
    let mut parts = Parts::default();
    let (words, time) = text.rsplit_once(' ').unwrap_or(("", text));
    parts.nanos = clock(time, 3600)?;
    let mut words = words.split_ascii_whitespace();
    while let Some(number) = words.next() {
        let number: i64 = number.parse().ok()?;
        match words.next().map(str::to_lowercase).as_deref() {
            None | Some("day" | "days" | "d") => parts.days += number,
            Some("week" | "weeks") => parts.days += number.checked_mul(7)?,
            Some("month" | "months" | "mon" | "mons") => parts.months += number,
            Some("year" | "years" | "y") => parts.months += number.checked_mul(12)?,
            Some(_) => return None,
        }
    }
    Some(parts)
}

/// Parses text with all fields from the first to the last of two fields.
fn of_fields(text: &str, last: &str) -> Option<Parts> {
    let mut parts = Parts::default();
    match last {
        "month" => {
            let (rest, negative) = match text.strip_prefix('-') {
                Some(rest) => (rest, true),
                None => (text.strip_prefix('+').unwrap_or(text), false),
            };
            let (years, months) = rest.split_once('-').unwrap_or(("0", rest));
            let months =
                years.parse::<i64>().ok()?.checked_mul(12)?.checked_add(months.parse().ok()?)?;
            parts.months = if negative { -months } else { months };
        }
        "hour" => {
            let (days, hours) = text.split_once(' ')?;
            parts.days = days.parse().ok()?;
            parts.nanos = nanos(hours, 3600)?;
        }
        "minute" | "second" => {
            let (days, time) = text.split_once(' ').unwrap_or(("0", text));
            parts.days = days.parse().ok()?;
            // Two parts are hours and minutes, or minutes and seconds.
            let first = if last == "second" && !text.contains(' ') { 60 } else { 3600 };
            parts.nanos = clock(time, first)?;
        }
        _ => return None,
    }
    Some(parts)
}

/// `3 days ago` is `-3 days`.
fn negated_words(text: &str) -> Option<String> {
    let mut negated = String::new();
    for word in text.split_ascii_whitespace() {
        if !negated.is_empty() {
            negated.push(' ');
        }
        match word.strip_prefix('-') {
            Some(number) => negated.push_str(number),
            None if word.starts_with(|c: char| c.is_ascii_digit()) => {
                negated.push('-');
                negated.push_str(word);
            }
            None => negated.push_str(word),
        }
    }
    (!negated.is_empty()).then_some(negated)
}

#[cfg(test)]
mod tests {
    use super::normal_interval;

    #[test]
    fn reads_other_forms() {
        for (text, last, means) in [
            ("02:03:04", None, "0 months 0 days 7384000000000 nanoseconds"),
            ("-00:00:00.5", None, "0 months 0 days -500000000 nanoseconds"),
            ("1 month 2 days 00:01", None, "1 months 2 days 60000000000 nanoseconds"),
            ("P1Y2M3DT4H", None, "14 months 3 days 14400000000000 nanoseconds"),
            ("1-2", Some("month"), "14 months 0 days 0 nanoseconds"),
            ("1 02:03:04", Some("second"), "0 months 1 days 7384000000000 nanoseconds"),
            ("10:30", Some("second"), "0 months 0 days 630000000000 nanoseconds"),
            ("10:30", Some("minute"), "0 months 0 days 37800000000000 nanoseconds"),
            ("3 days 2 hours ago", None, "-3 days -2 hours"),
        ] {
            assert_eq!(normal_interval(text, last).as_deref(), Some(means), "{text}");
        }
        for text in ["1 day", "3", "one day", "1:2:3:4"] {
            assert_eq!(normal_interval(text, None), None, "{text}");
        }
    }
}
