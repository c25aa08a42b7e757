//! Parses timestamps in common formats.
//!
//! DataFusion 55.2 (arrow 59) requires seconds, two digits for each part and hours below 24. This
//! parser also accepts `2024-1-31 9:05`, `2024-01-31T09:05Z`, `2024-01-31 9:05 pm +02` and
//! `2024-01-31 24:00`.

use datafusion::arrow::datatypes::TimeUnit;

use super::unit::{Point, SECONDS_A_DAY};

/// A parsed timestamp.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parsed<'a> {
    /// The local time, or UTC if an offset is given.
    pub(crate) point: Point,
    /// True if an offset is given.
    pub(crate) is_instant: bool,
    /// The name of the time zone, if given.
    pub(crate) zone: Option<&'a str>,
}

/// Parses `text`; `None` if it is not a timestamp.
pub(crate) fn parse(text: &str) -> Option<Parsed<'_>> {
    let mut rest = Rest(text.trim());
    let days = date(&mut rest)?;
    let mut parsed = Parsed {
        point: Point { seconds: days * SECONDS_A_DAY, nanos: 0 },
        is_instant: false,
        zone: None,
    };
    if rest.0.is_empty() {
        return Some(parsed);
    }
    if rest.0.starts_with(['T', 't']) {
        rest.0 = &rest.0[1..];
    } else if rest.0.starts_with(' ') {
        rest.blanks();
    } else {
        return None;
    }
    let (seconds, nanos) = time(&mut rest)?;
    parsed.point.seconds += seconds;
    parsed.point.nanos = nanos;
    rest.blanks();
    match rest.0 {
        "" => {}
        "Z" | "z" => parsed.is_instant = true,
        offset if offset.starts_with(['+', '-']) => {
            parsed.point.seconds -= offset_seconds(offset)?;
            parsed.is_instant = true;
        }
        name if name.starts_with(|c: char| c.is_ascii_alphabetic()) => parsed.zone = Some(name),
        _ => return None,
    }
    Some(parsed)
}

/// The unit for a timestamp literal: nanoseconds if it is in their range. `None` if the text is not
/// a timestamp.
pub fn unit_for(text: &str) -> Option<TimeUnit> {
    let point = parse(text)?.point;
    // Leaves a day for the time zone.
    let near = |seconds: i64| {
        Point { seconds: point.seconds + seconds, ..point }.value(TimeUnit::Nanosecond).is_some()
    };
    Some(if near(SECONDS_A_DAY) && near(-SECONDS_A_DAY) {
        TimeUnit::Nanosecond
    } else {
        TimeUnit::Microsecond
    })
}

/// The timestamp in DataFusion's format, and whether it is out of range for nanoseconds. `None` if
/// the text is not a timestamp, or names a time zone.
pub fn normal_timestamp(text: &str) -> Option<(String, bool)> {
    let parsed = parse(text)?;
    if parsed.zone.is_some() {
        return None;
    }
    let mut normal = parsed.point.to_string();
    if parsed.is_instant {
        normal.push('Z');
    }
    Some((normal, unit_for(text)? != TimeUnit::Nanosecond))
}

/// The unread rest of the text.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn blanks(&mut self) {
        self.0 = self.0.trim_start_matches(' ');
    }

    fn eat(&mut self, what: char) -> bool {
        match self.0.strip_prefix(what) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    /// As many digits as possible, between `least` and `most`.
    fn digits(&mut self, least: usize, most: usize) -> Option<&'a str> {
        let count = self.0.bytes().take_while(u8::is_ascii_digit).count();
        if count < least || count > most {
            return None;
        }
        let (digits, rest) = self.0.split_at(count);
        self.0 = rest;
        Some(digits)
    }

    fn number(&mut self, least: usize, most: usize) -> Option<i64> {
        self.digits(least, most)?.parse().ok()
    }
}

/// The days since 1970.
fn date(rest: &mut Rest) -> Option<i64> {
    let year = rest.digits(4, 8)?;
    let (year, month, day) = if year.len() == 8 {
        (year[..4].parse().ok()?, year[4..6].parse().ok()?, year[6..].parse().ok()?)
    } else {
        let separator = if rest.0.starts_with('/') { '/' } else { '-' };
        let month = if rest.eat(separator) { rest.number(1, 2)? } else { return None };
        let day = if rest.eat(separator) { rest.number(1, 2)? } else { return None };
        (year.parse().ok()?, month, day)
    };
    days(year, month, day)
}

fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if day < 1 || day > length {
        return None;
    }
    // In years that start in March, the leap day is the last.
    let year = year - i64::from(month <= 2);
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let month = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * month + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// Seconds of the day and nanoseconds.
fn time(rest: &mut Rest) -> Option<(i64, u32)> {
    let hour = rest.number(1, 2)?;
    let mut minute = None;
    let mut second = 0;
    let mut nanos = 0;
    if rest.eat(':') {
        minute = Some(rest.number(2, 2)?);
        if rest.eat(':') {
            second = rest.number(2, 2)?;
            if rest.eat('.') || rest.eat(',') {
                nanos = fraction(rest.digits(1, 18)?)?;
            }
        }
    }
    let before = Rest(rest.0);
    rest.blanks();
    let hour = match noon(rest) {
        Some(_) if !(1..=12).contains(&hour) => return None,
        Some(after) => hour % 12 + if after { 12 } else { 0 },
        // A lone number is not clearly an hour.
        None if minute.is_none() => return None,
        None => {
            rest.0 = before.0;
            hour
        }
    };
    let minute = minute.unwrap_or(0);
    let whole_day = hour == 24 && minute == 0 && second == 0 && nanos == 0;
    if (hour > 23 && !whole_day) || minute > 59 || second > 60 {
        return None;
    }
    Some((hour * 3600 + minute * 60 + second, nanos))
}

/// Nanoseconds of the digits after the point; finer digits are truncated.
fn fraction(digits: &str) -> Option<u32> {
    let kept = &digits[..digits.len().min(9)];
    let scale = 10_u32.pow(u32::try_from(9 - kept.len()).ok()?);
    Some(kept.parse::<u32>().ok()? * scale)
}

/// Reads `am` or `pm`; true for `pm`.
fn noon(rest: &mut Rest) -> Option<bool> {
    let word = rest.0.get(..2)?;
    let after = if word.eq_ignore_ascii_case("pm") {
        true
    } else if word.eq_ignore_ascii_case("am") {
        false
    } else {
        return None;
    };
    // The zone America/New_York starts with `am`, too.
    if rest.0[2..].starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    rest.0 = &rest.0[2..];
    Some(after)
}

/// Parses `+02`, `-0330`, `+05:30` or `+05:30:15`.
fn offset_seconds(text: &str) -> Option<i64> {
    let mut rest = Rest(&text[1..]);
    let hours = rest.digits(1, 6)?;
    let (hours, minutes, seconds) = match hours.len() {
        1 | 2 => {
            let minutes = if rest.eat(':') { rest.number(2, 2)? } else { 0 };
            let seconds = if rest.eat(':') { rest.number(2, 2)? } else { 0 };
            (hours.parse::<i64>().ok()?, minutes, seconds)
        }
        4 => (hours[..2].parse().ok()?, hours[2..].parse().ok()?, 0),
        6 => (hours[..2].parse().ok()?, hours[2..4].parse().ok()?, hours[4..].parse().ok()?),
        _ => return None,
    };
    if !rest.0.is_empty() || hours > 18 || minutes > 59 || seconds > 59 {
        return None;
    }
    let ahead = hours * 3600 + minutes * 60 + seconds;
    Some(if text.starts_with('-') { -ahead } else { ahead })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn reads_what_people_write() {
        for (text, means) in [
            ("2024-01-31", "2024-01-31 00:00:00"),
            ("2024-1-3 9:05", "2024-01-03 09:05:00"),
            ("2024/01/31 09:05:07", "2024-01-31 09:05:07"),
            ("20240131", "2024-01-31 00:00:00"),
            ("2024-01-31T09:05Z", "2024-01-31 09:05:00"),
            ("2024-01-31 12:00 am", "2024-01-31 00:00:00"),
            ("2024-01-31 12:00 PM", "2024-01-31 12:00:00"),
            ("2024-01-31 9pm", "2024-01-31 21:00:00"),
            ("2024-01-31 9:05 pm +02", "2024-01-31 19:05:00"),
            ("2024-01-31 00:30:00-05:30", "2024-01-31 06:00:00"),
            ("2024-01-31 24:00", "2024-02-01 00:00:00"),
            (" 2024-01-31  09:05:07.25 ", "2024-01-31 09:05:07.25"),
            ("0001-01-01 00:00", "0001-01-01 00:00:00"),
            ("9999-12-31T23:59:59.999999999", "9999-12-31 23:59:59.999999999"),
        ] {
            let parsed = parse(text).map(|parsed| parsed.point.to_string());
            assert_eq!(parsed.as_deref(), Some(means), "{text}");
        }
        let named = parse("2024-01-31 09:05 America/New_York").expect("it is a timestamp");
        assert_eq!(named.zone, Some("America/New_York"));
    }

    #[test]
    fn refuses_what_is_no_time() {
        for text in [
            "",
            "2024",
            "2024-01",
            "2024-13-01",
            "2023-02-29",
            "2024-01-31 25:00",
            "2024-01-31 12",
            "2024-01-31 13:00 pm",
            "2024-01-31 10:60",
            "2024-01-31x",
            "2024-01-31 10:00 +",
            "12:00",
            "2024-01-31 24:01",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
