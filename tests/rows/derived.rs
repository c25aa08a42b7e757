//! Rows of `#[derive(Row)]`.

use std::fmt::Debug;

use super::{arrays, round_trip_optional, rows, straight};
use bigslice::row::{List, Row, Value};

#[derive(Clone, Debug, PartialEq, Row)]
#[row(rename_all = "camelCase")]
struct Page {
    full_url: String,
    #[row(rename = "words of it")]
    words: Vec<String>,
    r#type: Option<Kind>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Row)]
#[row(rename_all = "kebab-case")]
enum Kind {
    Plain,
    RichText = 7,
    #[row(rename = "?")]
    Other,
}

#[derive(Clone, Debug, PartialEq, Row)]
struct Visit {
    page: Page,
    at: Option<Point>,
    path: Vec<Point>,
    box_: [Point; 2],
    id: Id,
    parent: Name,
}

#[derive(Clone, Copy, Debug, PartialEq, Row)]
struct Point(f64, #[row(rename = "y")] f64);

#[derive(Clone, Copy, Debug, PartialEq, Row)]
struct Id(u64);

#[derive(Clone, Debug, PartialEq, Row)]
struct Name(#[row(rename = "name")] Option<String>);

#[derive(Clone, Debug, PartialEq, Row)]
struct Pair<A, B: Copy = i64>
where
    B: Debug,
{
    first: A,
    second: Vec<Option<B>>,
}

#[derive(Clone, Debug, PartialEq, Row)]
struct Vector<const N: usize> {
    values: [f32; N],
}

fn page(url: &str) -> Page {
    Page { full_url: url.to_owned(), words: vec!["w".to_owned()], r#type: Some(Kind::RichText) }
}

fn visit(url: &str) -> Visit {
    Visit {
        page: page(url),
        at: Some(Point(1.0, 2.0)),
        path: vec![Point(3.0, 4.0), Point(5.0, 6.0)],
        box_: [Point(7.0, 8.0), Point(9.0, 10.0)],
        id: Id(11),
        parent: Name(Some("up".to_owned())),
    }
}

fn names<T: Row>() -> Vec<String> {
    T::fields().iter().map(|field| field.name().clone()).collect()
}

#[test]
fn structs() {
    let empty = Page { full_url: String::new(), words: vec![], r#type: None };
    let other =
        Visit { page: empty, at: None, path: vec![], parent: Name(None), ..visit("a longer url") };
    round_trip_optional(&[visit("a"), other]);
    round_trip_optional(&[page("b"), page("c")]);
    round_trip_optional(&[Point(1.0, 2.0)]);
    straight::<Visit>(&[]);
}

#[test]
fn generic_structs() {
    let pair = Pair { first: "a".to_owned(), second: vec![Some(1), None] };
    round_trip_optional(&[pair.clone(), Pair { second: vec![], ..pair }]);
    round_trip_optional(&[Pair { first: Some(Id(1)), second: vec![Some(Point(1.0, 2.0))] }]);
    round_trip_optional(&[Vector { values: [1.0, 2.0, 3.0] }]);
    let view: PairView<'_, Id> = PairView { first: IdView(1), second: List::from(&[Some(2)][..]) };
    assert_eq!(<Pair<Id> as Row>::to_owned(view), Pair { first: Id(1), second: vec![Some(2)] });
}

#[test]
fn enums() {
    round_trip_optional(&[Kind::Plain, Kind::Other, Kind::RichText, Kind::Plain]);
    let arrays = arrays(&[Kind::RichText, Kind::Other]);
    assert_eq!(<Kind as Value>::data_type().to_string(), "Dictionary(Int32, Utf8)");
    let texts = arrow::compute::cast(&arrays[0], &arrow::datatypes::DataType::Utf8View).unwrap();
    assert_eq!(rows::<String>(&[texts]).unwrap(), ["rich-text", "?"]);
}

#[test]
fn newtypes_are_stored_as_their_field() {
    round_trip_optional(&[Id(1), Id(2)]);
    straight(&[Name(Some("x".to_owned())), Name(None)]);
    assert_eq!(<Id as Value>::data_type(), <u64 as Value>::data_type());
    assert_eq!((names::<Id>(), names::<Name>()), (vec!["value".into()], vec!["name".into()]));
    assert!(<Name as Row>::fields()[0].is_nullable());
    assert_eq!(rows::<u64>(&arrays(&[Id(3)])).unwrap(), [3]);
}

#[test]
fn columns() {
    assert_eq!(names::<Page>(), ["fullUrl", "words of it", "type"]);
    assert_eq!(names::<Point>(), ["_0", "y"]);
    assert_eq!(names::<Visit>(), ["page", "at", "path", "box_", "id", "parent"]);
    let nullable: Vec<_> = Visit::fields().iter().map(|field| field.is_nullable()).collect();
    assert_eq!(nullable, [false, true, false, false, false, true]);
}

#[test]
fn views() {
    let visit = visit("u");
    let columns = <Visit as Row>::columns(&arrays(std::slice::from_ref(&visit))).unwrap();
    let stored = <Visit as Row>::get(&columns, 0);
    let owned = Row::view(&visit);
    assert_eq!(format!("{stored:?}"), format!("{owned:?}"));
    assert_eq!(
        format!("{:?}", stored.page),
        "PageView { full_url: \"u\", words: [\"w\"], type: Some(RichText) }"
    );
    let copy = stored;
    assert_eq!(copy.at.map(|point| (point.0, point.1)), Some((1.0, 2.0)));
    assert_eq!(copy.path.iter().map(|point| point.1).sum::<f64>(), 10.0);
    assert_eq!((stored.box_[1].0, stored.id.0, stored.parent.0), (9.0, 11, Some("up")));
}

/// Only a struct can be longer than a tuple.
#[derive(Clone, Copy, Debug, PartialEq, Row)]
#[rustfmt::skip]
struct Long {
    a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8, i: u8, j: u8, k: u8, l: u8, m: u8,
    n: u8, o: u8, p: u8, q: u8, r: u8, s: u8, t: u8, u: u8, v: u8, w: u8, x: u8, y: u8, z: u8,
}

#[test]
fn long_structs() {
    let long = <Long as Row>::columns(&vec![arrays(&[1_u8]).remove(0); 26]).unwrap();
    round_trip_optional(&[<Long as Row>::to_owned(<Long as Row>::get(&long, 0))]);
}
