//! Times of day and durations of chrono. As all times they are stored in microseconds: what is
//! finer is cut off when a value is stored. A leap second becomes the last microsecond before it
//! ([`NaiveTime`]) or part of the next second (moments).

use std::convert::identity;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, DurationMicrosecondType, Time64MicrosecondType, TimeUnit,
};
use chrono::{NaiveTime, TimeDelta, Timelike};

use super::Value;
use super::mismatch::{Mismatch, Problem};
use super::numbers::{Numbers, scalars, stored_as};
use super::shared::{self, scalar};

/// Microseconds of a day.
pub(super) const DAY_US: i64 = 86_400_000_000;

/// The time of day `us` microseconds after midnight.
#[inline]
pub(super) fn time_of_day(us: i64) -> NaiveTime {
    let seconds = u32::try_from(us / 1_000_000).unwrap_or_default();
    let nanos = u32::try_from(us % 1_000_000 * 1_000).unwrap_or_default();
    NaiveTime::from_num_seconds_from_midnight_opt(seconds, nanos).unwrap_or(NaiveTime::MIN)
}

/// Whether all values are within a range that has the zero in it.
///
/// The sign of a difference tells, also of one that overflows. Unlike comparisons, differences
/// of 64 bits are vectorised on every processor, and there is no early exit for the same reason:
/// this is the loop of nearly every batch.
pub(super) fn all_within<N: Copy + Into<i64>>(values: &[N], first: i64, last: i64) -> bool {
    let signs = values.iter().fold(0, |signs: i64, &value| {
        let value = value.into();
        signs | value.wrapping_sub(first) | last.wrapping_sub(value)
    });
    signs >= 0
}

/// Refuses times of more than a day, which Arrow's type can hold and nothing checked before.
fn check_in_day(values: &[i64], outer: Option<&NullBuffer>) -> Result<(), Mismatch> {
    if all_within(values, 0, DAY_US - 1) {
        return Ok(());
    }
    let inside = |value: i64| (0..DAY_US).contains(&value);
    let valid = |row| outer.is_none_or(|outer| outer.is_valid(row));
    match values.iter().enumerate().find(|&(row, &value)| !inside(value) && valid(row)) {
        Some((row, &value)) => Err(Mismatch::new(Problem::Range { row, value, rust: "NaiveTime" })),
        None => Ok(()),
    }
}

macro_rules! time {
    ($time:ty, $arrow:ident, $data_type:expr, $check:expr, $read:expr, $write:expr) => {
        impl Value for $time {
            scalar!(identity);
            stored_as!($arrow, $read, $write);

            fn data_type() -> DataType {
                $data_type
            }

            fn column(
                array: &ArrayRef,
                outer: Option<&NullBuffer>,
            ) -> Result<Self::Column, Mismatch> {
                let values = scalars::<$arrow>(array, outer, Self::data_type())?;
                $check(&values, outer)?;
                Ok(values)
            }
        }

        shared::row!([] $time);
    };
}

time!(
    NaiveTime,
    Time64MicrosecondType,
    DataType::Time64(TimeUnit::Microsecond),
    check_in_day,
    time_of_day,
    |time: Self| {
        i64::from(time.num_seconds_from_midnight()) * 1_000_000
            + i64::from(time.nanosecond().min(999_999_999)) / 1_000
    }
);

time!(
    TimeDelta,
    DurationMicrosecondType,
    DataType::Duration(TimeUnit::Microsecond),
    |_: &[i64], _: Option<&NullBuffer>| Ok::<(), Mismatch>(()),
    TimeDelta::microseconds,
    // A longer one, of at least 292,000 years, is stored as the longest.
    |delta: Self| delta.num_microseconds().unwrap_or(if delta < Self::zero() {
        i64::MIN
    } else {
        i64::MAX
    })
);
