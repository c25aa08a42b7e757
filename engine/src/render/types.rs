//! Types of columns: how they are called, and on which side their values stand.

use arrow::datatypes::DataType;

pub use bigslice_files::sql_name;

/// Whether values of a type stand at the right of their column.
pub fn is_right_aligned(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, value) => is_right_aligned(value),
        other => other.is_numeric(),
    }
}
