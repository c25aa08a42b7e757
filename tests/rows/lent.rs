//! Rows that are built from the views of others, which may be gathered, come out as if copied.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewArray};
use bytes::Bytes;
use proptest::prelude::*;

use super::rows;
use bigslice::row::Row;
use bigslice::row::Value;

/// Builds rows of type `U` by `append` with `arrays` lent, twice with one builder.
fn built<U: Row + Debug + PartialEq>(
    arrays: &[ArrayRef],
    append: impl Fn(&mut U::Builder),
) -> (Vec<ArrayRef>, Vec<U>) {
    let mut builder = U::builder(8);
    U::lend(&mut builder, arrays);
    append(&mut builder);
    let first = U::finish(&mut builder);
    append(&mut builder);
    let second: Vec<U> = rows(&U::finish(&mut builder)).unwrap();
    assert_eq!(rows::<U>(&first).unwrap(), second);
    (first, second)
}

fn texts() -> ArrayRef {
    let texts = ["", "short", "twelve bytes", "one more byte", "grüße", "short", "also short"];
    Arc::new(StringViewArray::from_iter_values(texts))
}

#[test]
fn short_texts_that_are_passed_on_come_without_the_long_ones() {
    let arrays = [texts()];
    let column = String::column(&arrays[0], None).unwrap();
    let (arrays, rows) = built::<(String, u8)>(&arrays, |builder| {
        for row in [5, 0, 2, 4, 0] {
            <(String, u8) as Row>::append(builder, (<String as Value>::get(&column, row), 1));
        }
    });
    let right = ["short", "", "twelve bytes", "grüße", ""];
    assert!(rows.into_iter().eq(right.map(|text| (text.to_owned(), 1))));
    assert!(arrays[0].as_string_view().data_buffers().is_empty());
}

#[test]
fn parts_of_texts_are_not_taken_for_the_whole() {
    let arrays = [texts()];
    let column = String::column(&arrays[0], None).unwrap();
    let whole = <String as Value>::get(&column, 2);
    for parts in [[whole, &whole[..6]], [&whole[..6], whole], [&whole[7..], &whole[..0]]] {
        let (_, rows) = built::<String>(&arrays, |builder| {
            parts.iter().for_each(|part| <String as Row>::append(builder, part));
        });
        assert_eq!(rows, parts);
    }
}

/// What a text of a row is made of.
#[derive(Debug, Clone, Copy)]
enum Pick {
    Null,
    /// The text of a row of one of the arrays, whole or without its end.
    Of {
        array: usize,
        row: usize,
        whole: bool,
    },
    Other,
}

fn picks() -> impl Strategy<Value = Vec<Pick>> {
    // Mostly of one array, as most rows are in fact: else none would be gathered.
    let array = prop_oneof![9 => Just(0usize), 1 => Just(1usize)];
    let pick = prop_oneof![
        2 => Just(Pick::Null),
        40 => (array, 0usize..1000, prop::bool::weighted(0.97))
            .prop_map(|(array, row, whole)| Pick::Of { array, row, whole }),
        1 => Just(Pick::Other),
    ];
    prop::collection::vec(pick, 0..40)
}

proptest! {
    #[test]
    fn what_is_built_of_lent_texts_is_what_was_picked(
        one in prop::collection::vec(prop::option::of("[a-zß]{0,14}"), 1..30),
        two in prop::collection::vec(prop::option::of("[a-z]{0,5}"), 1..30),
        (from, to) in (0usize..10, 0usize..10),
        picks in picks(),
    ) {
        let array = |texts: &[Option<String>], cut: usize| -> ArrayRef {
            let array: StringViewArray = texts.iter().map(Option::as_deref).collect();
            let cut = cut.min(array.len() - 1);
            Arc::new(array.slice(cut, array.len() - cut))
        };
        let arrays = [array(&one, from), array(&two, to)];
        type Texts = Option<String>;
        let columns = arrays.each_ref().map(|array| Texts::column(array, None).unwrap());
        let picked: Vec<Option<&str>> = picks.iter().map(|pick| match *pick {
            Pick::Null => None,
            Pick::Other => Some("other"),
            Pick::Of { array, row, whole } => {
                let text = <Texts as Value>::get(&columns[array], row % arrays[array].len());
                let end = |text: &str| if whole { text.len() } else { text.len() / 2 };
                text.map(|text| text.get(..end(text)).unwrap_or(text))
            }
        }).collect();
        let (_, rows) = built::<(Texts, Option<Bytes>)>(&arrays, |builder| {
            for text in &picked {
                <(Texts, Option<Bytes>) as Row>::append(builder, (*text, text.map(str::as_bytes)));
            }
        });
        let right = picked.iter().map(|text| {
            (text.map(str::to_owned), text.map(|text| Bytes::copy_from_slice(text.as_bytes())))
        });
        prop_assert!(rows.into_iter().eq(right));
    }
}
