//! Bounds in the footers of Parquet files that cannot be believed, left out before anything is
//! pruned by them.
//!
//! Writers before 2018 wrote the least and the greatest value of a column in fields whose order is
//! signed, also for texts and unsigned numbers; the Parquet crate reads them as if their order were
//! right. Of the old timestamps (INT96) no order was ever said. And a least value above the
//! greatest one says nothing at all.

use std::sync::Arc;

use parquet::basic::{SortOrder, Type as Physical};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::statistics::Statistics;

/// Bytes of the largest decimals.
const SIGNED_BYTES: usize = 32;

/// The footer without bounds that cannot be believed. An error if it contradicts itself about its
/// rows.
pub(crate) fn believable(footer: Arc<ParquetMetaData>) -> Result<Arc<ParquetMetaData>> {
    check_rows(&footer)?;
    let all = footer.row_groups().iter().flat_map(|group| group.columns());
    if all.into_iter().all(is_believable) {
        return Ok(footer);
    }
    let mut builder = Arc::unwrap_or_clone(footer).into_builder();
    let groups = builder.take_row_groups().into_iter().map(|group| {
        let columns = group.columns().iter().cloned().map(|column| {
            if is_believable(&column) {
                return Ok(column);
            }
            let nulls = column.statistics().and_then(Statistics::null_count_opt);
            let statistics = without_bounds(column.column_type(), nulls);
            column.into_builder().set_statistics(statistics).build()
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        group.into_builder().set_column_metadata(columns).build()
    });
    let groups = groups.collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(builder.set_row_groups(groups).build()))
}

/// Compares the rows of the file with those of its groups, and of these with the values of columns
/// without lists.
fn check_rows(footer: &ParquetMetaData) -> Result<()> {
    let mut rows = 0_i64;
    for group in footer.row_groups() {
        let flat =
            group.columns().iter().filter(|column| column.column_descr().max_rep_level() == 0);
        let other = flat.into_iter().find(|column| column.num_values() != group.num_rows());
        if let Some(column) = other {
            return Err(ParquetError::General(format!(
                "its footer has {} rows in a group with {} values of column \"{}\"",
                group.num_rows(),
                column.num_values(),
                column.column_path().string()
            )));
        }
        rows = rows.saturating_add(group.num_rows());
    }
    let all = footer.file_metadata().num_rows();
    match all == rows {
        true => Ok(()),
        false => Err(ParquetError::General(format!(
            "its footer says that it has {all} rows, and has {rows} in its groups"
        ))),
    }
}

fn is_believable(column: &ColumnChunkMetaData) -> bool {
    let Some(statistics) = column.statistics() else { return true };
    if statistics.min_bytes_opt().is_none() && statistics.max_bytes_opt().is_none() {
        return true;
    }
    let bytes =
        matches!(column.column_type(), Physical::BYTE_ARRAY | Physical::FIXED_LEN_BYTE_ARRAY);
    let order = column.column_descr().sort_order();
    let old = statistics.is_min_max_deprecated();
    column.column_type() != Physical::INT96
        && (!old || (order == SortOrder::SIGNED && !bytes))
        && in_order(statistics, order)
}

/// True if the minimum is not above the maximum.
fn in_order(statistics: &Statistics, order: SortOrder) -> bool {
    fn ordered<T: PartialOrd>(min: Option<T>, max: Option<T>) -> bool {
        min.zip(max).is_none_or(|(min, max)| min <= max)
    }
    let (min, max) = (statistics.min_bytes_opt(), statistics.max_bytes_opt());
    let signed_order = order == SortOrder::SIGNED;
    match statistics {
        _ if order == SortOrder::UNDEFINED => true,
        Statistics::Int32(bounds) if signed_order => ordered(bounds.min_opt(), bounds.max_opt()),
        Statistics::Int64(bounds) if signed_order => ordered(bounds.min_opt(), bounds.max_opt()),
        Statistics::Int32(bounds) => ordered(
            bounds.min_opt().map(|min| min.cast_unsigned()),
            bounds.max_opt().map(|max| max.cast_unsigned()),
        ),
        Statistics::Int64(bounds) => ordered(
            bounds.min_opt().map(|min| min.cast_unsigned()),
            bounds.max_opt().map(|max| max.cast_unsigned()),
        ),
        // A NaN is in no order, and makes the bounds worth nothing.
        Statistics::Float(bounds) => ordered(bounds.min_opt(), bounds.max_opt()),
        Statistics::Double(bounds) => ordered(bounds.min_opt(), bounds.max_opt()),
        Statistics::ByteArray(_) | Statistics::FixedLenByteArray(_) if signed_order => {
            ordered(min.map(signed), max.map(signed))
        }
        Statistics::ByteArray(_) | Statistics::FixedLenByteArray(_) => ordered(min, max),
        Statistics::Boolean(_) | Statistics::Int96(_) => true,
    }
}

/// The digits of a decimal, from the largest, as bytes that are in the order of the numbers.
fn signed(bytes: &[u8]) -> [u8; SIGNED_BYTES] {
    let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
    let mut number = [if negative { 0xff } else { 0 }; SIGNED_BYTES];
    for (to, from) in number.iter_mut().rev().zip(bytes.iter().rev()) {
        *to = *from;
    }
    number[0] ^= 0x80;
    number
}

fn without_bounds(kind: Physical, nulls: Option<u64>) -> Statistics {
    match kind {
        Physical::BOOLEAN => Statistics::boolean(None, None, None, nulls, false),
        Physical::INT32 => Statistics::int32(None, None, None, nulls, false),
        Physical::INT64 => Statistics::int64(None, None, None, nulls, false),
        Physical::INT96 => Statistics::int96(None, None, None, nulls, false),
        Physical::FLOAT => Statistics::float(None, None, None, nulls, false),
        Physical::DOUBLE => Statistics::double(None, None, None, nulls, false),
        Physical::BYTE_ARRAY => Statistics::byte_array(None, None, None, nulls, false),
        Physical::FIXED_LEN_BYTE_ARRAY => {
            Statistics::fixed_len_byte_array(None, None, None, nulls, false)
        }
    }
}

#[cfg(test)]
mod tests {
    use parquet::basic::{ConvertedType, Repetition};
    use parquet::data_type::ByteArray;
    use parquet::file::metadata::{FileMetaData, ParquetMetaDataBuilder, RowGroupMetaData};
    use parquet::schema::types::{SchemaDescriptor, Type};

    use super::*;

    /// The usable part of the statistics of a column.
    fn left(kind: Physical, converted: ConvertedType, statistics: Statistics) -> Statistics {
        let column = Type::primitive_type_builder("c", kind)
            .with_repetition(Repetition::OPTIONAL)
            .with_converted_type(converted)
            .build()
            .unwrap();
        let root = Type::group_type_builder("root").with_fields(vec![Arc::new(column)]).build();
        let schema = Arc::new(SchemaDescriptor::new(Arc::new(root.unwrap())));
        let column = ColumnChunkMetaData::builder(schema.column(0))
            .set_num_values(1)
            .set_statistics(statistics);
        let group = RowGroupMetaData::builder(Arc::clone(&schema))
            .set_num_rows(1)
            .set_column_metadata(vec![column.build().unwrap()])
            .build()
            .unwrap();
        let file = FileMetaData::new(1, 1, None, None, schema, None);
        let footer = ParquetMetaDataBuilder::new(file).add_row_group(group).build();
        let footer = believable(Arc::new(footer)).unwrap();
        footer.row_group(0).column(0).statistics().unwrap().clone()
    }

    #[test]
    fn only_what_can_be_believed_is_left() {
        let texts = |old| {
            let text = |text: &str| Some(ByteArray::from(text));
            Statistics::byte_array(text("a"), text("\u{fc}"), None, Some(3), old)
        };
        let numbers = |min, max, old| Statistics::int32(Some(min), Some(max), None, Some(3), old);
        for (kind, converted, statistics, believed) in [
            (Physical::BYTE_ARRAY, ConvertedType::UTF8, texts(false), true),
            (Physical::BYTE_ARRAY, ConvertedType::UTF8, texts(true), false),
            (Physical::INT32, ConvertedType::NONE, numbers(-1, 5, false), true),
            (Physical::INT32, ConvertedType::NONE, numbers(-1, 5, true), true),
            (Physical::INT32, ConvertedType::NONE, numbers(5, -1, false), false),
            (Physical::INT32, ConvertedType::UINT_32, numbers(5, -1, false), true),
            (Physical::INT32, ConvertedType::UINT_32, numbers(-1, 5, true), false),
            (Physical::INT32, ConvertedType::UINT_32, numbers(-1, 5, false), false),
        ] {
            let left = left(kind, converted, statistics.clone());
            assert_eq!(left.min_bytes_opt().is_some(), believed, "{statistics:?}");
            assert_eq!(left.null_count_opt(), Some(3), "{statistics:?}");
        }
    }

    #[test]
    fn decimals_are_in_the_order_of_numbers() {
        let numbers: [&[u8]; 5] = [&[0x80, 0], &[0xff, 0xfe], &[0xff], &[0], &[0x01, 0]];
        assert!(numbers.is_sorted_by_key(|bytes| signed(bytes)));
    }
}
