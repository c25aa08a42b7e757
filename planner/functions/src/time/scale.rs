//! `scale_interval(interval, n)` and `divide_interval(interval, n)`, which the planner uses for `*`
//! and `/`.
//!
//! DataFusion 55.2 refuses `2 * INTERVAL '1 week'`. As in PostgreSQL, a fraction of a month carries
//! over to days (30 to a month), and a fraction of a day to hours.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Float64Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType,
};
use datafusion::common::{Result, exec_datafusion_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::interval::INTERVAL;

const DAYS_A_MONTH: f64 = 30.0;
const NANOS_A_DAY: f64 = 86_400e9;

/// The operation on the interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scale {
    /// `*`.
    Multiply,
    /// `/`.
    Divide,
}

/// The function for the operation. It takes an interval and a BIGINT or a DOUBLE.
pub fn scale_interval(scale: Scale) -> Arc<ScalarUDF> {
    static ALL: LazyLock<[Arc<ScalarUDF>; 2]> = LazyLock::new(|| {
        [Scale::Multiply, Scale::Divide]
            .map(|scale| Arc::new(ScalarUDF::from(ScaleInterval::new(scale))))
    });
    Arc::clone(match scale {
        Scale::Multiply => &ALL[0],
        Scale::Divide => &ALL[1],
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ScaleInterval {
    signature: Signature,
    scale: Scale,
}

impl ScaleInterval {
    fn new(scale: Scale) -> Self {
        Self { signature: Signature::any(2, Volatility::Immutable), scale }
    }
}

impl ScalarUDFImpl for ScaleInterval {
    fn name(&self) -> &'static str {
        match self.scale {
            Scale::Multiply => "scale_interval",
            Scale::Divide => "divide_interval",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [DataType::Interval(_) | DataType::Null, _] => Ok(INTERVAL),
            _ => plan_err!("{} takes an interval and a number", self.name()),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let intervals = cast(&arrays[0], &INTERVAL)?;
        let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>();
        let scaled: PrimitiveArray<IntervalMonthDayNanoType> = match arrays[1].data_type() {
            // A number out of range for BIGINT is too large for all but tiny intervals.
            of if of.is_integer() && *of != DataType::UInt64 && self.scale == Scale::Multiply => {
                let factors = cast(&arrays[1], &DataType::Int64)?;
                let factors = factors.as_primitive::<Int64Type>();
                rows(intervals.iter().zip(factors), times)?
            }
            _ => {
                let factors = cast(&arrays[1], &DataType::Float64)?;
                let factors = factors.as_primitive::<Float64Type>();
                rows(intervals.iter().zip(factors), |interval, n| {
                    by_float(self.scale, interval, n)
                })?
            }
        };
        let scaled: ArrayRef = Arc::new(scaled);
        if scalar {
            return Ok(ColumnarValue::Scalar(datafusion::common::ScalarValue::try_from_array(
                &scaled, 0,
            )?));
        }
        Ok(ColumnarValue::Array(scaled))
    }
}

fn rows<T>(
    pairs: impl Iterator<Item = (Option<IntervalMonthDayNano>, Option<T>)>,
    scaled: impl Fn(IntervalMonthDayNano, T) -> Option<IntervalMonthDayNano>,
) -> Result<PrimitiveArray<IntervalMonthDayNanoType>> {
    pairs
        .map(|pair| match pair {
            (Some(interval), Some(n)) => match scaled(interval, n) {
                Some(scaled) => Ok(Some(scaled)),
                None => {
                    Err(exec_datafusion_err!("the result of interval arithmetic is out of range"))
                }
            },
            _ => Ok(None),
        })
        .collect()
}

fn times(of: IntervalMonthDayNano, n: i64) -> Option<IntervalMonthDayNano> {
    let narrow = i32::try_from(n).ok();
    let part = |part: i32| if part == 0 { Some(0) } else { part.checked_mul(narrow?) };
    Some(IntervalMonthDayNano::new(
        part(of.months)?,
        part(of.days)?,
        of.nanoseconds.checked_mul(n)?,
    ))
}

pub(crate) fn by_float(
    scale: Scale,
    of: IntervalMonthDayNano,
    n: f64,
) -> Option<IntervalMonthDayNano> {
    let scaled = |part: f64| match scale {
        Scale::Multiply => part * n,
        Scale::Divide => part / n,
    };
    let (months, rest) = split(scaled(f64::from(of.months)));
    let (days, rest) = split(scaled(f64::from(of.days)) + rest * DAYS_A_MONTH);
    // Rounded to microseconds, PostgreSQL's precision; smaller digits are arithmetic noise.
    let micros = (scaled(of.nanoseconds as f64) + rest * NANOS_A_DAY) / 1000.0;
    let nanos = micros.round() * 1000.0;
    let fits = months.abs() <= f64::from(i32::MAX)
        && days.abs() <= f64::from(i32::MAX)
        && nanos.abs() < i64::MAX as f64;
    fits.then(|| IntervalMonthDayNano::new(months as i32, days as i32, nanos as i64))
}

/// The whole part and the rest; a rest that is arithmetic noise becomes zero.
fn split(value: f64) -> (f64, f64) {
    let nearest = value.round();
    if (value - nearest).abs() < 1e-9 {
        return (nearest, 0.0);
    }
    (value.trunc(), value.fract())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_go_to_the_smaller_parts() {
        let month = IntervalMonthDayNano::new(1, 0, 0);
        assert_eq!(by_float(Scale::Divide, month, 2.0), Some(IntervalMonthDayNano::new(0, 15, 0)));
        let three = IntervalMonthDayNano::new(0, 3, 0);
        assert_eq!(by_float(Scale::Divide, three, 3.0), Some(IntervalMonthDayNano::new(0, 1, 0)));
        let half = IntervalMonthDayNano::new(0, 0, 43_200_000_000_000);
        let day = IntervalMonthDayNano::new(0, 1, 0);
        assert_eq!(by_float(Scale::Multiply, day, 0.5), Some(half));
        assert_eq!(by_float(Scale::Divide, day, 0.0), None);
    }

    #[test]
    fn whole_numbers_are_exact_and_fit_or_fail() {
        let of = IntervalMonthDayNano::new(1, -2, 3);
        assert_eq!(times(of, -2), Some(IntervalMonthDayNano::new(-2, 4, -6)));
        assert_eq!(times(of, i64::from(i32::MAX) + 1), None);
    }
}
