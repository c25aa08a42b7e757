//! Helpers for rows of several columns. They are called by tuples, by single values, and by the
//! code that `#[derive(Row)]` writes into the crates of users.

use arrow::array::{Array, AsArray};
use arrow::datatypes::Field;

use arrow::array::ArrayRef;
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Fields};

use super::mismatch::{Mismatch, Problem, quoted};
use super::{Value, nulls};

/// The field of a row or struct that holds values of a type.
pub fn field<T: Value>(name: &str) -> Field {
    Field::new(name, T::data_type(), T::NULLABLE)
}

/// All fields of a row or struct.
pub fn fields<const N: usize>(fields: [Field; N]) -> Fields {
    Fields::from(Vec::from(fields))
}

/// Checks that a batch has as many arrays as a row has columns, and that all have one length.
///
/// # Errors
///
/// They are not.
pub fn check(arrays: &[ArrayRef], names: &[&str]) -> Result<(), Mismatch> {
    if arrays.len() != names.len() {
        return Err(Mismatch::Count {
            found: arrays.len(),
            expected: names.len(),
            names: quoted(names),
        });
    }
    let expected = arrays[0].len();
    match arrays.iter().zip(names).find(|(array, _)| array.len() != expected) {
        Some((array, name)) => {
            Err(Mismatch::new(Problem::Rows { expected, found: array.len() }).within(name))
        }
        None => Ok(()),
    }
}

/// Opens the column of a field.
///
/// # Errors
///
/// As [`Value::column`], with the name of the field.
pub fn open<T: Value>(
    array: &ArrayRef,
    outer: Option<&NullBuffer>,
    name: &str,
) -> Result<T::Column, Mismatch> {
    T::column(array, outer).map_err(|mismatch| mismatch.within(name))
}

/// The arrays of the fields of a struct column, and where they are valid.
///
/// # Errors
///
/// The array is not a struct, has other fields, or is null where its parent is valid.
pub fn open_struct<'a, T: Value>(
    array: &'a ArrayRef,
    outer: Option<&NullBuffer>,
    names: &[&str],
) -> Result<(&'a [ArrayRef], Option<NullBuffer>), Mismatch> {
    let found = match array.as_struct_opt() {
        Some(found) if found.column_names() == names => found,
        _ => {
            let problem =
                Problem::Type { expected: T::data_type(), found: array.data_type().clone() };
            return Err(Mismatch::new(problem));
        }
    };
    nulls::check(found, outer)?;
    Ok((found.columns(), nulls::inner(found, outer)))
}

/// The type of a struct column.
pub fn struct_type(fields: Fields) -> DataType {
    DataType::Struct(fields)
}

/// Checks that a batch has a row, by its first column: [`check`] made sure that the others are
/// as long. The compiler then knows that reading this column stays within it.
///
/// # Panics
///
/// The batch does not have the row.
#[inline]
pub fn in_batch<T: Value>(column: &T::Column, row: usize) {
    assert!(row < T::rows(column), "a row past the end of its batch");
}
