//! Values of several types as one: a union of numbers is the number that holds all of them, of
//! other types that have no common one it is text. What is of no type (null) is text without a
//! value.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, ListArray, MapArray, RecordBatch, RecordBatchOptions, StructArray,
    UnionArray, new_null_array,
};
use datafusion::arrow::compute::{CastOptions, can_cast_types, cast_with_options, interleave};
use datafusion::arrow::datatypes::{
    DataType, Field, FieldRef, Float64Type, Int64Type, Schema, SchemaRef, UnionFields,
};
use datafusion::arrow::error::ArrowError;

use crate::text::type_name;
use crate::wider::wider;

type Result<T, E = ArrowError> = std::result::Result<T, E>;

/// The columns of a file without unions.
pub(super) fn schema(read: &Schema) -> Result<Schema, String> {
    let fields = read.fields().iter().map(|field| plain_field(field, field.name()));
    Ok(Schema::new(fields.collect::<Result<Vec<_>, _>>()?))
}

/// Rows with the columns of `to`, which [`schema`] made.
pub(super) fn batch(read: &RecordBatch, to: &SchemaRef) -> Result<RecordBatch> {
    let columns = read.columns().iter().zip(to.fields());
    let columns = columns.map(|(column, field)| plain(column, field.data_type()));
    let options = RecordBatchOptions::new().with_row_count(Some(read.num_rows()));
    let columns = columns.collect::<Result<Vec<_>>>()?;
    RecordBatch::try_new_with_options(Arc::clone(to), columns, &options)
}

fn plain_field(field: &Field, column: &str) -> Result<FieldRef, String> {
    let kind = plain_type(field.data_type(), column)?;
    let nullable = field.is_nullable() || may_be_null(field.data_type());
    Ok(Arc::new(Field::new(field.name(), kind, nullable)))
}

fn may_be_null(kind: &DataType) -> bool {
    match kind {
        DataType::Null => true,
        DataType::Union(fields, _) => {
            fields.iter().any(|(_, field)| field.is_nullable() || may_be_null(field.data_type()))
        }
        _ => false,
    }
}

fn plain_type(kind: &DataType, column: &str) -> Result<DataType, String> {
    Ok(match kind {
        DataType::Null => DataType::Utf8,
        DataType::Union(fields, _) => of_choices(fields, column)?,
        DataType::Struct(fields) => {
            let fields = fields.iter().map(|field| plain_field(field, column));
            DataType::Struct(fields.collect::<Result<_, _>>()?)
        }
        DataType::List(item) => DataType::List(plain_field(item, column)?),
        DataType::Map(entries, sorted) => DataType::Map(plain_field(entries, column)?, *sorted),
        other => other.clone(),
    })
}

/// The type of the values of a union.
fn of_choices(fields: &UnionFields, column: &str) -> Result<DataType, String> {
    let choices = fields.iter().map(|(_, field)| field.data_type());
    let choices = choices.filter(|kind| **kind != DataType::Null);
    let choices = choices.map(|kind| plain_type(kind, column)).collect::<Result<Vec<_>, _>>()?;
    let Some((first, rest)) = choices.split_first() else { return Ok(DataType::Utf8) };
    if let Some(all) = rest.iter().try_fold(first.clone(), |all, kind| wider(&all, kind)) {
        return Ok(all);
    }
    match choices.iter().find(|kind| kind.is_nested() || !can_cast_types(kind, &DataType::Utf8)) {
        None => Ok(DataType::Utf8),
        Some(other) => Err(format!(
            "the values of \"{column}\" are of several types that have no common one, among them {}",
            type_name(other)
        )),
    }
}

/// An array as one of the type.
fn plain(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    if array.data_type() == to {
        return Ok(Arc::clone(array));
    }
    let nulls = || array.nulls().cloned();
    Ok(match (array.data_type(), to) {
        (DataType::Null, _) => new_null_array(to, array.len()),
        (DataType::Union(..), _) => of_union(array.as_union(), to)?,
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let columns = array.as_struct().columns().iter().zip(fields);
            let columns = columns.map(|(column, field)| plain(column, field.data_type()));
            let columns = columns.collect::<Result<Vec<_>>>()?;
            Arc::new(StructArray::try_new_with_length(
                fields.clone(),
                columns,
                nulls(),
                array.len(),
            )?)
        }
        (DataType::List(_), DataType::List(item)) => {
            let list = array.as_list::<i32>();
            let items = plain(list.values(), item.data_type())?;
            Arc::new(ListArray::try_new(Arc::clone(item), list.offsets().clone(), items, nulls())?)
        }
        (DataType::Map(..), DataType::Map(entries, sorted)) => {
            let map = array.as_map();
            let within: ArrayRef = Arc::new(map.entries().clone());
            let within = plain(&within, entries.data_type())?.as_struct().clone();
            let (entries, offsets) = (Arc::clone(entries), map.offsets().clone());
            Arc::new(MapArray::try_new(entries, offsets, within, nulls(), *sorted)?)
        }
        _ => exactly(array, to)?,
    })
}

