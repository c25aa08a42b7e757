//! Copies rows out of the buffers that they share with larger batches. Slices and views would keep
//! these buffers alive, and views and dictionaries would be written with them.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, MutableArrayData, RecordBatch, RecordBatchOptions, UInt32Array,
    make_array,
};
use arrow::compute::{concat_batches, take};
use arrow::datatypes::{DataType, SchemaRef, UnionMode};
use arrow::error::ArrowError;
use arrow_select::dictionary::garbage_collect_any_dictionary;

use super::{Result, written};

/// Bytes that an array may hold beyond twice its size: its struct, and buffers rounded up to a
/// cache line.
const SLACK_BYTES: usize = 2 * 1024;

/// The bytes of memory that `batch` keeps alive, shared or not.
pub(super) fn held(batch: &RecordBatch) -> usize {
    let columns = batch.columns().iter().map(|column| column.get_array_memory_size());
    size_of::<RecordBatch>() + columns.sum::<usize>()
}

/// The rows of `batch` to keep in memory: columns that hold far more memory than they need are
/// copied.
pub(super) fn to_keep(batch: RecordBatch) -> Result<RecordBatch> {
    if !batch.columns().iter().any(wasteful) {
        return Ok(batch);
    }
    with_columns(
        &batch,
        |column| if wasteful(column) { own(column) } else { Ok(Arc::clone(column)) },
    )
}

/// The rows of `batch` to write: without values that no row refers to.
pub(super) fn to_write(batch: &RecordBatch) -> Result<RecordBatch> {
    if !batch.columns().iter().any(|column| has_references(column.data_type())) {
        return Ok(batch.clone());
    }
    with_columns(batch, |column| match has_references(column.data_type()) {
        true if wasteful(column) => own(column),
        true => prune(column),
        false => Ok(Arc::clone(column)),
    })
}

/// The rows of `batch` at these indexes.
pub(super) fn taken(batch: &RecordBatch, rows: &UInt32Array) -> Result<RecordBatch> {
    let columns = batch.columns().iter().map(|column| take(column, rows, None));
    rebuilt(batch, columns.collect::<Result<_, _>>()?, rows.len())
}

/// Concatenates `chunks` into one batch, or into several if they do not fit: different dictionaries
/// together may have more values than their keys can number.
pub(super) fn joined(schema: &SchemaRef, mut chunks: Vec<RecordBatch>) -> Result<Vec<RecordBatch>> {
    if chunks.len() < 2 {
        return Ok(chunks);
    }
    match concat_batches(schema, &chunks) {
        Ok(batch) => Ok(vec![batch]),
        Err(ArrowError::DictionaryKeyOverflowError) => {
            let second = chunks.split_off(chunks.len() / 2);
            let mut batches = joined(schema, chunks)?;
            batches.extend(joined(schema, second)?);
            Ok(batches)
        }
        Err(e) => Err(e.into()),
    }
}

fn with_columns(
    batch: &RecordBatch,
    change: impl Fn(&ArrayRef) -> Result<ArrayRef>,
) -> Result<RecordBatch> {
    let columns = batch.columns().iter().map(change).collect::<Result<_>>()?;
    rebuilt(batch, columns, batch.num_rows())
}

fn rebuilt(like: &RecordBatch, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    // A batch without columns needs the number of rows.
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(like.schema(), columns, &options)?)
}

fn wasteful(array: &ArrayRef) -> bool {
    let held = array.get_array_memory_size();
    held > SLACK_BYTES && held > 2 * written::of_array(array) + SLACK_BYTES
}

/// A copy of the elements of `array`.
fn own(array: &ArrayRef) -> Result<ArrayRef> {
    if matches!(array.data_type(), DataType::Utf8View | DataType::BinaryView) {
        return prune(array);
    }
    let data = array.to_data();
    let mut copy = MutableArrayData::new(vec![&data], false, data.len());
    copy.try_extend(0, 0, data.len())?;
    prune(&make_array(copy.freeze()))
}

/// True if elements of the type refer to values: a slice may then have unreferenced values, which
/// would be written with it.
fn has_references(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8View
        | DataType::BinaryView
        | DataType::Dictionary(_, _)
        | DataType::ListView(_)
        | DataType::LargeListView(_)
        | DataType::Union(_, UnionMode::Dense) => true,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _)
        | DataType::RunEndEncoded(_, item) => has_references(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_references(field.data_type())),
        DataType::Union(fields, UnionMode::Sparse) => {
            fields.iter().any(|(_, field)| has_references(field.data_type()))
        }
        _ => false,
    }
}

/// `array` without unreferenced values in the buffers of its views and dictionaries.
fn prune(array: &ArrayRef) -> Result<ArrayRef> {
    match array.data_type() {
        DataType::Utf8View if !array.as_string_view().data_buffers().is_empty() => {
            Ok(Arc::new(array.as_string_view().gc()))
        }
        DataType::BinaryView if !array.as_binary_view().data_buffers().is_empty() => {
            Ok(Arc::new(array.as_binary_view().gc()))
        }
        DataType::Dictionary(_, _) => {
            let values = array.as_any_dictionary().values().len();
            // In a dictionary smaller than its column, finding unused values costs more than
            // writing them.
            let array = if values > array.len() {
                garbage_collect_any_dictionary(array.as_any_dictionary())?
            } else {
                Arc::clone(array)
            };
            let dictionary = array.as_any_dictionary();
            Ok(dictionary.with_values(prune(dictionary.values())?))
        }
        DataType::Utf8View | DataType::BinaryView => Ok(Arc::clone(array)),
        nested if has_references(nested) => {
            let data = array.to_data();
            let children = data.child_data().iter();
            let children = children.map(|child| Ok(prune(&make_array(child.clone()))?.to_data()));
            let children = children.collect::<Result<_>>()?;
            Ok(make_array(data.into_builder().child_data(children).build()?))
        }
        _ => Ok(Arc::clone(array)),
    }
}
