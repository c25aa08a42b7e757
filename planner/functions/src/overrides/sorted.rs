//! `array_sort` with nulls last, as in ORDER BY.
//!
//! DataFusion 55.2 puts nulls first, and sorts all lists of a batch in the order given by the first
//! row. Here each row has its own order; nulls come last, also descending, unless the third
//! argument says otherwise.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, GenericListArray, OffsetSizeTrait, UInt64Array,
};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::compute::{SortOptions, cast, sort_to_indices, take};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};

use super::{Override, by_rows};
use crate::float_key::keys;
use crate::nested_key::{has_nested_key, nested_keys};

#[derive(Debug)]
pub(super) struct Sorted;

impl Override for Sorted {
    fn call(&self, _original: &ScalarUDF, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        by_rows(&args, |arrays| {
            let Some((list, words)) = arrays.split_first() else {
                return exec_err!("array_sort takes a list");
            };
            let words: Vec<_> =
                words.iter().map(|word| Ok(cast(word, &DataType::Utf8)?)).collect::<Result<_>>()?;
            match list.data_type() {
                DataType::List(item) | DataType::LargeList(item) if item.data_type().is_null() => {
                    Ok(Arc::clone(list))
                }
                DataType::List(_) => sorted(list.as_list::<i32>(), &words),
                DataType::LargeList(_) => sorted(list.as_list::<i64>(), &words),
                DataType::Null => Ok(Arc::clone(list)),
                other => exec_err!("array_sort takes a list, not {other}"),
            }
        })
    }
}

fn sorted<O: OffsetSizeTrait>(list: &GenericListArray<O>, words: &[ArrayRef]) -> Result<ArrayRef> {
    let values = list.values();
    let keys: ArrayRef = if has_nested_key(values.data_type()) {
        Arc::new(nested_keys(values)?)
    } else {
        keys(values)?
    };
    let mut order: Vec<u64> = Vec::with_capacity(values.len());
    let mut lengths = Vec::with_capacity(list.len());
    let mut valid = Vec::with_capacity(list.len());
    for row in 0..list.len() {
        let options = if list.is_valid(row) { options(words, row)? } else { None };
        valid.push(options.is_some());
        let Some(options) = options else {
            lengths.push(0);
            continue;
        };
        let (start, n) = (list.value_offsets()[row].as_usize(), list.value_length(row).as_usize());
        let places = sort_to_indices(&keys.slice(start, n), Some(options), None)?;
        order.extend(places.values().iter().map(|place| start as u64 + u64::from(*place)));
        lengths.push(n);
    }
    let items = take(values, &UInt64Array::from(order), None)?;
    let (DataType::List(field) | DataType::LargeList(field)) = list.data_type() else {
        return exec_err!("array_sort takes a list, not {}", list.data_type());
    };
    let offsets = OffsetBuffer::<O>::from_lengths(lengths);
    let nulls = NullBuffer::from(valid);
    Ok(Arc::new(GenericListArray::try_new(Arc::clone(field), offsets, items, Some(nulls))?))
}

/// The sort options of a row; `None` if one is null.
fn options(words: &[ArrayRef], row: usize) -> Result<Option<SortOptions>> {
    let mut said = Vec::with_capacity(2);
    for word in words {
        let word = word.as_string::<i32>();
        if word.is_null(row) {
            return Ok(None);
        }
        said.push(word.value(row).trim().to_uppercase());
    }
    let mut said = said.iter().map(String::as_str);
    let descending = match said.next() {
        None | Some("ASC") => false,
        Some("DESC") => true,
        Some(other) => {
            return exec_err!(
                "array_sort does not support the order '{other}': write 'ASC' or 'DESC'"
            );
        }
    };
    let nulls_first = match said.next() {
        None | Some("NULLS LAST") => false,
        Some("NULLS FIRST") => true,
        Some(other) => {
            return exec_err!(
                "array_sort does not support the null order '{other}': write 'NULLS FIRST' or \
                 'NULLS LAST'"
            );
        }
    };
    Ok(Some(SortOptions { descending, nulls_first }))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::util::pretty::pretty_format_batches;
    use datafusion::prelude::SessionContext;

    #[tokio::test]
    async fn nulls_last_are_still_needed() {
        let sql = "SELECT array_sort(make_array(2, NULL, 1)) AS x";
        let rows = SessionContext::new().sql(sql).await.expect("planned").collect().await;
        let shown = pretty_format_batches(&rows.expect("ran")).expect("shown").to_string();
        assert!(shown.contains("[, 1, 2]"), "{shown}");
    }
}
