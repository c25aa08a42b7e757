//! Times as PostgreSQL and DuckDB have them: casts, time zones, parts and intervals.
//!
//! DataFusion 55.2 and arrow 59 read timestamps of few forms, take the wall clock of UTC for that of a time zone, fail at
//! local times that a change of clocks leaves out, compare intervals part by part, and give totals as parts of
//! what two timestamps differ by. Each module says which of these it mends.

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
