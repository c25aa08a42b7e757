//! Tests of rows through the two traits: what goes in comes out, and what does not fit is an error.

#![expect(clippy::unwrap_used, reason = "tests fail by panics")]

mod closures;
mod derived;
mod lent;
mod mismatches;
mod nested;
mod scalars;
mod slices;

use std::fmt::Debug;
use std::hash::{DefaultHasher, Hasher};

use arrow::array::ArrayRef;

use bigslice::row::{Mismatch, Row, Value};

/// The arrays of rows.
fn arrays<T: Row>(rows: &[T]) -> Vec<ArrayRef> {
    let mut builder = T::builder(rows.len());
    rows.iter().for_each(|row| T::append(&mut builder, row.view()));
    T::finish(&mut builder)
}

/// The rows of arrays.
fn rows<T: Row>(arrays: &[ArrayRef]) -> Result<Vec<T>, Mismatch> {
    let columns = T::columns(arrays)?;
    Ok((0..arrays[0].len()).map(|row| T::to_owned(T::get(&columns, row))).collect())
}

/// The message of opening an array as a row of one column.
fn message<T: Row>(array: ArrayRef) -> String {
    T::columns(&[array]).unwrap_err().to_string()
}

/// Checks that rows survive being stored: as a row, as a field of a row, optional, in lists, in
/// every slice of their arrays, and from a builder that is used twice.
fn round_trip<T: Row + Value + Clone + Debug + PartialEq>(values: &[T]) {
    straight(values);
    keys(values);
    straight(&values.iter().cloned().map(|value| (1_u8, value)).collect::<Vec<_>>());
    straight(&values.iter().cloned().map(|value| ((value, true),)).collect::<Vec<_>>());
    straight(&[values.to_vec(), vec![], values.to_vec()]);
    straight(&values.iter().cloned().map(|value| [value.clone(), value]).collect::<Vec<_>>());
}

/// Checks that values are one key if, and only if, they are equal, and then hash to the same; a NaN
/// equals none.
fn keys<T: Value + Debug + PartialEq>(values: &[T]) {
    let hash = |value: &T| {
        let mut state = DefaultHasher::new();
        T::hash_key(value.view(), &mut state);
        state.finish()
    };
    let equal = |a: &T, b: &T| a == b;
    for (a, b) in values.iter().flat_map(|a| values.iter().map(move |b| (a, b))) {
        let same = T::same_key(a.view(), b.view());
        let (is_nan, is_other_nan) = (!equal(a, a), !equal(b, b));
        assert!(same == equal(a, b) || (same && is_nan && is_other_nan), "{a:?} and {b:?}");
        assert!(!same || hash(a) == hash(b), "{a:?} and {b:?}");
    }
}

/// As [`round_trip`], for types that are not null by themselves.
fn round_trip_optional<T: Row + Value + Clone + Debug + PartialEq>(values: &[T]) {
    round_trip(values);
    let mut optional = vec![None];
    values.iter().cloned().for_each(|value| optional.extend([Some(value), None]));
    round_trip(&optional);
    round_trip(&optional.iter().cloned().map(|value| Some((value,))).collect::<Vec<_>>());
    let mut holes: Vec<Option<(T, Option<T>)>> = vec![None, None];
    for value in values {
        holes.extend([Some((value.clone(), None)), None]);
        holes.push(Some((value.clone(), Some(value.clone()))));
    }
    round_trip(&holes);
    let lists = vec![None, Some(values.to_vec()), Some(vec![]), None, Some(values.to_vec())];
    round_trip(&lists);
    let pairs = values.iter().cloned().map(|value| [value.clone(), value]);
    let mut arrays = vec![None];
    pairs.for_each(|pair| arrays.extend([Some(pair), None]));
    round_trip(&arrays);
}

fn straight<T: Row + Debug + PartialEq>(values: &[T]) {
    let arrays = arrays(values);
    let fields = T::fields();
    assert_eq!(arrays.len(), fields.len());
    for (array, field) in arrays.iter().zip(&fields) {
        assert_eq!(array.data_type(), field.data_type());
        assert_eq!(array.len(), values.len());
        assert!(field.is_nullable() || array.null_count() == 0);
    }
    assert_eq!(rows::<T>(&arrays).unwrap(), values);
    for start in 0..=values.len() {
        for end in start..=values.len() {
            let sliced: Vec<_> =
                arrays.iter().map(|array| array.slice(start, end - start)).collect();
            assert_eq!(rows::<T>(&sliced).unwrap(), &values[start..end]);
        }
    }

    let mut builder = T::builder(0);
    for _ in 0..3 {
        values.iter().for_each(|value| T::append(&mut builder, value.view()));
        assert_eq!(&T::finish(&mut builder), &arrays);
        assert!(T::finish(&mut builder).iter().all(|array| array.is_empty()));
    }
}
