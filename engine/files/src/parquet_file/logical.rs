//! Types of Parquet that its Arrow reader gets wrong or shows as bytes: intervals, of which it
//! loses the months, and UUIDs.
//!
//! The reader of a file gets a footer in which intervals are only bytes ([`without_intervals`]);
//! the table has columns of the right types ([`of_table`]); `adapt` makes the one of the other.
//! Within records and lists intervals stay bytes.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, IntervalUnit, Schema};
use parquet::basic::{ConvertedType, LogicalType, Type as Physical};
use parquet::errors::Result;
use parquet::file::metadata::{FileMetaData, ParquetMetaData, ParquetMetaDataBuilder};
use parquet::schema::types::{SchemaDescriptor, Type, TypePtr};

/// The key of a file's own Arrow types, which say which interval is meant.
const ARROW_TYPES: &str = "ARROW:schema";

/// Bytes of an interval.
const INTERVAL_BYTES: i32 = 12;

/// Bytes of a UUID.
const UUID_BYTES: i32 = 16;

/// Might a file with this schema have columns that are of another type in the table?
pub(crate) fn is_special(schema: &Schema) -> bool {
    fn special(kind: &DataType) -> bool {
        match kind {
            DataType::Interval(_) | DataType::FixedSizeBinary(UUID_BYTES) => true,
            DataType::Struct(fields) => fields.iter().any(|field| special(field.data_type())),
            DataType::List(item) | DataType::LargeList(item) | DataType::Map(item, _) => {
                special(item.data_type())
            }
            _ => false,
        }
    }
    schema.fields().iter().any(|field| special(field.data_type()))
}

/// The schema of a table over a file with this footer, which the reader takes for `schema`.
pub(crate) fn of_table(schema: &Schema, footer: &ParquetMetaData) -> Schema {
    let misread = misreads(footer);
    let root = footer.file_metadata().schema().get_fields();
    let is_uuid = |field: &Field| {
        let column = root.iter().find(|column| column.name() == field.name());
        column.is_some_and(|column| {
            column.get_basic_info().logical_type_ref() == Some(&LogicalType::Uuid)
        })
    };
    let fields: Vec<FieldRef> = schema
        .fields()
        .iter()
        .map(|field| match field.data_type() {
            DataType::Interval(_) if misread => {
                retyped(field, DataType::Interval(IntervalUnit::MonthDayNano))
            }
            DataType::FixedSizeBinary(UUID_BYTES) if is_uuid(field) => {
                Arc::new(Field::new(field.name(), DataType::Utf8View, field.is_nullable()))
            }
            _ if misread => within(field),
            _ => Arc::clone(field),
        })
        .collect();
    Schema::new_with_metadata(fields, schema.metadata().clone())
}

fn retyped(field: &Field, kind: DataType) -> FieldRef {
    Arc::new(field.clone().with_data_type(kind))
}

/// The same field with bytes for the intervals in it.
fn within(field: &FieldRef) -> FieldRef {
    let fields = |fields: &Fields| fields.iter().map(within).collect::<Fields>();
    match field.data_type() {
        DataType::Interval(_) => retyped(field, DataType::FixedSizeBinary(INTERVAL_BYTES)),
        DataType::Struct(inner) => retyped(field, DataType::Struct(fields(inner))),
        DataType::List(item) => retyped(field, DataType::List(within(item))),
        DataType::LargeList(item) => retyped(field, DataType::LargeList(within(item))),
        DataType::Map(item, sorted) => retyped(field, DataType::Map(within(item), *sorted)),
        _ => Arc::clone(field),
    }
}

/// Whether there are intervals, and nothing but the format's own type to read them by.
fn misreads(footer: &ParquetMetaData) -> bool {
    let file = footer.file_metadata();
    let columns = file.schema_descr().columns();
    columns.iter().any(|column| column.converted_type() == ConvertedType::INTERVAL)
        && !file.key_value_metadata().into_iter().flatten().any(|pair| pair.key == ARROW_TYPES)
}

/// The footer with bytes for intervals that the reader would misread.
pub(crate) fn without_intervals(footer: Arc<ParquetMetaData>) -> Result<Arc<ParquetMetaData>> {
    if !misreads(&footer) {
        return Ok(footer);
    }
    let file = footer.file_metadata();
    let root = as_bytes(&file.schema_descr().root_schema_ptr())?;
    let file = FileMetaData::new(
        file.version(),
        file.num_rows(),
        file.created_by().map(str::to_owned),
        file.key_value_metadata().cloned(),
        Arc::new(SchemaDescriptor::new(root)),
        file.column_orders().cloned(),
    );
    let footer = ParquetMetaDataBuilder::new(file)
        .set_row_groups(footer.row_groups().to_vec())
        .set_column_index(footer.column_index().cloned())
        .set_offset_index(footer.offset_index().cloned());
    Ok(Arc::new(footer.build()))
}

fn as_bytes(column: &TypePtr) -> Result<TypePtr> {
    let info = column.get_basic_info();
    let id = info.has_id().then(|| info.id());
    if column.is_group() {
        let fields = column.get_fields().iter().map(as_bytes).collect::<Result<Vec<_>>>()?;
        let mut group = Type::group_type_builder(column.name())
            .with_fields(fields)
            .with_converted_type(info.converted_type())
            .with_logical_type(info.logical_type_ref().cloned())
            .with_id(id);
        if info.has_repetition() {
            group = group.with_repetition(info.repetition());
        }
        return Ok(Arc::new(group.build()?));
    }
    if info.converted_type() != ConvertedType::INTERVAL {
        return Ok(Arc::clone(column));
    }
    let bytes = Type::primitive_type_builder(column.name(), Physical::FIXED_LEN_BYTE_ARRAY)
        .with_length(INTERVAL_BYTES)
        .with_repetition(info.repetition())
        .with_id(id);
    Ok(Arc::new(bytes.build()?))
}
