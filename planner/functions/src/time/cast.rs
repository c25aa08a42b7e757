//! `cast_time(x, null_of_the_type)`: casts from and to timestamps, which the planner uses instead
//! of arrow's.
//!
//! DataFusion 55.2 (arrow 59) returns the local time of UTC if an instant becomes a timestamp
//! without zone, fails at local times that a clock change skips or repeats, reads few text formats,
//! and does not say which value is out of range. It accepts `23:59:60` as a time but cannot show
//! it, and reads `100000` as a time in nanoseconds and `1` as an interval of a month.
//!
//! `try_cast_time` returns null if `cast_time` fails. `clamp_time` returns the end of the range for
//! a timestamp out of range, for use in comparisons, whose result that does not change.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray, Time64NanosecondArray};
use datafusion::arrow::compute::kernels::cast_utils::string_to_time_nanoseconds;
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::arrow::error::ArrowError;
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use super::interval_text::normal_interval;
use super::parse::{Parsed, parse};
use super::text;
use super::unit::{Point, SECONDS_A_DAY, points, timestamps};
use super::zone::Zone;

/// What to do with a value out of the range of the type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OutOfRange {
    /// An error.
    Error,
    /// Null.
    Null,
    /// The nearest end of the range for a timestamp; an error for text.
    Clamp,
}

/// The cast function with that behavior for values out of range.
pub fn cast_time(out_of_range: OutOfRange) -> Arc<ScalarUDF> {
    static ALL: LazyLock<[Arc<ScalarUDF>; 3]> = LazyLock::new(|| {
        [OutOfRange::Error, OutOfRange::Null, OutOfRange::Clamp]
            .map(|out_of_range| Arc::new(ScalarUDF::from(CastTime::new(out_of_range))))
    });
    Arc::clone(match out_of_range {
        OutOfRange::Error => &ALL[0],
        OutOfRange::Null => &ALL[1],
        OutOfRange::Clamp => &ALL[2],
    })
}

/// True if arrow gets this cast wrong.
pub fn casts_time(from: &DataType, to: &DataType) -> bool {
    use DataType::{Date32, Interval, Time32, Time64, Timestamp};
    match (from, to) {
        (from, Timestamp(..) | Time32(_) | Time64(_) | Interval(_)) if is_text(from) => true,
        (Timestamp(_, from), Timestamp(_, to)) => from.is_some() != to.is_some(),
        (Timestamp(_, Some(_)), Date32 | Time32(_) | Time64(_)) => true,
        (Date32, Timestamp(..)) => true,
        (Timestamp(..), to) => is_text(to),
        _ => false,
    }
}

