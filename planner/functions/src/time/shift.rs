//! `shift_time(t, interval)`: adds an interval to an instant; the planner uses it for `+` and `-`.
//!
//! Adding months or days keeps the local time in the zone; hours and smaller units are exact
//! durations. DataFusion 55.2 (arrow 59) fails if a clock change skips the resulting local time.

use std::sync::{Arc, LazyLock};

use chrono::{DateTime, Months};
use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Field, FieldRef, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use super::unit::{Point, SECONDS_A_DAY, points, timestamps};
use super::zone::Zone;

const NANOS_A_SECOND: i64 = 1_000_000_000;

/// The function `shift_time`.
pub fn shift_time() -> Arc<ScalarUDF> {
    static UDF: LazyLock<Arc<ScalarUDF>> =
        LazyLock::new(|| Arc::new(ScalarUDF::from(ShiftTime::new())));
    Arc::clone(&UDF)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ShiftTime {
    signature: Signature,
}

impl ShiftTime {
    fn new() -> Self {
        Self { signature: Signature::any(2, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for ShiftTime {
    fn name(&self) -> &'static str {
        "shift_time"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [time @ DataType::Timestamp(..), _] => Ok(time.clone()),
            _ => plan_err!("shift_time takes a timestamp and an interval"),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<_> = args.arg_fields.iter().map(|f| f.data_type().clone()).collect();
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name(), self.return_type(&types)?, nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scalars = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if scalars { 1 } else { args.number_rows };
        let [time, interval] = args.args.as_slice() else {
            return exec_err!("shift_time takes a timestamp and an interval");
        };
        let shifted = shifted(&time.to_array(rows)?, &interval.to_array(rows)?)?;
        Ok(if scalars {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&shifted, 0)?)
        } else {
            ColumnarValue::Array(shifted)
        })
    }
}

fn shifted(time: &ArrayRef, by: &ArrayRef) -> Result<ArrayRef> {
    let DataType::Timestamp(unit, zone) = time.data_type() else {
        return exec_err!("shift_time takes a timestamp and an interval");
    };
    let zone = zone.as_deref().map(Zone::named).transpose()?;
    let by = cast(by, &DataType::Interval(IntervalUnit::MonthDayNano))?;
    let by = by.as_primitive::<IntervalMonthDayNanoType>();
    let mut values = Vec::with_capacity(time.len());
    for (point, by) in points(time)?.into_iter().zip(by) {
        values.push(match (point, by) {
            (Some(point), Some(by)) => Some(shift(point, by, zone)?.checked(*unit)?),
            _ => None,
        });
    }
    timestamps(values, time.data_type())
}

fn shift(point: Point, by: IntervalMonthDayNano, zone: Option<Zone>) -> Result<Point> {
    let IntervalMonthDayNano { months, days, nanoseconds } = by;
    let mut seconds = point.seconds;
    if months != 0 || days != 0 {
        let local = zone.map_or(Ok(seconds), |zone| zone.local(seconds))?;
        let local = months_later(local, months)? + i64::from(days) * SECONDS_A_DAY;
        seconds = zone.map_or(Ok(local), |zone| zone.instant(local))?;
    }
    let nanos = i64::from(point.nanos) + nanoseconds % NANOS_A_SECOND;
    seconds += nanoseconds / NANOS_A_SECOND + nanos.div_euclid(NANOS_A_SECOND);
    let nanos = nanos.rem_euclid(NANOS_A_SECOND);
    Ok(Point { seconds, nanos: u32::try_from(nanos).unwrap_or(0) })
}

fn months_later(local: i64, months: i32) -> Result<i64> {
    let by = Months::new(months.unsigned_abs());
    let later = DateTime::from_timestamp(local, 0).and_then(|time| {
        if months < 0 { time.checked_sub_months(by) } else { time.checked_add_months(by) }
    });
    match later {
        Some(time) => Ok(time.timestamp()),
        None => exec_err!(
            "{} and {months} months is too far from 1970",
            Point { seconds: local, nanos: 0 }
        ),
    }
}
