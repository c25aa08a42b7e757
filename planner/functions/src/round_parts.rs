//! `round_parts(x, null_of_the_type)`: rounds a float, or the fractions within a nested value,
//! where the target type of a cast has integers.
//!
//! DataFusion 55.2 (arrow 59) truncates fractions: `[1.5, 2.7]::INTEGER[]` was `[1, 2]`. They are
//! rounded half away from zero: `2.5` is a double here and a decimal in PostgreSQL and DuckDB,
//! which round decimals that way (and doubles half to even). The planner inserts the function below
//! such casts.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array, Float64Array, GenericListArray,
    MapArray, OffsetSizeTrait, StructArray,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, Float32Type, Float64Type};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

/// The function `round_parts`.
pub fn round_parts() -> ScalarUDF {
    ScalarUDF::from(RoundParts { signature: Signature::any(2, Volatility::Immutable) })
}

/// The type of the rounded values for a cast to `to`; `from` itself if there is nothing to round.
fn rounded_type(from: &DataType, to: &DataType) -> DataType {
    let of = |from: &FieldRef, to: &FieldRef| {
        let kind = rounded_type(from.data_type(), to.data_type());
        Arc::new(from.as_ref().clone().with_data_type(kind))
    };
    if let (Some(item), Some(to)) = (item(from), item(to)) {
        let item = of(item, to);
        return match from {
            DataType::LargeList(_) => DataType::LargeList(item),
            DataType::FixedSizeList(_, n) => DataType::FixedSizeList(item, *n),
            _ => DataType::List(item),
        };
    }
    match (from, to) {
        (DataType::Struct(fields), DataType::Struct(others)) => {
            let fields = fields.iter().enumerate();
            DataType::Struct(
                fields
                    .map(|(at, field)| match partner(field, at, others) {
                        Some(to) => of(field, to),
                        None => Arc::clone(field),
                    })
                    .collect(),
            )
        }
        (DataType::Map(entries, sorted), DataType::Map(to, _)) => {
            DataType::Map(of(entries, to), *sorted)
        }
        (from, to) if to.is_integer() => whole_type(from).unwrap_or_else(|| from.clone()),
        (from, _) => from.clone(),
    }
}

/// True if a cast from `from` to `to` rounds fractions.
pub fn rounds_parts(from: &DataType, to: &DataType) -> bool {
    match (from, to) {
        (DataType::Struct(fields), DataType::Struct(others)) => {
            fields.iter().enumerate().any(|(at, field)| {
                partner(field, at, others)
                    .is_some_and(|to| rounds_parts(field.data_type(), to.data_type()))
            })
        }
        (DataType::Map(entries, _), DataType::Map(to, _)) => {
            rounds_parts(entries.data_type(), to.data_type())
        }
        _ => match (item(from), item(to)) {
            (Some(from), Some(to)) => rounds_parts(from.data_type(), to.data_type()),
            _ => to.is_integer() && (from.is_floating() || whole_type(from).is_some()),
        },
    }
}

/// A decimal type with room for the digit that rounding may add.
pub fn whole_type(kind: &DataType) -> Option<DataType> {
    let digits = |digits: u8, scale: i8| digits.saturating_sub(scale.unsigned_abs()) + 1;
    Some(match kind {
        DataType::Decimal32(n, scale @ 1..) => DataType::Decimal32(digits(*n, *scale), 0),
        DataType::Decimal64(n, scale @ 1..) => DataType::Decimal64(digits(*n, *scale), 0),
        DataType::Decimal128(n, scale @ 1..) => DataType::Decimal128(digits(*n, *scale), 0),
        DataType::Decimal256(n, scale @ 1..) => DataType::Decimal256(digits(*n, *scale), 0),
        _ => return None,
    })
}

fn item(kind: &DataType) -> Option<&FieldRef> {
    match kind {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            Some(item)
        }
        _ => None,
    }
}

/// The field that a struct field is cast to: the one of the same name, or else at the same
/// position.
fn partner<'a>(field: &FieldRef, at: usize, others: &'a Fields) -> Option<&'a FieldRef> {
    others.iter().find(|other| other.name() == field.name()).or_else(|| others.get(at))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RoundParts {
    signature: Signature,
}

