//! Values within values: lists, arrays, tuples and options of one another.

use super::{arrays, round_trip, round_trip_optional};
use bigslice::row::{List, Row, Value};

fn strings<const N: usize>(texts: [&str; N]) -> Vec<String> {
    texts.map(String::from).to_vec()
}

#[test]
fn lists_of_lists() {
    round_trip_optional(&[
        vec![strings(["a", "b"]), vec![], strings(["c"])],
        vec![],
        vec![vec![], strings(["a string that is longer than twelve"])],
    ]);
    round_trip_optional(&[vec![vec![vec![1], vec![]], vec![]], vec![], vec![vec![vec![2, 3]]]]);
    round_trip_optional(&[vec![Some(vec![Some(true), None]), None], vec![]]);
}

#[test]
fn arrays_of_arrays() {
    round_trip_optional(&[[[1_u8, 2], [3, 4]], [[5, 6], [7, 8]]]);
    round_trip_optional(&[[vec![1.5_f32], vec![]], [vec![], vec![2.5, 3.5]]]);
    round_trip_optional(&[vec![[true, false, true]], vec![], vec![[false; 3], [true; 3]]]);
}

#[test]
fn tuples() {
    round_trip_optional(&[(1_i8, "x".to_owned()), (2, String::new())]);
    round_trip_optional(&[((1_i8, (2_i16, strings(["y"]))), [(3_i32,)])]);
    round_trip(&[(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, Some(12)); 4]);
    round_trip(&[vec![(Some(1), strings(["z"])), (None, vec![])], vec![]]);
    round_trip(&[Some((Some((None::<bool>, 1_u16)), 2_u8)), Some((None, 3)), None]);
}

#[test]
fn views_of_lists() {
    let lists = vec![vec![1_i64, 2, 3], vec![], vec![4, 5]];
    let columns = <Vec<i64> as Row>::columns(&arrays(&lists)).unwrap();
    for (row, expected) in lists.iter().enumerate() {
        let views = [<Vec<i64> as Row>::get(&columns, row), List::from(expected.as_slice())];
        for view in views {
            assert_eq!((view.len(), view.is_empty()), (expected.len(), expected.is_empty()));
            assert_eq!(view.as_slice(), expected);
            assert_eq!(view.iter().collect::<Vec<_>>(), *expected);
            assert!(view.iter().rev().eq(expected.iter().rev().copied()));
            assert_eq!(view.into_iter().len(), expected.len());
            assert_eq!(view.get(0), expected.first().copied());
            assert_eq!(view.get(expected.len()), None);
            assert_eq!(view.get(usize::MAX), None);
            assert_eq!(format!("{view:?} {:?}", view.iter()), format!("{expected:?} {expected:?}"));
        }
    }
}

#[test]
fn values_past_the_end_are_not_a_panic() {
    fn past<T: Value>(values: &[T]) -> String {
        let mut builder = T::builder(0);
        values.iter().for_each(|value| T::append(&mut builder, value.view()));
        let column = T::column(&T::finish(&mut builder), None).unwrap();
        assert_eq!(T::rows(&column), values.len());
        format!(
            "{:?}",
            [values.len(), values.len() + 1, usize::MAX].map(|row| T::get(&column, row))
        )
    }
    assert_eq!(past(&[7_i64]), "[0, 0, 0]");
    assert_eq!(past(&strings(["x"])), r#"["", "", ""]"#);
    assert_eq!(past(&[vec![1], vec![2]]), "[[], [], []]");
    assert_eq!(past(&[[1, 2]]), "[[0, 0], [0, 0], [0, 0]]");
    assert_eq!(past(&[Some(1), None]), "[None, None, None]");
    assert_eq!(past(&[(true, 1)]), "[(false, 0), (false, 0), (false, 0)]");
}

#[test]
#[expect(clippy::redundant_closure_for_method_calls, reason = "says what panics")]
fn rows_past_the_end_are() {
    let columns = <(i64, String)>::columns(&arrays(&[(1_i64, String::new())])).unwrap();
    let panic = std::panic::catch_unwind(|| <(i64, String) as Row>::get(&columns, 1).0);
    let message = panic.unwrap_err().downcast_ref::<&str>().map(|text| text.to_string());
    assert_eq!(message.as_deref(), Some("a row past the end of its batch"));
}
