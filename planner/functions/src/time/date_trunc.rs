//! `date_trunc(precision, t)` for every year.
//!
//! DataFusion 55.2 computes in nanoseconds, which end in the year 2262, whatever the unit of `t`,
//! and turns a date into nanoseconds. Here the values that it cannot compute, and local times
//! around a clock change, are computed in seconds, and a date becomes microseconds. The precisions
//! `decade`, `century` and `millennium` are supported, too. DataFusion also computes a constant
//! differently from a column, and rounds fractions of a second before 1970: here everything is
//! computed as a column, and this function truncates to `millisecond` and `microsecond`.

use std::sync::Arc;

use chrono::{DateTime, Datelike, NaiveDate};
use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::{DataType, FieldRef, TimeUnit};
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, exec_err, plan_err};
use datafusion::functions::datetime::date_trunc::DateTruncFunc;
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};

use super::unit::{Point, SECONDS_A_DAY, points, timestamps};
use super::zone::Zone;

/// The function `date_trunc`.
pub(crate) fn date_trunc() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(DateTrunc {
        upstream: DateTruncFunc::new(),
        signature: Signature::user_defined(Volatility::Immutable),
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DateTrunc {
    upstream: DateTruncFunc,
    signature: Signature,
}

impl ScalarUDFImpl for DateTrunc {
    fn name(&self) -> &str {
        self.upstream.name()
    }

    fn aliases(&self) -> &[String] {
        self.upstream.aliases()
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.upstream.documentation()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [precision, time] = types else {
            return plan_err!("date_trunc takes a precision, such as 'month', and a timestamp");
        };
        if matches!(precision, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64) {
            return plan_err!(
                "date_trunc takes the precision first, and then the timestamp: \
                 date_trunc('month', t)"
            );
        }
        let precision = match precision {
            DataType::LargeUtf8 | DataType::Utf8View => precision.clone(),
            _ => DataType::Utf8,
        };
        let time = match time {
            DataType::Date32 | DataType::Date64 => DataType::Timestamp(TimeUnit::Microsecond, None),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => {
                DataType::Timestamp(TimeUnit::Nanosecond, None)
            }
            DataType::Timestamp(..) | DataType::Time32(_) | DataType::Time64(_) => time.clone(),
            other => return plan_err!("date_trunc takes a timestamp, not {other}"),
        };
        Ok(vec![precision, time])
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.upstream.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.upstream.return_field_from_args(args)
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.upstream.output_ordering(inputs)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [precision, time] = args.args.as_slice() else {
            return exec_err!("date_trunc takes a precision and a timestamp");
        };
        let ColumnarValue::Scalar(precision) = precision else {
            return exec_err!("the precision of date_trunc must be a constant");
        };
        let Some(precision) = precision.try_as_str().flatten().map(str::to_lowercase) else {
            return exec_err!("the precision of date_trunc must be a text, such as 'month'");
        };
        let scalar = matches!(time, ColumnarValue::Scalar(_));
        let array = time.to_array(if scalar { 1 } else { args.number_rows })?;
        let found = if is_ours(&precision, array.data_type()) {
            truncated(&precision, &array)?.ok_or_else(|| not_a_precision(&precision))?
        } else {
            let name = args.args[0].clone();
            let column = ColumnarValue::Array(Arc::clone(&array));
            let (columns, number_rows) = (vec![name, column], array.len());
            match self.upstream.invoke_with_args(ScalarFunctionArgs {
                args: columns,
                number_rows,
                ..args
            }) {
                Ok(truncated) => truncated.into_array(number_rows)?,
                Err(error) => truncated(&precision, &array)?.ok_or(error)?,
            }
        };
        Ok(if scalar {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&found, 0)?)
        } else {
            ColumnarValue::Array(found)
        })
    }
}

/// True if DataFusion does not support the precision, or computes it wrongly.
fn is_ours(precision: &str, of: &DataType) -> bool {
    match precision {
        "decade" | "century" | "millennium" => true,
        "millisecond" | "microsecond" => matches!(of, DataType::Timestamp(..)),
        _ => false,
    }
}

fn not_a_precision(precision: &str) -> datafusion::error::DataFusionError {
    exec_datafusion_err!("date_trunc does not support the precision '{precision}' for this type")
}

/// `None` if it is not a precision of timestamps.
fn truncated(precision: &str, array: &ArrayRef) -> Result<Option<ArrayRef>> {
    let DataType::Timestamp(unit, zone) = array.data_type() else { return Ok(None) };
    let zone = zone.as_deref().map(Zone::named).transpose()?;
    let mut values = Vec::with_capacity(array.len());
    for point in points(array)? {
        let Some(point) = point else {
            values.push(None);
            continue;
        };
        let local = zone.map_or(Ok(point.seconds), |zone| zone.local(point.seconds))?;
        let nanos = match precision {
            "millisecond" => point.nanos - point.nanos % 1_000_000,
            "microsecond" => point.nanos - point.nanos % 1_000,
            _ => 0,
        };
        if matches!(precision, "millisecond" | "microsecond") {
            values.push(Some(Point { nanos, ..point }.checked(*unit)?));
            continue;
        }
        let Some(local) = floor(precision, local) else { return Ok(None) };
        let seconds = zone.map_or(Ok(local), |zone| zone.instant(local))?;
        values.push(Some(Point { seconds, nanos: 0 }.checked(*unit)?));
    }
    Ok(Some(timestamps(values, array.data_type())?))
}

/// The start of the period that contains the local time.
fn floor(precision: &str, local: i64) -> Option<i64> {
    let seconds = match precision {
        "second" => return Some(local),
        "minute" => 60,
        "hour" => 3600,
        "day" => SECONDS_A_DAY,
        _ => 0,
    };
    if seconds > 0 {
        return Some(local - local.rem_euclid(seconds));
    }
    let date = DateTime::from_timestamp(local, 0)?.date_naive();
    let year = date.year();
    let first = |year: i32, month: u32| NaiveDate::from_ymd_opt(year, month, 1);
    // Centuries and millennia start with the years 1, 101, ...
    let many = |years: i32| (year - 1).div_euclid(years) * years + 1;
    let begin = match precision {
        "week" => {
            let days = chrono::Days::new(u64::from(date.weekday().num_days_from_monday()));
            date.checked_sub_days(days)
        }
        "month" => first(year, date.month()),
        "quarter" => first(year, date.month0() / 3 * 3 + 1),
        "year" => first(year, 1),
        "decade" => first(year.div_euclid(10) * 10, 1),
        "century" => first(many(100), 1),
        "millennium" => first(many(1000), 1),
        _ => None,
    };
    Some(begin?.and_hms_opt(0, 0, 0)?.and_utc().timestamp())
}
