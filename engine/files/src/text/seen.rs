//! The types that the values of a column have, as far as they were seen.

use datafusion::arrow::datatypes::{DataType, TimeUnit};

use super::value;

/// The kinds of values in a column of delimited text, one bit for each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Seen(u16);

const BOOLEAN: u16 = 1;
const INTEGER: u16 = 1 << 1;
/// An integer that no 64-bit float represents exactly.
const LONG: u16 = 1 << 2;
const FLOAT: u16 = 1 << 3;
/// `NaN` or an infinity, which is a number among numbers only.
const NO_NUMBER: u16 = 1 << 4;
const DATE: u16 = 1 << 5;
const SECONDS: u16 = 1 << 6;
const MILLIS: u16 = 1 << 7;
const MICROS: u16 = 1 << 8;
const NANOS: u16 = 1 << 9;
const TEXT: u16 = 1 << 10;

impl Seen {
    /// Adds a value that is not null.
    pub(super) fn add(&mut self, text: &str) {
        if self.0 & TEXT == 0 {
            self.0 |= Self::of(text);
        }
    }

    /// Adds what was seen elsewhere.
    pub(super) fn join(&mut self, other: Self) {
        self.0 |= other.0;
    }

    fn of(text: &str) -> u16 {
        if value::integer(text).is_some() {
            return if value::is_no_float(text) { INTEGER | LONG } else { INTEGER };
        }
        if value::fraction(text) {
            return if value::float(text).is_some() { FLOAT } else { TEXT };
        }
        if value::boolean(text).is_some() {
            return BOOLEAN;
        }
        if value::no_number(text).is_some() {
            return NO_NUMBER;
        }
        if value::date(text).is_some() {
            return DATE;
        }
        match value::timestamp(text) {
            Some((_, TimeUnit::Second)) => SECONDS,
            Some((_, TimeUnit::Millisecond)) => MILLIS,
            Some((_, TimeUnit::Microsecond)) => MICROS,
            Some((_, TimeUnit::Nanosecond)) => NANOS,
            None => TEXT,
        }
    }

    /// The type that has all of it; text, if nothing was seen: a later row may have something.
    pub(super) fn data_type(self) -> DataType {
        let only = |kinds: u16| self.0 != 0 && self.0 & !kinds == 0;
        let has = |kinds: u16| self.0 & kinds != 0;
        if only(BOOLEAN) {
            DataType::Boolean
        } else if only(INTEGER | LONG) {
            DataType::Int64
        } else if only(INTEGER | FLOAT | NO_NUMBER) && has(INTEGER | FLOAT) {
            DataType::Float64
        } else if only(DATE) {
            DataType::Date32
        } else if only(DATE | SECONDS | MILLIS | MICROS | NANOS) {
            let unit = match () {
                () if has(NANOS) => TimeUnit::Nanosecond,
                () if has(MICROS) => TimeUnit::Microsecond,
                () if has(MILLIS) => TimeUnit::Millisecond,
                () => TimeUnit::Second,
            };
            DataType::Timestamp(unit, None)
        } else {
            DataType::Utf8
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&str]) -> DataType {
        let mut seen = Seen::default();
        values.iter().for_each(|value| seen.add(value));
        seen.data_type()
    }

    #[test]
    fn types_lose_nothing_of_a_value() {
        assert_eq!(of(&["1", "-20"]), DataType::Int64);
        assert_eq!(of(&["1", "2.5", "NaN"]), DataType::Float64);
        assert_eq!(of(&["NaN", "nan"]), DataType::Utf8);
        assert_eq!(of(&["9007199254740993", "2.5"]), DataType::Utf8);
        assert_eq!(of(&["9223372036854775808"]), DataType::Utf8);
        assert_eq!(of(&["1", "007"]), DataType::Utf8);
        assert_eq!(of(&["true", "FALSE"]), DataType::Boolean);
        assert_eq!(of(&["true", "1"]), DataType::Utf8);
        assert_eq!(of(&["t", "f"]), DataType::Utf8);
        assert_eq!(of(&["2024-01-01"]), DataType::Date32);
        assert_eq!(of(&["2024-02-30"]), DataType::Utf8);
        assert_eq!(
            of(&["2024-01-01", "2024-01-01 10:00:00.5"]),
            DataType::Timestamp(TimeUnit::Millisecond, None)
        );
        assert_eq!(of(&["10:00:00"]), DataType::Utf8);
        assert_eq!(of(&[]), DataType::Utf8);
    }
}
