//! Converts timestamps of any unit to seconds and nanoseconds, and back without wrapping.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int32Type, Int64Type, TimeUnit};
use datafusion::common::{Result, exec_err};

pub(crate) const SECONDS_A_DAY: i64 = 86_400;

/// A point in time: seconds since 1970 and additional nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) seconds: i64,
    pub(crate) nanos: u32,
}

/// The number of units in a second.
pub(crate) fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

impl Point {
    pub(crate) fn new(value: i64, unit: TimeUnit) -> Self {
        let per = per_second(unit);
        let rest = value.rem_euclid(per) * (1_000_000_000 / per);
        // The rest is less than a second.
        Self { seconds: value.div_euclid(per), nanos: u32::try_from(rest).unwrap_or(0) }
    }

    pub(crate) fn of_day(day: i32) -> Self {
        Self { seconds: i64::from(day) * SECONDS_A_DAY, nanos: 0 }
    }

    /// The point in a unit, if in range. Digits finer than the unit are truncated.
    pub(crate) fn value(self, unit: TimeUnit) -> Option<i64> {
        let per = per_second(unit);
        let rest = i64::from(self.nanos) / (1_000_000_000 / per);
        // In the first second of the range, the whole seconds alone would be out of range.
        let total = i128::from(self.seconds) * i128::from(per) + i128::from(rest);
        i64::try_from(total).ok()
    }

    /// The point in a unit, or the end of its range.
    pub(crate) fn clamped(self, unit: TimeUnit) -> i64 {
        self.value(unit).unwrap_or(if self.seconds < 0 { i64::MIN } else { i64::MAX })
    }

    /// # Errors
    /// When the unit's range does not have it; names the value and what to write.
    pub(crate) fn checked(self, unit: TimeUnit) -> Result<i64> {
        match self.value(unit) {
            Some(value) => Ok(value),
            None => exec_err!(
                "timestamp {} is outside of what {} can hold (the years 1678 to 2261 with \
                 nanoseconds): use TIMESTAMP(6), which has microseconds",
                self,
                match unit {
                    TimeUnit::Second => "TIMESTAMP(0)",
                    TimeUnit::Millisecond => "TIMESTAMP(3)",
                    TimeUnit::Microsecond => "TIMESTAMP(6)",
                    TimeUnit::Nanosecond => "TIMESTAMP(9)",
                }
            ),
        }
    }
}

/// As SQL writes a timestamp without a zone: `2024-01-31 23:59:59.5`.
impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date_of(self.seconds.div_euclid(SECONDS_A_DAY));
        let time = self.seconds.rem_euclid(SECONDS_A_DAY);
        let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")?;
        if self.nanos == 0 {
            return Ok(());
        }
        let (mut fraction, mut digits) = (self.nanos, 9);
        while fraction % 10 == 0 {
            fraction /= 10;
            digits -= 1;
        }
        write!(f, ".{fraction:0digits$}")
    }
}

/// Year, month and day of a number of days since 1970, in the proleptic Gregorian calendar.
fn date_of(days: i64) -> (i64, i64, i64) {
    // In years that start in March, the leap day is the last; 400 years are 146,097 days.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let of_month = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, of_month)
}

/// The points of an array of timestamps or dates.
pub(crate) fn points(array: &dyn Array) -> Result<Vec<Option<Point>>> {
    match array.data_type() {
        DataType::Date32 => {
            let days = cast(array, &DataType::Int32)?;
            Ok(days.as_primitive::<Int32Type>().iter().map(|day| day.map(Point::of_day)).collect())
        }
        DataType::Date64 => of_unit(array, TimeUnit::Millisecond),
        DataType::Timestamp(unit, _) => of_unit(array, *unit),
        other => exec_err!("{other} is not a timestamp or date"),
    }
}

fn of_unit(array: &dyn Array, unit: TimeUnit) -> Result<Vec<Option<Point>>> {
    let values = cast(array, &DataType::Int64)?;
    let values = values.as_primitive::<Int64Type>();
    Ok(values.iter().map(|value| value.map(|value| Point::new(value, unit))).collect())
}

/// Values of a unit as an array of the timestamp type `to`.
pub(crate) fn timestamps(values: Vec<Option<i64>>, to: &DataType) -> Result<ArrayRef> {
    let values: ArrayRef = Arc::new(Int64Array::from(values));
    Ok(cast(&values, to)?)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::TimeUnit;

    use super::Point;
    use crate::time::parse::parse;

    #[test]
    fn keeps_a_value_through_its_own_unit() {
        for value in [i64::MIN, -1, 0, 1, 999_999_999, 1_000_000_000, i64::MAX] {
            let point = Point::new(value, TimeUnit::Nanosecond);
            assert_eq!(point.value(TimeUnit::Nanosecond), Some(value));
        }
    }

    #[test]
    fn says_which_value_does_not_fit() {
        let year_9999 = Point::new(253_402_214_400, TimeUnit::Second);
        assert_eq!(year_9999.value(TimeUnit::Nanosecond), None);
        assert_eq!(year_9999.clamped(TimeUnit::Nanosecond), i64::MAX);
        let error = year_9999.checked(TimeUnit::Nanosecond).expect_err("it is too late");
        assert!(error.to_string().contains("9999-12-31 00:00:00"), "{error}");
    }

    #[test]
    fn writes_what_it_reads() {
        for text in [
            "2024-02-29 23:59:59.5",
            "0001-01-01 00:00:00",
            "9999-12-31 23:59:59.999999999",
            "1969-12-31 23:59:59.000001",
            "1900-03-01 00:00:00",
        ] {
            assert_eq!(parse(text).expect("it is a timestamp").point.to_string(), text);
        }
    }
}
