//! `at_time_zone(t, zone)`: the function that the planner uses for `t AT TIME ZONE zone`.
//!
//! DataFusion 55.2 casts to a timestamp with the zone. For an instant that only changes how it is
//! shown; in SQL the result is the local time in the zone, without zone. DataFusion also refuses a
//! zone that is not a literal.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use super::cast::{OutOfRange, converted};
use super::unit::{Point, points, timestamps};
use super::zone::Zone;

/// The function `at_time_zone`.
pub(crate) fn at_time_zone() -> Arc<ScalarUDF> {
    static UDF: LazyLock<Arc<ScalarUDF>> =
        LazyLock::new(|| Arc::new(ScalarUDF::from(AtTimeZone::new())));
    Arc::clone(&UDF)
}

/// The function `instant_of`: reads a timestamp without zone as UTC; instants pass unchanged.
pub fn instant_of() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(InstantOf::new("instant_of")))
}

/// The name of a function that does the same. Its argument is a cast to a type without a precision:
/// the planner gives it the unit of the value.
pub const INSTANT_OF_ANY: &str = "instant_of_any";

/// The function of that name.
pub(crate) fn instant_of_any() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(InstantOf::new(INSTANT_OF_ANY)))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct InstantOf {
    name: &'static str,
    signature: Signature,
}

impl InstantOf {
    fn new(name: &'static str) -> Self {
        Self { name, signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for InstantOf {
    fn name(&self) -> &'static str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [DataType::Timestamp(unit, None)] => Ok(DataType::Timestamp(*unit, Some("UTC".into()))),
            [instant @ DataType::Timestamp(..)] => Ok(instant.clone()),
            _ => plan_err!("instant_of takes a timestamp"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let to = args.return_field.data_type();
        match args.args.into_iter().next() {
            Some(ColumnarValue::Array(array)) => Ok(ColumnarValue::Array(cast(&array, to)?)),
            Some(ColumnarValue::Scalar(value)) => Ok(ColumnarValue::Scalar(value.cast_to(to)?)),
            None => exec_err!("instant_of takes a timestamp"),
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct AtTimeZone {
    signature: Signature,
}

impl AtTimeZone {
    fn new() -> Self {
        Self { signature: Signature::any(2, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for AtTimeZone {
    fn name(&self) -> &'static str {
        "at_time_zone"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        exec_err!("the type of AT TIME ZONE depends on the zone")
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let [time, zone] = args.arg_fields else {
            return plan_err!("AT TIME ZONE takes a timestamp and a zone");
        };
        let literal = args.scalar_arguments.get(1).copied().flatten();
        let of = match time.data_type() {
            DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, None),
            DataType::Timestamp(unit, None) => instants(*unit, literal),
            DataType::Date32 | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                instants(TimeUnit::Microsecond, literal)
            }
            other => return plan_err!("AT TIME ZONE takes a timestamp, not {other}"),
        };
        let nullable = time.is_nullable() || zone.is_nullable();
        Ok(Arc::new(Field::new(self.name(), of, nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let to = args.return_field.data_type();
        let [time, zone] = args.args.as_slice() else {
            return exec_err!("AT TIME ZONE takes a timestamp and a zone");
        };
        if let (ColumnarValue::Scalar(time), ColumnarValue::Scalar(zone)) = (time, zone) {
            let moved = moved(&time.to_array()?, &zone.to_array()?, to)?;
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&moved, 0)?));
        }
        let time = time.to_array(args.number_rows)?;
        let moved = match zone {
            ColumnarValue::Scalar(zone) => moved(&time, &zone.to_array()?, to)?,
            ColumnarValue::Array(zones) => moved(&time, zones, to)?,
        };
        Ok(ColumnarValue::Array(moved))
    }
}

/// The type of instants shown in the zone, or in UTC if each row has its own zone.
fn instants(unit: TimeUnit, zone: Option<&ScalarValue>) -> DataType {
    let zone = zone.and_then(|zone| zone.try_as_str().flatten()).unwrap_or("UTC");
    DataType::Timestamp(unit, Some(zone.into()))
}

/// `zones` has one zone for all rows, or one per row.
fn moved(time: &ArrayRef, zones: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let DataType::Timestamp(unit, to_zone) = to else {
        return exec_err!("AT TIME ZONE gives a timestamp, not {to}");
    };
    let time = match time.data_type() {
        DataType::Timestamp(..) | DataType::Date32 => Arc::clone(time),
        _ => converted(time, &DataType::Timestamp(*unit, None), OutOfRange::Error)?,
    };
    let zones = cast(zones, &DataType::Utf8)?;
    let zones = zones.as_string::<i32>();
    let mut known: Option<(&str, Zone)> = None;
    let mut values = Vec::with_capacity(time.len());
    for (row, point) in points(&time)?.into_iter().enumerate() {
        let at = if zones.len() == 1 { 0 } else { row };
        let (Some(point), false) = (point, zones.is_null(at)) else {
            values.push(None);
            continue;
        };
        let name = zones.value(at);
        let zone = match known {
            Some((of, zone)) if of == name => zone,
            _ => known.insert((name, Zone::named(name)?)).1,
        };
        let seconds = match to_zone {
            Some(_) => zone.instant(point.seconds)?,
            None => zone.local(point.seconds)?,
        };
        values.push(Some(Point { seconds, ..point }.checked(*unit)?));
    }
    timestamps(values, to)
}
