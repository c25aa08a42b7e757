//! Cuts record batches so that each fits in one message.
//!
//! An operator limits the *rows* of a batch; with wide rows a batch can have gigabytes. Both sides
//! would have to hold such a message as a whole, outside of the memory pool. datafusion-distributed
//! 4.0.0 has a setting for it (`with_max_message_size`) but does not read it. A row that is larger
//! than the target is one message: its columns cannot be sent separately.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow_select::dictionary::garbage_collect_any_dictionary;
use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};

/// The target size of a message: large enough that its overhead does not matter, small enough that
/// the sender encodes the next one while the reader decodes this one.
pub(crate) const MESSAGE_BYTES_TARGET: usize = 8 * 1024 * 1024;

/// The pieces of `batch`, in order, each of about [`MESSAGE_BYTES_TARGET`] bytes or one row.
pub(crate) fn split(batch: RecordBatch) -> Result<VecDeque<RecordBatch>, ArrowError> {
    let mut pieces = VecDeque::new();
    let mut rest = vec![batch];
    while let Some(batch) = rest.pop() {
        let n_rows = batch.num_rows();
        if n_rows <= 1 || sliced_bytes(&batch) <= MESSAGE_BYTES_TARGET {
            pieces.push_back(compacted(batch)?);
            continue;
        }
        // Halves, not equal parts: rows may be of very different size.
        let half = n_rows / 2;
        rest.push(batch.slice(half, n_rows - half));
        rest.push(batch.slice(0, half));
    }
    Ok(pieces)
}

/// The bytes of the rows of `batch`, without other contents of its buffers.
fn sliced_bytes(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(column_bytes).sum()
}

fn column_bytes(column: &ArrayRef) -> usize {
    if let Some(views) = column.as_string_view_opt() {
        return views.total_buffer_bytes_used() + 16 * views.len();
    }
    if let Some(views) = column.as_binary_view_opt() {
        return views.total_buffer_bytes_used() + 16 * views.len();
    }
    // A type whose slices cannot be measured counts as a whole: it is cut more often than needed.
    let data = column.to_data();
    data.get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size())
}

/// `batch` without the values that none of its rows refers to: those of dictionaries and of views,
/// which remain after a filter or a slice and would all be sent.
fn compacted(batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
    let (schema, columns, n_rows) = batch.into_parts();
    let columns = columns.into_iter().map(compact_column).collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
    RecordBatch::try_new_with_options(schema, columns, &options)
}

fn compact_column(column: ArrayRef) -> Result<ArrayRef, ArrowError> {
    if let Some(dictionary) = column.as_any_dictionary_opt() {
        garbage_collect_any_dictionary(dictionary)
    } else if let Some(views) = column.as_string_view_opt() {
        Ok(Arc::new(views.gc()))
    } else if let Some(views) = column.as_binary_view_opt() {
        Ok(Arc::new(views.gc()))
    } else {
        Ok(column)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Int64Array, StringArray, StringViewArray};
    use datafusion::arrow::compute::concat_batches;
    use datafusion::arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    fn batch(lengths: &[usize]) -> RecordBatch {
        let texts: Vec<String> = lengths.iter().map(|n| "x".repeat(*n)).collect();
        let schema = Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("text", DataType::Utf8, false),
            Field::new("view", DataType::Utf8View, false),
        ]);
        let ids = Int64Array::from_iter_values(0..lengths.len() as i64);
        let plain = StringArray::from_iter_values(&texts);
        let views = StringViewArray::from_iter_values(&texts);
        let columns: Vec<ArrayRef> = vec![Arc::new(ids), Arc::new(plain), Arc::new(views)];
        RecordBatch::try_new(Arc::new(schema), columns).expect("columns fit the schema")
    }

    #[test]
    fn pieces_are_small_and_make_the_whole() {
        let cases: [Vec<usize>; 4] = [
            vec![],
            vec![3; 1000],
            vec![10_000; 4000],
            // One row is most of the batch.
            (0..100).map(|i| if i == 41 { 20 << 20 } else { 7 }).collect(),
        ];
        for lengths in cases {
            let whole = batch(&lengths);
            let pieces = split(whole.clone()).expect("these types can be cut");
            for piece in &pieces {
                let fits = sliced_bytes(piece) <= MESSAGE_BYTES_TARGET;
                assert!(fits || piece.num_rows() == 1, "{} rows", piece.num_rows());
            }
            let again = concat_batches(&whole.schema(), &pieces).expect("same schema");
            assert_eq!(again, whole);
        }
    }
}
