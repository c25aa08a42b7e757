//! Formats timestamps as SQL does: `2024-01-31 23:59:59.5`, with the offset after an instant.
//!
//! DataFusion 55.2 (arrow 59) writes a `T` instead of the space.

use std::fmt::Write;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, StringBuilder};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;

use super::unit::{Point, points};
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
            // Writing to a string cannot fail.
            None => {
                let _ = write!(text, "{point}");
            }
            Some(zone) => {
                let ahead = zone.offset_at(point.seconds)?;
                let _ = write!(text, "{}", Point { seconds: point.seconds + ahead, ..point });
                write_offset(&mut text, ahead);
            }
        }
        texts.append_value(&text);
    }
    let texts: ArrayRef = Arc::new(texts.finish());
    Ok(cast(&texts, to)?)
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
