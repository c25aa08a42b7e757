//! `date_part(part, t)`, which the planner uses for EXTRACT.
//!
//! DataFusion 55.2 returns the total in the unit for an interval and for the difference of two
//! timestamps (80 minutes have 80 minutes). This function returns the fields as SQL does: hours
//! without the days, minutes without the hours. In DataFusion a year out of range of a column's
//! unit makes a comparison with it null: `extract(year from t) < 3000`. The parts `century`,
//! `decade` and `millennium` are supported, too. Everything else is DataFusion's.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{ArrayRef, AsArray, Float64Array, Int32Array, Int64Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Field, FieldRef, Int32Type, IntervalMonthDayNano, IntervalMonthDayNanoType, TimeUnit,
};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::functions::datetime::date_part::DatePartFunc;
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature,
};

use super::interval::INTERVAL;

const NANOS_A_SECOND: i64 = 1_000_000_000;

/// The function `date_part`.
pub fn date_part() -> Arc<ScalarUDF> {
    static UDF: LazyLock<Arc<ScalarUDF>> =
        LazyLock::new(|| Arc::new(ScalarUDF::from(DatePart { upstream: DatePartFunc::new() })));
    Arc::clone(&UDF)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DatePart {
    upstream: DatePartFunc,
}

impl ScalarUDFImpl for DatePart {
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
        self.upstream.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.upstream.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let part = args.scalar_arguments.first().copied().flatten().and_then(part_of);
        let Some(part) = part else {
            return plan_err!("date_part takes the name of a part, such as 'year', and a time");
        };
        let nullable = args.arg_fields.get(1).is_none_or(|field| field.is_nullable());
        let of = match part.as_str() {
            "epoch" => DataType::Float64,
            part if is_nanoseconds(part) => DataType::Int64,
            _ => DataType::Int32,
        };
        Ok(Arc::new(Field::new(self.name(), of, nullable)))
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [part, time] = args.args.as_slice() else {
            return exec_err!("date_part takes the name of a part and a time");
        };
        let ColumnarValue::Scalar(name) = part else {
            return exec_err!("the part of date_part must be a constant");
        };
        let Some(part) = part_of(name) else {
            return exec_err!("date_part takes the name of a part, such as 'year', and a time");
        };
        if matches!(time.data_type(), DataType::Interval(_) | DataType::Duration(_)) {
            return match time {
                ColumnarValue::Array(array) => {
                    Ok(ColumnarValue::Array(of_intervals(&part, array)?))
                }
                ColumnarValue::Scalar(value) => {
                    let array = of_intervals(&part, &value.to_array()?)?;
                    Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?))
                }
            };
        }
        let Some(years) = years_of(&part) else {
            args.args[0] = ColumnarValue::Scalar(ScalarValue::from(part.as_str()));
            return self.upstream.invoke_with_args(args);
        };
        args.args[0] = ColumnarValue::Scalar(ScalarValue::from("year"));
        let rows = args.number_rows;
        let year = self.upstream.invoke_with_args(args)?.into_array(rows)?;
        let of =
            year.as_primitive::<Int32Type>().unary::<_, Int32Type>(|year| many(&part, years, year));
        Ok(ColumnarValue::Array(Arc::new(of)))
    }

    fn preimage(
        &self,
        args: &[Expr],
        literal: &Expr,
        info: &SimplifyContext,
    ) -> Result<PreimageResult> {
        let image = self.upstream.preimage(args, literal, info)?;
        Ok(match image {
            PreimageResult::Range { interval, .. }
                if interval.lower().is_null() || interval.upper().is_null() =>
            {
                PreimageResult::None
            }
            other => other,
        })
    }
}

/// The name of the part, in lower case and without quotes.
fn part_of(name: &ScalarValue) -> Option<String> {
    let name = name.try_as_str().flatten()?;
    let name = name.trim_matches(|quote| quote == '\'' || quote == '"').to_lowercase();
    (!name.is_empty()).then_some(name)
}

fn is_nanoseconds(part: &str) -> bool {
    matches!(part, "nanosecond" | "nanoseconds" | "ns" | "nsec" | "nsecs" | "nsecond" | "nseconds")
}

/// The number of years in the part, if it is a multiple of years.
fn years_of(part: &str) -> Option<i32> {
    match part {
        "decade" | "decades" => Some(10),
        "century" | "centuries" => Some(100),
        "millennium" | "millenniums" | "millennia" => Some(1000),
        _ => None,
    }
}

