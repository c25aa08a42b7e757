//! Time zones: converts between instants and local times, for every local time.
//!
//! A local time that occurs twice, when clocks are set back, means the later instant (standard
//! time). One that is skipped, when clocks are set forward, is read as if they had not been.
//! PostgreSQL and DuckDB do the same.

use chrono::{DateTime, MappedLocalTime, NaiveDateTime, Offset, TimeZone};
use datafusion::arrow::array::timezone::Tz;
use datafusion::common::{Result, exec_err};

/// Clocks are never set forward by more than a day (Samoa skipped one in 2011).
const GAP_MINUTES_MAX: i64 = 25 * 60;
const GAP_MINUTES_STEP: i64 = 15;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Zone(Tz);

impl Zone {
    /// # Errors
    /// When there is no zone of that name.
    pub(crate) fn named(name: &str) -> Result<Self> {
        match name.trim().parse::<Tz>() {
            Ok(zone) => Ok(Self(zone)),
            Err(_) if name.trim().eq_ignore_ascii_case("z") => Self::named("UTC"),
            Err(_) => exec_err!(
                "unknown time zone \"{name}\": write a name such as Europe/Berlin or an offset such as +02:00"
            ),
        }
    }

    /// The offset of the zone from UTC at an instant, in seconds.
    pub(crate) fn offset_at(self, instant: i64) -> Result<i64> {
        let utc = naive(instant)?;
        Ok(i64::from(self.0.offset_from_utc_datetime(&utc).fix().local_minus_utc()))
    }

    /// The local time in the zone at an instant; both in seconds since 1970.
    pub(crate) fn local(self, instant: i64) -> Result<i64> {
        Ok(instant + self.offset_at(instant)?)
    }

    /// The instant at which the local time in the zone is `local`.
    pub(crate) fn instant(self, local: i64) -> Result<i64> {
        let mut ahead = self.ahead(local)?;
        let mut minutes = 0;
        while ahead.is_none() && minutes < GAP_MINUTES_MAX {
            minutes += GAP_MINUTES_STEP;
            ahead = self.ahead(local - minutes * 60)?;
        }
        Ok(local - ahead.unwrap_or(0))
    }

    /// The offset from UTC at the local time; `None` if that is skipped.
    fn ahead(self, local: i64) -> Result<Option<i64>> {
        let seconds = |offset: <Tz as TimeZone>::Offset| i64::from(offset.fix().local_minus_utc());
        Ok(match self.0.offset_from_local_datetime(&naive(local)?) {
            MappedLocalTime::Single(offset) => Some(seconds(offset)),
            MappedLocalTime::Ambiguous(one, other) => Some(seconds(one).min(seconds(other))),
            MappedLocalTime::None => None,
        })
    }
}

fn naive(seconds: i64) -> Result<NaiveDateTime> {
    match DateTime::from_timestamp(seconds, 0) {
        Some(time) => Ok(time.naive_utc()),
        None => exec_err!("a timestamp of {seconds} seconds is out of range for a time zone"),
    }
}

#[cfg(test)]
mod tests {
    use super::Zone;
    use crate::time::parse::parse;

    fn instant(zone: &str, local: &str) -> i64 {
        let local = parse(local).expect("it is a timestamp").point.seconds;
        Zone::named(zone).and_then(|zone| zone.instant(local)).expect("there is an instant")
    }

    #[test]
    fn every_local_time_is_an_instant() {
        let utc = |text: &str| parse(text).expect("it is a timestamp").point.seconds;
        let newyork = |local| instant("America/New_York", local);
        assert_eq!(newyork("2024-03-10 01:59:59"), utc("2024-03-10 06:59:59"));
        assert_eq!(newyork("2024-03-10 02:30:00"), utc("2024-03-10 07:30:00"));
        assert_eq!(newyork("2024-03-10 03:00:00"), utc("2024-03-10 07:00:00"));
        assert_eq!(newyork("2024-11-03 01:30:00"), utc("2024-11-03 06:30:00"));
        assert_eq!(instant("Pacific/Apia", "2011-12-30 12:00:00"), utc("2011-12-30 22:00:00"));
        assert_eq!(instant("+05:30", "2024-01-01 00:00:00"), utc("2023-12-31 18:30:00"));
    }
}
