//! Decides which column types an argument accepts, and what they are cast to.
//!
//! Lossless conversions are allowed, as everywhere in SQL: integers to floats, dates to timestamps,
//! text of any encoding. Literals have one type each (`1` is an `Int64`, `'2013-01-01'` a text), so
//! integers may also become narrower ones, floats decimals, and texts dates: by casts that fail if
//! the value does not fit, and never change it.

use std::sync::Arc;

use arrow::datatypes::DataType::{
    Binary, BinaryView, Date32, Date64, Decimal128, Decimal256, Dictionary, Duration,
    FixedSizeBinary, FixedSizeList, Float16, Float32, Float64, LargeBinary, LargeList,
    LargeListView, LargeUtf8, List, ListView, Null, Struct, Time32, Time64, Timestamp, Utf8,
    Utf8View,
};
use arrow::datatypes::{DataType, FieldRef, Fields};
use datafusion::common::{Result, plan_err};

use crate::pipeline::udf::function::Udf;

/// The types that `given` argument types are cast to for a function.
pub(super) fn coerced(udf: &Udf, wanted: &[DataType], given: &[DataType]) -> Result<Vec<DataType>> {
    let name = udf.name;
    if wanted.len() != given.len() {
        return plan_err!(
            "{name} has {} arguments ({}), not {}",
            wanted.len(),
            listed(wanted),
            given.len()
        );
    }
    let mut types = Vec::new();
    for (n, (wanted, given)) in wanted.iter().zip(given).enumerate() {
        match one(wanted, given) {
            Some(coerced) => types.push(coerced),
            None => {
                return plan_err!(
                    "argument {} of {name} has the type {given}, but the function takes {wanted}",
                    n + 1
                );
            }
        }
    }
    Ok(types)
}

fn listed(types: &[DataType]) -> String {
    types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The type that a column of the type `given` is cast to for an argument of the type `wanted`.
/// Field names and nulls within lists and structs stay: they are checked when the column is opened.
fn one(wanted: &DataType, given: &DataType) -> Option<DataType> {
    match (wanted, given) {
        (wanted, given) if wanted == given => Some(given.clone()),
        (wanted, Null) => Some(wanted.clone()),
        (Dictionary(_, text), given) if is_text(given) && is_text(text) => Some(wanted.clone()),
        (wanted, Dictionary(_, values)) => {
            // A dictionary is always cast to its values, even if they have the right type.
            one(wanted, values)
        }
        (
            List(item),
            List(found)
            | LargeList(found)
            | FixedSizeList(found, _)
            | ListView(found)
            | LargeListView(found),
        ) => Some(List(within(item, found)?)),
        (FixedSizeList(item, size), FixedSizeList(found, other)) if size == other => {
            Some(FixedSizeList(within(item, found)?, *size))
        }
        (FixedSizeList(item, size), List(found) | LargeList(found)) => {
            Some(FixedSizeList(within(item, found)?, *size))
        }
        (Struct(fields), Struct(found)) => structs(fields, found),
        (wanted, given) => is_converted(wanted, given).then(|| wanted.clone()),
    }
}

fn within(wanted: &FieldRef, found: &FieldRef) -> Option<FieldRef> {
    let item = one(wanted.data_type(), found.data_type())?;
    Some(Arc::new(found.as_ref().clone().with_data_type(item)))
}

fn structs(wanted: &Fields, found: &Fields) -> Option<DataType> {
    if wanted.len() != found.len() {
        return None;
    }
    let pairs = wanted.iter().zip(found);
    let fields = pairs.map(|(wanted, found)| {
        (wanted.name() == found.name()).then(|| within(wanted, found)).flatten()
    });
    Some(Struct(fields.collect::<Option<Fields>>()?))
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        Utf8 | LargeUtf8 | Utf8View => true,
        Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

fn is_converted(wanted: &DataType, given: &DataType) -> bool {
    match wanted {
        wanted if wanted.is_integer() => given.is_integer(),
        Float32 | Float64 => {
            given.is_integer()
                || matches!(given, Float16 | Float32 | Float64 | Decimal128(..) | Decimal256(..))
        }
        Decimal128(..) => {
            given.is_integer()
                || matches!(given, Float32 | Float64 | Decimal128(..) | Decimal256(..))
        }
        Utf8View => is_text(given),
        BinaryView => is_text(given) || matches!(given, Binary | LargeBinary | FixedSizeBinary(_)),
        Date32 => is_text(given) || matches!(given, Date64),
        Timestamp(_, None) => {
            is_text(given) || matches!(given, Date32 | Date64 | Timestamp(_, None))
        }
        Timestamp(_, Some(_)) => is_text(given) || matches!(given, Date32 | Date64 | Timestamp(..)),
        Time64(_) => is_text(given) || matches!(given, Time32(_) | Time64(_)),
        Duration(_) => matches!(given, Duration(_)),
        _ => false,
    }
}