fn is_text(of: &DataType) -> bool {
    match of {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, value) => is_text(value),
        _ => false,
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CastTime {
    signature: Signature,
    out_of_range: OutOfRange,
}

impl CastTime {
    fn new(out_of_range: OutOfRange) -> Self {
        Self { signature: Signature::any(2, Volatility::Immutable), out_of_range }
    }
}

impl ScalarUDFImpl for CastTime {
    fn name(&self) -> &'static str {
        match self.out_of_range {
            OutOfRange::Error => "cast_time",
            OutOfRange::Null => "try_cast_time",
            OutOfRange::Clamp => "clamp_time",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [_, to] => Ok(to.clone()),
            _ => exec_err!("{} takes a value and a null of the type", self.name()),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let [value, to] = args.arg_fields else {
            return exec_err!("{} takes a value and a null of the type", self.name());
        };
        let nullable = value.is_nullable() || self.out_of_range == OutOfRange::Null;
        Ok(Arc::new(Field::new(self.name(), to.data_type().clone(), nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let to = args.return_field.data_type();
        match args.args.into_iter().next() {
            Some(ColumnarValue::Array(array)) => {
                Ok(ColumnarValue::Array(converted(&array, to, self.out_of_range)?))
            }
            Some(ColumnarValue::Scalar(value)) => {
                let array = converted(&value.to_array()?, to, self.out_of_range)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?))
            }
            None => exec_err!("{} takes a value and a null of the type", self.name()),
        }
    }
}

/// Casts the array to the type `to`.
pub(crate) fn converted(
    array: &ArrayRef,
    to: &DataType,
    out_of_range: OutOfRange,
) -> Result<ArrayRef> {
    let from = array.data_type().clone();
    if let DataType::Dictionary(_, value) = &from {
        let plain = datafusion::arrow::compute::cast(array, value)?;
        return converted(&plain, to, out_of_range);
    }
    match (&from, to) {
        (from, DataType::Timestamp(unit, zone)) if is_text(from) => {
            read(array, (*unit, zone.as_deref()), to, out_of_range)
        }
        (from, DataType::Time32(_) | DataType::Time64(_)) if is_text(from) => {
            let nanos = each_text::<_, Time64NanosecondArray>(array, out_of_range, time_of_day)?;
            plain_cast(&nanos, to, out_of_range)
        }
        (from, DataType::Interval(_)) if is_text(from) => {
            let read = |text: &str| Ok(interval_text(text));
            let texts = each_text::<_, StringArray>(array, out_of_range, read)?;
            plain_cast(&texts, to, out_of_range)
        }
        (DataType::Timestamp(..) | DataType::Date32, DataType::Timestamp(unit, zone)) => {
            let moved = moved(array.as_ref(), zone.as_deref())?;
            let values = moved
                .into_iter()
                .map(|point| point.map_or(Ok(None), |point| fitted(point, *unit, out_of_range)));
            timestamps(values.collect::<Result<_>>()?, to)
        }
        (DataType::Timestamp(unit, Some(_)), to) if !is_text(to) => {
            let wall = DataType::Timestamp(*unit, None);
            let local = converted(array, &wall, out_of_range)?;
            plain_cast(&local, to, out_of_range)
        }
        (DataType::Timestamp(..), to) if is_text(to) => text::texts(array, to),
        _ => plain_cast(array, to, out_of_range),
    }
}

fn plain_cast(array: &ArrayRef, to: &DataType, out_of_range: OutOfRange) -> Result<ArrayRef> {
    let options = CastOptions { safe: out_of_range == OutOfRange::Null, ..CastOptions::default() };
    Ok(cast_with_options(array, to, &options)?)
}

fn fitted(point: Point, unit: TimeUnit, out_of_range: OutOfRange) -> Result<Option<i64>> {
    match out_of_range {
        OutOfRange::Error => point.checked(unit).map(Some),
        OutOfRange::Null => Ok(point.value(unit)),
        OutOfRange::Clamp => Ok(Some(point.clamped(unit))),
    }
}

/// The points of timestamps or dates, converted from their own zone to `zone` (UTC for an instant).
fn moved(array: &dyn Array, zone: Option<&str>) -> Result<Vec<Option<Point>>> {
    let points = points(array)?;
    let from = match array.data_type() {
        DataType::Timestamp(_, zone) => zone.as_deref(),
        _ => None,
    };
    let shift: Box<dyn Fn(i64) -> Result<i64>> = match (from, zone) {
        (None, Some(to)) => {
            let to = Zone::named(to)?;
            Box::new(move |local| to.instant(local))
        }
        (Some(from), None) => {
            let from = Zone::named(from)?;
            Box::new(move |instant| from.local(instant))
        }
        _ => return Ok(points),
    };
    let shifted = points.into_iter().map(|point| match point {
        Some(point) => Ok(Some(Point { seconds: shift(point.seconds)?, ..point })),
        None => Ok(None),
    });
    shifted.collect()
}

/// Parses text as timestamps of a unit, in a zone if they are instants.
fn read(
    array: &ArrayRef,
    (unit, zone): (TimeUnit, Option<&str>),
    to: &DataType,
    out_of_range: OutOfRange,
) -> Result<ArrayRef> {
    let texts = datafusion::arrow::compute::cast(array, &DataType::Utf8)?;
    let texts: &StringArray = texts.as_string();
    let zone = zone.map(Zone::named).transpose()?;
    let mut values = Vec::with_capacity(texts.len());
    for text in texts {
        let Some(text) = text else {
            values.push(None);
            continue;
        };
        match read_one(text, zone).and_then(|point| fitted(point, unit, out_of_range)) {
            Ok(value) => values.push(value),
            Err(_) if out_of_range == OutOfRange::Null => values.push(None),
            Err(error) => return Err(error),
        }
    }
    timestamps(values, to)
}

/// Applies `read` to each text; a failure becomes null if allowed.
fn each_text<T, A: Array + FromIterator<Option<T>> + 'static>(
    array: &ArrayRef,
    out_of_range: OutOfRange,
    read: impl Fn(&str) -> Result<T>,
) -> Result<ArrayRef> {
    let texts = datafusion::arrow::compute::cast(array, &DataType::Utf8)?;
    let texts: &StringArray = texts.as_string();
    let values = texts.iter().map(|text| match text.map(&read).transpose() {
        Err(_) if out_of_range == OutOfRange::Null => Ok(None),
        read => read,
    });
    Ok(Arc::new(values.collect::<Result<A>>()?))
}

/// A time of day in nanoseconds.
fn time_of_day(text: &str) -> Result<i64> {
    let read = if text.contains(':') { string_to_time_nanoseconds(text.trim()).ok() } else { None };
    match read.filter(|nanos| *nanos < SECONDS_A_DAY * 1_000_000_000) {
        Some(nanos) => Ok(nanos),
        None => Err(ArrowError::CastError(format!(
            "cannot read \"{text}\" as a time: write it as 23:59:59"
        ))
        .into()),
    }
}

/// The text of an interval in a form that arrow reads. A plain number is seconds, as in a literal.
fn interval_text(text: &str) -> String {
    let is_number = text.trim().parse::<f64>().is_ok_and(f64::is_finite);
    if is_number {
        return format!("{} seconds", text.trim());
    }
    normal_interval(text, None).unwrap_or_else(|| text.to_owned())
}

fn read_one(text: &str, zone: Option<Zone>) -> Result<Point> {
    match parse(text) {
        Some(Parsed { point, is_instant: true, .. }) => Ok(point),
        Some(Parsed { point, zone: Some(named), .. }) => {
            let seconds = Zone::named(named)?.instant(point.seconds)?;
            Ok(Point { seconds, ..point })
        }
        Some(Parsed { point, .. }) => match zone {
            Some(zone) => Ok(Point { seconds: zone.instant(point.seconds)?, ..point }),
            None => Ok(point),
        },
        None => Err(ArrowError::CastError(format!(
            "cannot read \"{text}\" as a timestamp: write it as 2024-01-31 23:59:59"
        ))
        .into()),
    }
}
