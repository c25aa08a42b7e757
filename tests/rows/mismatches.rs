//! Errors for batches that do not fit.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Int32Array, Int64Array, ListArray, StringArray, Time64MicrosecondArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::Int64Type;
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};

use super::{arrays, message, rows};
use bigslice::row::{Decimal, Mismatch, Problem, Row};

#[derive(Row)]
struct Visit {
    url: String,
    ms: i64,
}

#[derive(Row)]
struct User {
    visits: Vec<Visit>,
}

const NOT_OPTIONAL: &str = "but its values are not optional; an Option can hold nulls";

fn check<T: Row>(arrays: &[ArrayRef], expected: &str) {
    assert_eq!(T::columns(arrays).unwrap_err().to_string(), expected);
}

#[test]
fn types() {
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
    let numbers: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    check::<Visit>(
        &[Arc::clone(&texts), Arc::clone(&numbers)],
        "column \"url\" has the type Utf8, expected Utf8View",
    );
    let [url, _] = &arrays(&[Visit { url: String::new(), ms: 1 }])[..] else { unreachable!() };
    check::<Visit>(
        &[Arc::clone(url), Arc::clone(&numbers)],
        "column \"ms\" has the type Int32, expected Int64",
    );
    let single =
        |expected: &str| format!("column \"value\" has the type Int32, expected {expected}");
    assert_eq!(message::<bool>(Arc::clone(&numbers)), single("Boolean"));
    assert_eq!(message::<bytes::Bytes>(Arc::clone(&numbers)), single("BinaryView"));
    assert_eq!(message::<NaiveDate>(Arc::clone(&numbers)), single("Date32"));
    assert_eq!(message::<Vec<i64>>(Arc::clone(&numbers)), single("List(non-null Int64)"));
    assert_eq!(message::<[Option<i8>; 2]>(Arc::clone(&numbers)), single("FixedSizeList(2 x Int8)"));
    assert_eq!(message::<Decimal<9, 2>>(Arc::clone(&numbers)), single("Decimal128(9, 2)"));
    assert_eq!(
        message::<((bool,),)>(Arc::clone(&numbers)),
        "column \"_0\" has the type Int32, expected Struct(\"_0\": non-null Boolean)"
    );
    let [decimals] = &arrays(&["1.5".parse::<Decimal<9, 1>>().unwrap()])[..] else {
        unreachable!()
    };
    assert_eq!(
        message::<Decimal<9, 2>>(Arc::clone(decimals)),
        "column \"value\" has the type Decimal128(9, 1), expected Decimal128(9, 2)"
    );
    let local: ArrayRef =
        Arc::new(TimestampMicrosecondArray::from(vec![0]).with_timezone("+01:00"));
    assert_eq!(
        message::<DateTime<Utc>>(local),
        "column \"value\" has the type Timestamp(µs, \"+01:00\"), expected Timestamp(µs, \"UTC\")"
    );
}

#[test]
fn nulls() {
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, None]));
    assert_eq!(
        message::<i64>(Arc::clone(&numbers)),
        format!("column \"value\" is null in row 1, {NOT_OPTIONAL}")
    );
    assert_eq!(
        message::<i64>(numbers.slice(2, 1)),
        format!("column \"value\" is null in row 0, {NOT_OPTIONAL}")
    );
    let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([
        Some(vec![Some(1), Some(2)]),
        Some(vec![]),
        Some(vec![Some(3), None]),
        None,
    ]));
    assert_eq!(
        message::<Option<Vec<i64>>>(Arc::clone(&lists)),
        format!("column \"value[]\" is null in row 2, {NOT_OPTIONAL}")
    );
    assert_eq!(
        message::<Option<Vec<i64>>>(lists.slice(2, 2)),
        format!("column \"value[]\" is null in row 0, {NOT_OPTIONAL}")
    );
    assert_eq!(
        message::<Vec<Option<i64>>>(Arc::clone(&lists)),
        format!("column \"value\" is null in row 3, {NOT_OPTIONAL}")
    );
    assert!(rows::<Option<Vec<Option<i64>>>>(&[lists]).is_ok());
}

