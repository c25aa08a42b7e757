//! Dates and moments of chrono, which come out of a table of days.
//!
//! chrono decodes a day with a call that takes longer than the rest of a row, and whose result
//! the compiler does not know to be all that it does: it would be made also for a column that
//! is not used. A load from a table is faster, and gone when it is not needed.

use std::convert::identity;
use std::sync::{Arc, LazyLock};

use arrow::array::ArrayRef;
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::{
    ArrowNativeType, ArrowPrimitiveType, DataType, Date32Type, TimeUnit, TimestampMicrosecondType,
};
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};

use super::Value;
use super::mismatch::{Mismatch, Problem};
use super::numbers::{Numbers, built_as, scalars};
use super::shared::{self, scalar};
use super::time::{DAY_US, all_within, time_of_day};

/// The days of the table, counted from the epoch: those from 1900 to 2099, in which nearly all
/// data lies. It has 290 kB, of which only what data asks for comes into a cache.
const DAYS: (i32, i32) = (-25_567, 47_481);

/// The same days in microseconds.
const DAYS_US: (i64, i64) = (DAYS.0 as i64 * DAY_US, (DAYS.1 as i64 + 1) * DAY_US - 1);

static TABLE: LazyLock<Vec<NaiveDate>> =
    LazyLock::new(|| (DAYS.0..=DAYS.1).filter_map(NaiveDate::from_epoch_days).collect());

/// The values of rows that hold nothing; constants, because `Default` is a call.
const EPOCH_DAY: NaiveDate = NaiveDate::from_epoch_days(0).expect("the epoch is a day");
const EPOCH_MOMENT: NaiveDateTime = NaiveDateTime::new(EPOCH_DAY, NaiveTime::MIN);

/// Column of dates or moments.
#[derive(Debug)]
pub enum Calendar<N: ArrowNativeType, T> {
    /// All of them are in the table.
    Tabled {
        /// The values as Arrow stores them.
        values: ScalarBuffer<N>,
        /// The table, which is made by the first column that needs it.
        table: &'static [NaiveDate],
    },
    /// Some are not, and so all are decoded beforehand.
    Decoded(Vec<T>),
}

impl<N: ArrowNativeType + Into<i64>, T: Copy> Calendar<N, T> {
    /// Opens values; what chrono cannot express is an error, since it must not become another
    /// date.
    fn open(
        values: ScalarBuffer<N>,
        outer: Option<&NullBuffer>,
        (first, last): (N, N),
        decode: impl Fn(N) -> Option<T>,
        epoch: T,
        rust: &'static str,
    ) -> Result<Self, Mismatch> {
        if all_within(&values, first.into(), last.into()) {
            return Ok(Self::Tabled { values, table: &TABLE });
        }
        let decoded = values.iter().enumerate().map(|(row, &value)| match decode(value) {
            Some(decoded) => Ok(decoded),
            None if outer.is_some_and(|outer| outer.is_null(row)) => Ok(epoch),
            None => Err(Mismatch::new(Problem::Range { row, value: value.into(), rust })),
        });
        Ok(Self::Decoded(decoded.collect::<Result<_, _>>()?))
    }

    #[inline]
    fn rows(&self) -> usize {
        match self {
            Self::Tabled { values, .. } => values.len(),
            Self::Decoded(values) => values.len(),
        }
    }
}

/// A day of the table.
#[inline]
fn day(table: &[NaiveDate], day: i32) -> NaiveDate {
    let entry = usize::try_from(day.wrapping_sub(DAYS.0)).unwrap_or(usize::MAX);
    table.get(entry).copied().unwrap_or(EPOCH_DAY)
}

/// A moment of a day of the table.
#[inline]
fn moment(table: &[NaiveDate], us: i64) -> NaiveDateTime {
    let day_of = i32::try_from(us.div_euclid(DAY_US)).unwrap_or_default();
    NaiveDateTime::new(day(table, day_of), time_of_day(us.rem_euclid(DAY_US)))
}

macro_rules! calendar {
    (
        $time:ty, $name:literal, $arrow:ident, $data_type:expr, $days:expr,
        $epoch:expr, $decode:expr, $look_up:expr, $write:expr
    ) => {
        impl Value for $time {
            scalar!(identity);
            built_as!($arrow, $write);

            type Column = Calendar<<$arrow as ArrowPrimitiveType>::Native, Self>;

            fn data_type() -> DataType {
                $data_type
            }

            fn column(
                array: &ArrayRef,
                outer: Option<&NullBuffer>,
            ) -> Result<Self::Column, Mismatch> {
                let values = scalars::<$arrow>(array, outer, Self::data_type())?;
                Calendar::open(values, outer, $days, $decode, $epoch, $name)
            }

            #[inline]
            fn rows(column: &Self::Column) -> usize {
                column.rows()
            }

            #[inline(always)]
            fn get(column: &Self::Column, row: usize) -> Self {
                match column {
                    Calendar::Tabled { values, table } => {
                        $look_up(table, values.get(row).copied().unwrap_or_default())
                    }
                    Calendar::Decoded(values) => values.get(row).copied().unwrap_or($epoch),
                }
            }
        }

        shared::row!([] $time);
    };
}

calendar!(
    NaiveDate,
    "NaiveDate",
    Date32Type,
    DataType::Date32,
    DAYS,
    EPOCH_DAY,
    NaiveDate::from_epoch_days,
    day,
    |date: Self| date.to_epoch_days()
);

calendar!(
    NaiveDateTime,
    "NaiveDateTime",
    TimestampMicrosecondType,
    DataType::Timestamp(TimeUnit::Microsecond, None),
    DAYS_US,
    EPOCH_MOMENT,
    |us| DateTime::from_timestamp_micros(us).map(|moment| moment.naive_utc()),
    moment,
    |time: Self| time.and_utc().timestamp_micros()
);

calendar!(
    DateTime<Utc>,
    "DateTime<Utc>",
    TimestampMicrosecondType,
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
    DAYS_US,
    DateTime::UNIX_EPOCH,
    DateTime::from_timestamp_micros,
    |table, us| DateTime::from_naive_utc_and_offset(moment(table, us), Utc),
    |time: Self| time.timestamp_micros()
);
