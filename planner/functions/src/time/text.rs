//! Formats timestamps as SQL does: `2024-01-31 23:59:59.5`, with the offset after an instant.
//!
//! DataFusion 55.2 (arrow 59) writes a `T` instead of the space.

use std::fmt::Write;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, StringBuilder};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;

use super::unit::{Point, SECONDS_A_DAY, points};
use super::zone::Zone;

/// The array as text of the type `to`.
pub(crate) fn texts(array: &dyn Array, to: &DataType) -> Result<ArrayRef> {
    let zone = match array.data_type() {
        DataType::Timestamp(_, Some(zone)) => Some(Zone::named(zone)?),
        _ => None,
    };
    let points = points(array)?;
    let mut texts = StringBuilder::with_capacity(points.len(), points.len() * 24);
    let mut text = String::new();
    for point in points {
        let Some(point) = point else {
            texts.append_null();
            continue;
        };
        text.clear();
        match zone {
            None => write_timestamp(&mut text, point),
            Some(zone) => {
                let ahead = zone.offset_at(point.seconds)?;
                write_timestamp(&mut text, Point { seconds: point.seconds + ahead, ..point });
                write_offset(&mut text, ahead);
            }
        }
        texts.append_value(&text);
    }
    let texts: ArrayRef = Arc::new(texts.finish());
    Ok(cast(&texts, to)?)
}

/// One timestamp without a zone.
pub(crate) fn timestamp(point: Point) -> String {
    let mut text = String::new();
    write_timestamp(&mut text, point);
    text
}

fn write_timestamp(text: &mut String, point: Point) {
    let (year, month, day) = date_of(point.seconds.div_euclid(SECONDS_A_DAY));
    let time = point.seconds.rem_euclid(SECONDS_A_DAY);
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    // Writing to a string cannot fail.
    let _ = write!(text, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}");
    if point.nanos > 0 {
        let _ = write!(text, ".{:09}", point.nanos);
        text.truncate(text.trim_end_matches('0').len());
    }
}

fn write_offset(text: &mut String, ahead: i64) {
    let sign = if ahead < 0 { '-' } else { '+' };
    let ahead = ahead.abs();
    let _ = write!(text, "{sign}{:02}", ahead / 3600);
    if ahead % 3600 != 0 {
        let _ = write!(text, ":{:02}", ahead / 60 % 60);
    }
    if ahead % 60 != 0 {
        let _ = write!(text, ":{:02}", ahead % 60);
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

#[cfg(test)]
mod tests {
    use super::timestamp;
    use crate::time::parse::parse;

    #[test]
    fn writes_what_it_reads() {
        for text in [
            "2024-02-29 23:59:59.5",
            "0001-01-01 00:00:00",
            "9999-12-31 23:59:59.999999999",
            "1969-12-31 23:59:59.000001",
            "1900-03-01 00:00:00",
        ] {
            assert_eq!(timestamp(parse(text).expect("it is a timestamp").point), text);
        }
    }
}