impl ScalarUDFImpl for RoundParts {
    fn name(&self) -> &'static str {
        "round_parts"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [from, to] => Ok(rounded_type(from, to)),
            _ => plan_err!("round_parts takes a value and a null of the type"),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<_> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let nullable = args.arg_fields.first().is_none_or(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name(), self.return_type(&types)?, nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let to = args.return_field.data_type();
        let target = args.args.get(1).map(ColumnarValue::data_type);
        match (args.args.first(), target) {
            (Some(ColumnarValue::Array(values)), Some(target)) => {
                Ok(ColumnarValue::Array(rounded(values, to, &target)?))
            }
            (Some(ColumnarValue::Scalar(value)), Some(target)) => {
                let array = rounded(&value.to_array()?, to, &target)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?))
            }
            _ => exec_err!("round_parts takes a value and a null of the type"),
        }
    }
}

/// `values` as `to`, their [`rounded_type`] for `target`.
fn rounded(values: &ArrayRef, to: &DataType, target: &DataType) -> Result<ArrayRef> {
    if !rounds_parts(values.data_type(), target) {
        return Ok(Arc::clone(values));
    }
    match (values.data_type(), to, target) {
        (DataType::List(_), DataType::List(item), _) => {
            of_list(values.as_list::<i32>(), item, target)
        }
        (DataType::LargeList(_), DataType::LargeList(item), _) => {
            of_list(values.as_list::<i64>(), item, target)
        }
        (DataType::FixedSizeList(..), DataType::FixedSizeList(field, n), _) => {
            let list = values.as_fixed_size_list();
            let Some(target) = item(target) else { return Ok(Arc::clone(values)) };
            let items = rounded(list.values(), field.data_type(), target.data_type())?;
            let nulls = list.nulls().cloned();
            Ok(Arc::new(FixedSizeListArray::try_new(Arc::clone(field), *n, items, nulls)?))
        }
        (DataType::Struct(from), DataType::Struct(fields), DataType::Struct(others)) => {
            let record = values.as_struct();
            let mut columns = Vec::with_capacity(fields.len());
            for (at, (column, field)) in record.columns().iter().zip(fields).enumerate() {
                columns.push(match partner(&from[at], at, others) {
                    Some(target) => rounded(column, field.data_type(), target.data_type())?,
                    None => Arc::clone(column),
                });
            }
            Ok(Arc::new(StructArray::try_new(fields.clone(), columns, record.nulls().cloned())?))
        }
        (DataType::Map(..), DataType::Map(field, _), DataType::Map(target, _)) => {
            let (_, offsets, entries, nulls, sorted) = values.as_map().clone().into_parts();
            let entries: ArrayRef = Arc::new(entries);
            let entries = rounded(&entries, field.data_type(), target.data_type())?;
            let entries = entries.as_struct().clone();
            Ok(Arc::new(MapArray::try_new(Arc::clone(field), offsets, entries, nulls, sorted)?))
        }
        _ => of_numbers(values, to),
    }
}

fn of_list<O: OffsetSizeTrait>(
    list: &GenericListArray<O>,
    field: &FieldRef,
    target: &DataType,
) -> Result<ArrayRef> {
    let (_, offsets, items, nulls) = list.clone().into_parts();
    let items = match item(target) {
        Some(target) => rounded(&items, field.data_type(), target.data_type())?,
        None => items,
    };
    Ok(Arc::new(GenericListArray::try_new(Arc::clone(field), offsets, items, nulls)?))
}

fn of_numbers(values: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    Ok(match values.data_type() {
        DataType::Float64 => {
            let whole: Float64Array = values.as_primitive::<Float64Type>().unary(f64::round);
            Arc::new(whole)
        }
        DataType::Float32 => {
            let whole: Float32Array = values.as_primitive::<Float32Type>().unary(f32::round);
            Arc::new(whole)
        }
        DataType::Float16 => {
            let wide = cast(values, &DataType::Float32)?;
            let whole: Float32Array = wide.as_primitive::<Float32Type>().unary(f32::round);
            cast(&whole, &DataType::Float16)?
        }
        // A cast of decimals rounds.
        _ => cast(values, to)?,
    })
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::ListArray;
    use datafusion::arrow::datatypes::Int64Type;

    use super::*;

    #[test]
    fn rounded_parts_are_still_needed() {
        let values = vec![Some(vec![Some(1.5), None, Some(2.7)])];
        let list: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(values));
        let target = DataType::new_list(DataType::Int64, true);
        let items = |list: &ArrayRef| {
            let cast = cast(list, &target).expect("cast");
            cast.as_list::<i32>().values().as_primitive::<Int64Type>().value(2)
        };
        assert_eq!(items(&list), 2, "arrow rounds");
        let whole = rounded(&list, &rounded_type(list.data_type(), &target), &target);
        assert_eq!(items(&whole.expect("rounded")), 3);
    }
}