/// The 21st century starts with 2001, decade 202 with 2020.
fn many(part: &str, years: i32, year: i32) -> i32 {
    if part.starts_with("decade") {
        year.div_euclid(years)
    } else if year > 0 {
        (year - 1) / years + 1
    } else {
        year / years - 1
    }
}

fn of_intervals(part: &str, array: &ArrayRef) -> Result<ArrayRef> {
    let intervals = match array.data_type() {
        DataType::Duration(unit) => differences(array, *unit)?,
        _ => cast(array, &INTERVAL)?,
    };
    let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>().iter();
    if part == "epoch" {
        let epochs: Float64Array = intervals.map(|interval| interval.map(epoch)).collect();
        return Ok(Arc::new(epochs));
    }
    if is_nanoseconds(part) {
        let nanos: Int64Array = intervals
            .map(|interval| interval.map(|i| i.nanoseconds % (60 * NANOS_A_SECOND)))
            .collect();
        return Ok(Arc::new(nanos));
    }
    let mut parts = Vec::with_capacity(array.len());
    for interval in intervals {
        parts.push(match interval {
            Some(interval) => Some(part_of_interval(part, interval)?),
            None => None,
        });
    }
    Ok(Arc::new(Int32Array::from(parts)))
}

/// The difference of two timestamps as an interval: days, and the rest in less than 24 hours.
fn differences(array: &ArrayRef, unit: TimeUnit) -> Result<ArrayRef> {
    let per_day = super::unit::per_second(unit) * super::unit::SECONDS_A_DAY;
    let nanos_each = NANOS_A_SECOND / super::unit::per_second(unit);
    let values = cast(array, &DataType::Int64)?;
    let values = values.as_primitive::<datafusion::arrow::datatypes::Int64Type>();
    let mut intervals = Vec::with_capacity(values.len());
    for value in values {
        intervals.push(match value {
            None => None,
            Some(value) => {
                let Ok(days) = i32::try_from(value / per_day) else {
                    return exec_err!("a difference of {} days is too long", value / per_day);
                };
                let nanoseconds = value % per_day * nanos_each;
                Some(IntervalMonthDayNano { months: 0, days, nanoseconds })
            }
        });
    }
    Ok(Arc::new(datafusion::arrow::array::PrimitiveArray::<IntervalMonthDayNanoType>::from(
        intervals,
    )))
}

/// The total in seconds; as in PostgreSQL a year has 365.25 days, and a month beyond whole years
/// 30.
fn epoch(interval: IntervalMonthDayNano) -> f64 {
    let IntervalMonthDayNano { months, days, nanoseconds } = interval;
    let days = f64::from(months / 12) * 365.25 + f64::from(months % 12 * 30) + f64::from(days);
    // Intervals whose nanoseconds do not fit into 53 bits are longer than 100 days; losing one is
    // fine.
    let seconds = nanoseconds as f64 / 1e9;
    days * 86_400.0 + seconds
}

fn part_of_interval(part: &str, interval: IntervalMonthDayNano) -> Result<i32> {
    let IntervalMonthDayNano { months, days, nanoseconds } = interval;
    let of_minute = nanoseconds % (60 * NANOS_A_SECOND);
    let part = match part {
        "year" | "years" | "y" | "yr" | "yrs" => i64::from(months / 12),
        "decade" | "decades" => i64::from(months / 120),
        "century" | "centuries" => i64::from(months / 1200),
        "millennium" | "millenniums" | "millennia" => i64::from(months / 12_000),
        "quarter" | "quarters" | "qtr" => i64::from(months % 12 / 3 + 1),
        "month" | "months" | "mon" | "mons" => i64::from(months % 12),
        "week" | "weeks" | "w" => i64::from(days / 7),
        "day" | "days" | "d" => i64::from(days),
        "hour" | "hours" | "h" | "hr" | "hrs" => nanoseconds / (3600 * NANOS_A_SECOND),
        "minute" | "minutes" | "m" | "min" | "mins" => nanoseconds / (60 * NANOS_A_SECOND) % 60,
        "second" | "seconds" | "s" | "sec" | "secs" => of_minute / NANOS_A_SECOND,
        "millisecond" | "milliseconds" | "ms" | "msec" | "msecs" | "msecond" | "mseconds" => {
            of_minute / 1_000_000
        }
        "microsecond" | "microseconds" | "us" | "usec" | "usecs" | "usecond" | "useconds" => {
            of_minute / 1_000
        }
        other => return exec_err!("an interval does not have the part \"{other}\""),
    };
    match i32::try_from(part) {
        Ok(part) => Ok(part),
        Err(_) => exec_err!("{part} is out of range for a part of an interval"),
    }
}
