//! The uncompressed bytes of rows in the file.
//!
//! Arrow's own functions do not give them: `get_array_memory_size` counts the whole buffers of a
//! slice, and `get_slice_memory_size` leaves out the data of views and counts all values of a list.

use arrow::array::{Array, ArrayData, ArrayRef, AsArray, MAX_INLINE_VIEW_LEN, RecordBatch};
use arrow::datatypes::{ArrowNativeType, DataType, UnionMode};

/// The bytes of the rows of `batch`, without other data in its buffers.
pub(crate) fn of_batch(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(of_array).sum()
}

/// The bytes of the elements of `array`.
pub(super) fn of_array(array: &ArrayRef) -> usize {
    // Called often for pieces of a few rows, so the common types are handled without `to_data`,
    // which copies fields.
    let nulls = if array.null_count() > 0 { array.len().div_ceil(8) } else { 0 };
    match array.data_type() {
        DataType::Utf8View => nulls + viewed(array.as_string_view().views()),
        DataType::BinaryView => nulls + viewed(array.as_binary_view().views()),
        other => match other.primitive_width() {
            Some(width) => nulls + array.len() * width,
            None => of_data(&array.to_data()),
        },
    }
}

fn of_data(data: &ArrayData) -> usize {
    let (at, len) = (data.offset(), data.len());
    if len == 0 {
        return 0;
    }
    let nulls = if data.null_count() > 0 { len.div_ceil(8) } else { 0 };
    nulls
        + match data.data_type() {
            DataType::Null => 0,
            DataType::Boolean => len.div_ceil(8),
            DataType::FixedSizeBinary(width) => len * *width as usize,
            DataType::Utf8 | DataType::Binary => len * 4 + span::<i32>(data).1,
            DataType::LargeUtf8 | DataType::LargeBinary => len * 8 + span::<i64>(data).1,
            DataType::Utf8View | DataType::BinaryView => viewed(&data.buffer(0)[..len]),
            DataType::List(_) | DataType::Map(_, _) => len * 4 + of_span(data, span::<i32>(data)),
            DataType::LargeList(_) => len * 8 + of_span(data, span::<i64>(data)),
            DataType::FixedSizeList(_, n) => {
                let n = *n as usize;
                of_span(data, (at * n, len * n))
            }
            DataType::Struct(_) => share(data, len),
            DataType::Union(_, mode) => {
                let offsets = if *mode == UnionMode::Dense { len * 4 } else { 0 };
                len + offsets + share(data, len)
            }
            DataType::ListView(_) => len * 8 + share(data, listed::<i32>(data)),
            DataType::LargeListView(_) => len * 16 + share(data, listed::<i64>(data)),
            DataType::Dictionary(key, _) => {
                len * key.primitive_width().unwrap_or(8) + share(data, len)
            }
            DataType::RunEndEncoded(_, _) => share(data, runs(data)),
            other => len * other.primitive_width().unwrap_or(16),
        }
}

/// The first value that the offsets of `data` refer to, and the number of values.
fn span<O: ArrowNativeType>(data: &ArrayData) -> (usize, usize) {
    let offsets = data.buffer::<O>(0);
    let (first, last) = (offsets[0].as_usize(), offsets[data.len()].as_usize());
    (first, last - first)
}

fn of_span(data: &ArrayData, (first, n): (usize, usize)) -> usize {
    of_data(&data.child_data()[0].slice(first, n))
}

/// The bytes of views and of the data they refer to; values of up to 12 bytes are in the view
/// itself.
fn viewed(views: &[u128]) -> usize {
    let referred = |view: &u128| if *view as u32 > MAX_INLINE_VIEW_LEN { *view as u32 } else { 0 };
    size_of_val(views) + views.iter().map(|view| referred(view) as usize).sum::<usize>()
}

/// The number of values in list views; a value in several views counts for each.
fn listed<O: ArrowNativeType>(data: &ArrayData) -> usize {
    data.buffer::<O>(1)[..data.len()].iter().map(|size| size.as_usize()).sum()
}

/// The number of runs of the elements, assuming that all runs have the same length.
fn runs(data: &ArrayData) -> usize {
    let ends = &data.child_data()[0];
    let last = ends.len().saturating_sub(1);
    let all = match ends.data_type() {
        DataType::Int16 => ends.buffer::<i16>(0)[last].as_usize(),
        DataType::Int32 => ends.buffer::<i32>(0)[last].as_usize(),
        _ => ends.buffer::<i64>(0)[last].as_usize(),
    };
    (ends.len() * data.len()).div_ceil(all.max(1))
}

/// The average bytes of `n` values of each child. The exact values that elements refer to would
/// take long to find, and [`compact`](super::compact) drops unreferenced ones.
fn share(data: &ArrayData, n: usize) -> usize {
    let of_child = |child: &ArrayData| of_data(child) * n.min(child.len()) / child.len().max(1);
    data.child_data().iter().map(of_child).sum()
}

#[cfg(test)]
mod tests {
    use arrow::ipc::writer::StreamWriter;

    use super::super::samples::{self, KINDS, Numbers};
    use super::*;

    fn streamed(batch: &RecordBatch) -> usize {
        let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref()).unwrap();
        writer.write(batch).unwrap();
        writer.into_inner().unwrap().len()
    }

    #[test]
    fn what_is_counted_is_what_is_written() {
        for kind in 0..KINDS {
            let batch = samples::batch(&[kind], 5000, &mut Numbers::new(kind as u64));
            let counted = of_batch(&batch);
            // The rest is metadata, padding, and unreferenced values of unions and list views.
            let streamed = streamed(&batch);
            assert!(counted <= streamed, "kind {kind}: {counted} of {streamed}");
            assert!(counted + 2500 > streamed * 3 / 5, "kind {kind}: {counted} of {streamed}");
            let halves = of_batch(&batch.slice(0, 2500)) + of_batch(&batch.slice(2500, 2500));
            // The elements of list views share values, so both halves count some of them.
            let shared = if kind == samples::LIST_VIEW { counted / 2 } else { 0 };
            assert!(
                halves.abs_diff(counted) < counted / 20 + shared + 2000,
                "kind {kind}: {halves}"
            );
        }
    }
}
