//! Dates, times and intervals with the semantics of PostgreSQL and DuckDB: casts, time zones, parts
//! and interval arithmetic.
//!
//! DataFusion 55.2 and arrow 59 read few timestamp formats, take the local time of UTC for that of
//! a time zone, fail at local times that a clock change skips, compare intervals field by field,
//! and return totals as the parts of a timestamp difference. Each module names the faults that it
//! works around.

pub(crate) mod at_time_zone;
pub(crate) mod cast;
pub(crate) mod date_part;
pub(crate) mod date_trunc;
pub(crate) mod days_between;
pub(crate) mod interval;
pub(crate) mod interval_text;
pub(crate) mod parse;
pub(crate) mod scale;
pub(crate) mod shift;
pub(crate) mod text;
pub(crate) mod timestamp_of;
pub(crate) mod to_timestamp;
pub(crate) mod unit;
pub(crate) mod units;
pub(crate) mod zone;