/// The values of a union, each from the array of its type.
fn of_union(union: &UnionArray, to: &DataType) -> Result<ArrayRef> {
    let DataType::Union(fields, _) = union.data_type() else {
        return Err(ArrowError::ComputeError(
            "the array of a union column is not a union".to_owned(),
        ));
    };
    let ids: Vec<i8> = fields.iter().map(|(id, _)| id).collect();
    let children = ids.iter().map(|id| plain(union.child(*id), to));
    let children = children.collect::<Result<Vec<_>>>()?;
    let children: Vec<&dyn Array> = children.iter().map(AsRef::as_ref).collect();
    let place = |row: usize| {
        let id = union.type_id(row);
        let child = ids.iter().position(|other| *other == id).unwrap_or_default();
        (child, union.value_offset(row))
    };
    let places: Vec<(usize, usize)> = (0..union.len()).map(place).collect();
    if places.is_empty() {
        return Ok(new_null_array(to, 0));
    }
    interleave(&children, &places)
}

/// Casts; a value that would be another one is an error.
fn exactly(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let cast = cast_with_options(array, to, &options)?;
    if let (Some(from), Some(to)) =
        (array.as_primitive_opt::<Int64Type>(), cast.as_primitive_opt::<Float64Type>())
    {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "whether it was exact is what is asked"
        )]
        let same = |(from, to): &(i64, f64)| i128::from(*from) == *to as i128;
        let values = from.iter().zip(to.iter()).filter_map(|(from, to)| from.zip(to));
        if let Some((value, _)) = values.into_iter().find(|pair| !same(pair)) {
            return Err(ArrowError::ComputeError(format!(
                "it has the number {value} where others are DOUBLE, which cannot hold it exactly"
            )));
        }
    }
    Ok(cast)
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::{Float64Array, Int32Array, NullArray, StringArray};
    use datafusion::arrow::datatypes::UnionMode;

    #[test]
    fn unions_are_of_the_type_that_has_all_values() {
        let field = |name: &str, kind| Field::new(name, kind, false);
        let of = |kinds: &[DataType]| {
            let fields = kinds.iter().map(|kind| field("x", kind.clone()));
            let fields =
                UnionFields::try_new(0..i8::try_from(kinds.len()).unwrap(), fields).unwrap();
            plain_type(&DataType::Union(fields, UnionMode::Dense), "c")
        };
        assert_eq!(of(&[DataType::Int32, DataType::Int64]), Ok(DataType::Int64));
        assert_eq!(
            of(&[DataType::Null, DataType::Int64, DataType::Float32]),
            Ok(DataType::Float64)
        );
        assert_eq!(of(&[DataType::Null, DataType::Int32, DataType::Utf8]), Ok(DataType::Utf8));
        let list = DataType::List(Arc::new(field("item", DataType::Int32)));
        assert!(of(&[list, DataType::Utf8]).unwrap_err().contains("\"c\""));
    }

    #[test]
    fn values_come_from_the_array_of_their_type() {
        let fields = UnionFields::try_new(
            [0, 1, 2, 3],
            [
                Field::new("n", DataType::Null, true),
                Field::new("i", DataType::Int32, false),
                Field::new("d", DataType::Float64, false),
                Field::new("s", DataType::Utf8, false),
            ],
        )
        .unwrap();
        let children: Vec<ArrayRef> = vec![
            Arc::new(NullArray::new(1)),
            Arc::new(Int32Array::from(vec![7])),
            Arc::new(Float64Array::from(vec![1.5])),
            Arc::new(StringArray::from(vec!["x"])),
        ];
        let ids = vec![1_i8, 0, 3, 2].into();
        let union =
            UnionArray::try_new(fields, ids, Some(vec![0, 0, 0, 0].into()), children).unwrap();
        let texts = of_union(&union, &DataType::Utf8).unwrap();
        let texts: Vec<_> = texts.as_string::<i32>().iter().collect();
        assert_eq!(texts, [Some("7"), None, Some("x"), Some("1.5")]);
    }
}