#[test]
fn paths() {
    type Loose = (Vec<Option<(Option<String>, Option<i64>)>>,);
    let visit = Some((Some("a".to_owned()), Some(1)));
    let loose: Vec<Loose> = vec![(vec![],), (vec![visit, Some((Some("b".to_owned()), None))],)];
    type Tight = (Vec<(String, i64)>,);
    check::<Tight>(
        &arrays(&loose),
        &format!("column \"_0[]._1\" is null in row 1, {NOT_OPTIONAL}"),
    );
    type Fixed = ([Option<bool>; 2],);
    check::<([bool; 2],)>(
        &arrays::<Fixed>(&[([Some(true); 2],), ([Some(true), None],)]),
        &format!("column \"_0[]\" is null in row 1, {NOT_OPTIONAL}"),
    );
    let named = arrays(&[User { visits: vec![Visit { url: "c".to_owned(), ms: 2 }] }]);
    let expected = "column \"visits[]\" has the type Struct(\"url\": non-null Utf8View, \
                    \"ms\": non-null Int64), expected Struct(\"_0\": non-null Utf8View, \
                    \"_1\": non-null Int64)";
    assert_eq!(
        <Tight as Row>::columns(&named).unwrap_err().to_string(),
        expected.replace("visits[]", "_0[]")
    );
    check::<User>(
        &arrays(&[(vec![(1, 2)],)]),
        "column \"visits[]\" has the type Struct(\"_0\": non-null Int32, \"_1\": non-null Int32), \
         expected Struct(\"url\": non-null Utf8View, \"ms\": non-null Int64)",
    );
}

#[test]
fn ranges() {
    let infinity: ArrayRef =
        Arc::new(TimestampMicrosecondArray::from(vec![Some(0), None, Some(i64::MAX)]));
    assert_eq!(
        message::<Option<NaiveDateTime>>(Arc::clone(&infinity)),
        "column \"value\" holds 9223372036854775807 in row 2, which is out of the range of \
         NaiveDateTime"
    );
    assert!(rows::<Option<NaiveDateTime>>(&[infinity.slice(0, 2)]).is_ok());
    let dates: ArrayRef = Arc::new(Date32Array::from(vec![i32::MIN]));
    assert_eq!(
        message::<NaiveDate>(dates),
        "column \"value\" holds -2147483648 in row 0, which is out of the range of NaiveDate"
    );
    let times = Time64MicrosecondArray::new(
        vec![-1, 86_399_999_999].into(),
        Some(vec![false, true].into()),
    );
    let times: ArrayRef = Arc::new(times);
    assert!(rows::<Option<NaiveTime>>(&[times]).is_ok());
    let times: ArrayRef = Arc::new(Time64MicrosecondArray::from(vec![86_400_000_000]));
    assert_eq!(
        message::<NaiveTime>(times),
        "column \"value\" holds 86400000000 in row 0, which is out of the range of NaiveTime"
    );
}

#[test]
fn counts() {
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    check::<Visit>(&[], "found 0 columns, expected 2 (\"url\", \"ms\")");
    check::<i64>(
        &[Arc::clone(&numbers), Arc::clone(&numbers)],
        "found 2 columns, expected 1 (\"value\")",
    );
    check::<(i64, i64)>(
        &[Arc::clone(&numbers), numbers.slice(1, 1)],
        "column \"_1\" has 1 rows, expected 2",
    );
}

#[test]
fn problems_can_be_matched() {
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![None]));
    let mismatch = <(i64,)>::columns(&[numbers]).unwrap_err();
    let problem = Problem::Null { row: 0 };
    assert_eq!(mismatch, Mismatch::Column { column: "_0".to_owned(), problem });
}
