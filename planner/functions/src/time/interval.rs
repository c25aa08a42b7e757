//! `justify_interval(i)`, `justify_days(i)` and `justify_hours(i)`, as in PostgreSQL.
//!
//! DataFusion 55.2 (arrow 59) compares, sorts and groups intervals by months, then days, then
//! nanoseconds: 24 hours are not a day, and 30 days are less than a month. In SQL a day has 24
//! hours there, and a month 30 days. The planner compares, sorts and groups by
//! `justify_interval(i)`, which normalizes equal intervals to one form, and whose order field by
//! field is correct.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{ArrayRef, AsArray, PrimitiveArray};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{
    DataType, Field, FieldRef, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
};
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

const NANOS_A_DAY: i128 = 86_400_000_000_000;
const DAYS_A_MONTH: i128 = 30;

/// The interval type with all fields.
pub(crate) const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

/// What is carried to the next field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Carry {
    /// Hours to days and days to months.
    All,
    /// Days to months.
    Days,
    /// Hours to days.
    Hours,
}

/// The function with this carry.
pub fn justify(carry: Carry) -> Arc<ScalarUDF> {
    static ALL: LazyLock<[Arc<ScalarUDF>; 3]> = LazyLock::new(|| {
        [Carry::All, Carry::Days, Carry::Hours]
            .map(|carry| Arc::new(ScalarUDF::from(Justify::new(carry))))
    });
    Arc::clone(match carry {
        Carry::All => &ALL[0],
        Carry::Days => &ALL[1],
        Carry::Hours => &ALL[2],
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Justify {
    signature: Signature,
    carry: Carry,
}

impl Justify {
    fn new(carry: Carry) -> Self {
        Self { signature: Signature::any(1, Volatility::Immutable), carry }
    }
}

impl ScalarUDFImpl for Justify {
    fn name(&self) -> &'static str {
        match self.carry {
            Carry::All => "justify_interval",
            Carry::Days => "justify_days",
            Carry::Hours => "justify_hours",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [
                DataType::Interval(_)
                | DataType::Duration(_)
                | DataType::Null
                | DataType::Utf8
                | DataType::LargeUtf8
                | DataType::Utf8View,
            ] => Ok(INTERVAL),
            [other] => plan_err!("{} takes an interval, not {other}", self.name()),
            _ => plan_err!("{} takes an interval", self.name()),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let [of] = args.arg_fields else {
            return plan_err!("{} takes an interval", self.name());
        };
        let to = self.return_type(&[of.data_type().clone()])?;
        Ok(Arc::new(Field::new(self.name(), to, of.is_nullable())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.into_iter().next() {
            Some(ColumnarValue::Array(array)) => {
                Ok(ColumnarValue::Array(justified(&array, self.carry)?))
            }
            Some(ColumnarValue::Scalar(value)) => {
                let array = justified(&value.to_array()?, self.carry)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?))
            }
            None => exec_err!("{} takes an interval", self.name()),
        }
    }
}

fn justified(array: &ArrayRef, carry: Carry) -> Result<ArrayRef> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let array = match array.data_type() {
        DataType::Duration(_) => return durations(array),
        _ => cast_with_options(array, &INTERVAL, &options)?,
    };
    let array = array.as_primitive::<IntervalMonthDayNanoType>();
    let justified: PrimitiveArray<IntervalMonthDayNanoType> =
        array.try_unary(|interval| carried(interval, carry))?;
    Ok(Arc::new(justified))
}

/// The difference of two timestamps, with days of 24 hours and no months.
fn durations(array: &ArrayRef) -> Result<ArrayRef> {
    let DataType::Duration(unit) = array.data_type() else {
        return exec_err!("{} is not a duration", array.data_type());
    };
    let nanos_each = i128::from(1_000_000_000 / super::unit::per_second(*unit));
    let values = datafusion::arrow::compute::cast(array, &DataType::Int64)?;
    let values = values.as_primitive::<datafusion::arrow::datatypes::Int64Type>();
    let intervals: PrimitiveArray<IntervalMonthDayNanoType> =
        values.try_unary(|value| of_total(i128::from(value) * nanos_each, true))?;
    Ok(Arc::new(intervals))
}

fn carried(interval: IntervalMonthDayNano, carry: Carry) -> Result<IntervalMonthDayNano> {
    let IntervalMonthDayNano { months, days, nanoseconds } = interval;
    let (months, days, nanos) = (i128::from(months), i128::from(days), i128::from(nanoseconds));
    match carry {
        Carry::All => of_total((months * DAYS_A_MONTH + days) * NANOS_A_DAY + nanos, true),
        Carry::Hours => {
            let rest = of_total(days * NANOS_A_DAY + nanos, false)?;
            Ok(IntervalMonthDayNano { months: interval.months, ..rest })
        }
        Carry::Days => {
            let rest = of_total((months * DAYS_A_MONTH + days) * NANOS_A_DAY, true)?;
            Ok(IntervalMonthDayNano { nanoseconds, ..rest })
        }
    }
}

/// All fields have the sign of the total, so that they compare like totals.
fn of_total(nanos: i128, months: bool) -> Result<IntervalMonthDayNano> {
    let (mut days, nanos) = (nanos / NANOS_A_DAY, nanos % NANOS_A_DAY);
    let mut of_days = 0;
    if months {
        of_days = days / DAYS_A_MONTH;
        days %= DAYS_A_MONTH;
    }
    let fits = || {
        Some(IntervalMonthDayNano {
            months: i32::try_from(of_days).ok()?,
            days: i32::try_from(days).ok()?,
            nanoseconds: i64::try_from(nanos).ok()?,
        })
    };
    fits().ok_or_else(|| exec_datafusion_err!("an interval of {days} days is too long"))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::IntervalMonthDayNano;

    use super::{Carry, carried};

    const HOUR: i64 = 3_600_000_000_000;

    fn justified(months: i32, days: i32, nanoseconds: i64) -> (i32, i32, i64) {
        let interval = IntervalMonthDayNano { months, days, nanoseconds };
        let carried = carried(interval, Carry::All).expect("it fits");
        (carried.months, carried.days, carried.nanoseconds)
    }

    #[test]
    fn equal_intervals_become_the_same() {
        assert_eq!(justified(0, 0, 24 * HOUR), (0, 1, 0));
        assert_eq!(justified(0, 1, 0), (0, 1, 0));
        assert_eq!(justified(1, 0, 0), justified(0, 29, 24 * HOUR));
        assert_eq!(justified(0, -1, HOUR), (0, 0, -23 * HOUR));
    }

    #[test]
    fn parts_compare_as_totals() {
        let ordered = [
            justified(-1, 0, 0),
            justified(0, -1, 0),
            justified(0, 0, -HOUR),
            justified(0, 0, 25 * HOUR),
            justified(1, -1, 0),
            justified(0, 29, HOUR),
            justified(1, 0, 0),
        ];
        assert!(ordered.is_sorted(), "{ordered:?}");
    }
}
