//! Arrays from elsewhere: with offsets, with garbage in unused places, with nulls under
//! nulls.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, DictionaryArray, Int32Array, Int64Array, ListArray, StringArray,
    StringViewArray, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Fields};

use super::{message, rows};
use bigslice::row::Row;

#[derive(Clone, Copy, Debug, PartialEq, Row)]
enum Color {
    Red,
    Green,
}

fn list(offsets: &[i32], items: ArrayRef, nulls: Option<Vec<bool>>) -> ArrayRef {
    let field = Arc::new(Field::new("element", items.data_type().clone(), true));
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets.to_vec()));
    Arc::new(ListArray::new(field, offsets, items, nulls.map(NullBuffer::from)))
}

fn dictionary(keys: Vec<Option<i32>>, texts: Vec<Option<&str>>) -> ArrayRef {
    Arc::new(DictionaryArray::new(Int32Array::from(keys), Arc::new(StringArray::from(texts))))
}

#[test]
fn lists_that_do_not_begin_at_the_first_item() {
    let items = Arc::new(Int64Array::from(vec![None, Some(1), Some(2), Some(3), None]));
    let lists = list(&[1, 2, 2, 4], items, None);
    assert_eq!(rows::<Vec<i64>>(&[Arc::clone(&lists)]).unwrap(), [vec![1], vec![], vec![2, 3]]);
    assert_eq!(rows::<Vec<i64>>(&[lists.slice(1, 2)]).unwrap(), [vec![], vec![2, 3]]);
    assert_eq!(rows::<Vec<i64>>(&[lists.slice(3, 0)]).unwrap(), Vec::<Vec<i64>>::new());
}

#[test]
fn items_of_null_lists_are_not_looked_at() {
    let items = Arc::new(Int64Array::from(vec![Some(1), None, None, Some(2)]));
    let lists = list(&[0, 1, 3, 4], items, Some(vec![true, false, true]));
    let expected = [Some(vec![1]), None, Some(vec![2])];
    assert_eq!(rows::<Option<Vec<i64>>>(&[Arc::clone(&lists)]).unwrap(), expected);
    assert_eq!(rows::<Option<Vec<i64>>>(&[lists.slice(1, 2)]).unwrap(), expected[1..]);
}

#[test]
fn nulls_below_nulls() {
    let numbers = Int64Array::from(vec![Some(1), None, Some(3), None]);
    let texts = StringViewArray::from(vec![Some("a"), None, None, Some("d")]);
    let fields = Fields::from(vec![
        Field::new("_0", DataType::Int64, true),
        Field::new("_1", DataType::Utf8View, true),
    ]);
    let nulls = NullBuffer::from(vec![true, false, true, false]);
    let array: ArrayRef =
        Arc::new(StructArray::new(fields, vec![Arc::new(numbers), Arc::new(texts)], Some(nulls)));
    type Pair = (i64, Option<String>);
    let expected = [Some((1, Some("a".to_owned()))), None, Some((3, None)), None];
    assert_eq!(rows::<Option<Pair>>(&[Arc::clone(&array)]).unwrap(), expected);
    for start in 0..4 {
        let slice = array.slice(start, 4 - start);
        assert_eq!(rows::<Option<Pair>>(&[slice]).unwrap(), expected[start..]);
    }
    let message = message::<Option<(Option<i64>, String)>>(array);
    let expected = "is null in row 2, but its values are not optional; an Option can hold nulls";
    assert_eq!(message, format!("column \"value._1\" {expected}"));
}

#[test]
fn dictionaries_of_others() {
    use Color::{Green, Red};
    let texts = vec![Some("Green"), Some("Mauve"), Some("Red"), Some("Green"), None];
    let array = dictionary(vec![Some(3), Some(0), Some(2)], texts.clone());
    assert_eq!(rows::<Color>(&[array]).unwrap(), [Green, Green, Red]);

    let array = dictionary(vec![Some(4), None, Some(2)], texts.clone());
    assert_eq!(rows::<Option<Color>>(&[array]).unwrap(), [None, None, Some(Red)]);

    let array = dictionary(vec![Some(1), Some(2)], texts.clone());
    assert_eq!(rows::<Color>(&[array.slice(1, 1)]).unwrap(), [Red]);

    let unused = dictionary(vec![None, None], vec![]);
    assert_eq!(rows::<Option<Color>>(&[unused]).unwrap(), [None, None]);

    let array = dictionary(vec![Some(2), None, Some(1)], texts.clone());
    let expected = "column \"value\" holds \"Mauve\" in row 2, expected one of \"Red\", \"Green\"";
    assert_eq!(message::<Option<Color>>(array), expected);

    let expected = "column \"value\" is null in row 1, but its values are not optional; an Option \
                    can hold nulls";
    assert_eq!(message::<Color>(dictionary(vec![Some(2), Some(4)], texts)), expected);
}

#[test]
fn booleans_between_bytes() {
    let bits: Vec<bool> = (0..40).map(|bit| bit % 3 == 0).collect();
    let array: ArrayRef = Arc::new(BooleanArray::from(bits.clone()));
    assert_eq!(rows::<bool>(&[array.slice(7, 20)]).unwrap(), bits[7..27]);
    let array: ArrayRef =
        Arc::new(BooleanArray::from_iter(bits.iter().map(|bit| bit.then_some(true))));
    let expected: Vec<_> = bits[5..].iter().map(|bit| bit.then_some(true)).collect();
    assert_eq!(rows::<Option<bool>>(&[array.slice(5, 35)]).unwrap(), expected);
}
