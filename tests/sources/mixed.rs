//! Folders whose files have a column with different types, at different positions, or not at all:
//! the table's type holds all of them, each value is unchanged, and a filter finds each value.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::ipc::writer::FileWriter;
use datafusion::parquet::arrow::ArrowWriter;

use crate::world::World;

/// A file with the columns `n` and `v`; the values of `v` are cast from text.
fn file(path: &Path, kind: &DataType, first: i64, values: &[Option<&str>], swapped: bool) {
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let texts: ArrayRef = Arc::new(StringArray::from(values.to_vec()));
    let v = cast_with_options(&texts, kind, &strict).unwrap();
    let n: ArrayRef = Arc::new(Int64Array::from_iter_values((first..).take(values.len())));
    let mut columns = vec![
        (Field::new("n", DataType::Int64, false), n),
        (Field::new("v", kind.clone(), true), v),
    ];
    if swapped {
        columns.reverse();
    }
    let (fields, arrays): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    if path.extension().is_some_and(|extension| extension == "parquet") {
        let mut writer =
            ArrowWriter::try_new(File::create(path).unwrap(), rows.schema(), None).unwrap();
        writer.write(&rows).unwrap();
        writer.close().unwrap();
    } else {
        let mut writer = FileWriter::try_new(File::create(path).unwrap(), &rows.schema()).unwrap();
        writer.write(&rows).unwrap();
        writer.finish().unwrap();
    }
}

/// The types of two files, the values of the first and of the second, and the type of the table.
type Pair = (DataType, DataType, [&'static str; 2], [&'static str; 2], &'static str);

fn pairs() -> Vec<Pair> {
    use DataType::{
        Binary, Date32, Decimal128, Dictionary, Float32, Float64, Int8, Int16, Int32, Int64,
        LargeUtf8, Timestamp, UInt8, UInt32, UInt64, Utf8, Utf8View,
    };
    use TimeUnit::{Microsecond, Millisecond, Nanosecond};
    let numbers = ["1", "-7"];
    let utc = || Some("UTC".into());
    let moments = ["2024-02-29T12:00:00.123", "1969-12-31T23:59:59"];
    vec![
        (Int8, UInt8, numbers, ["200", "3"], "Int16"),
        (Int16, UInt32, numbers, ["4000000000", "3"], "Int64"),
        (Int64, UInt64, numbers, ["18446744073709551615", "3"], "Decimal128(20, 0)"),
        (Int32, Int64, numbers, ["9007199254740993", "3"], "Int64"),
        (Int16, Float32, ["2", "-7"], ["2.5", "-3"], "Float32"),
        (Int32, Float64, ["2", "2147483647"], ["2.5", "-3"], "Float64"),
        (Int64, Float64, ["9007199254740992", "-7"], ["2.5", "-3"], "Float64"),
        (Float32, Float64, ["1.5", "-7"], ["2.25", "-3"], "Float64"),
        (
            Decimal128(9, 2),
            Decimal128(22, 2),
            ["1.50", "-7"],
            ["99999999999999999999.99", "3"],
            "Decimal128(22, 2)",
        ),
        (
            Decimal128(10, 2),
            Decimal128(12, 4),
            ["1.23", "-7.25"],
            ["1.2345", "3"],
            "Decimal128(12, 4)",
        ),
        (
            Decimal128(38, 0),
            Decimal128(38, 10),
            ["99999999999999999999999999999999999999", "2"],
            ["1.0000000001", "3"],
            "Decimal256(48, 10)",
        ),
        (
            Int64,
            Decimal128(5, 2),
            ["9223372036854775807", "-7"],
            ["1.25", "3"],
            "Decimal128(21, 2)",
        ),
        (
            Timestamp(Millisecond, None),
            Timestamp(Nanosecond, None),
            moments,
            ["2024-02-29T12:00:00.123456789", "2000-01-01T00:00:00"],
            "Timestamp(ns)",
        ),
        (
            Timestamp(Microsecond, utc()),
            Timestamp(Millisecond, utc()),
            moments,
            ["2024-02-29T13:00:00", "2000-01-01T00:00:00"],
            "Timestamp(µs, \"UTC\")",
        ),
        (
            Date32,
            Timestamp(Microsecond, None),
            ["2024-02-29", "0001-01-01"],
            moments,
            "Timestamp(µs)",
        ),
        (Utf8, LargeUtf8, ["a", ""], ["b", "c"], "Utf8View"),
        (Dictionary(Box::new(Int32), Box::new(Utf8)), Utf8View, ["a", ""], ["b", "c"], "Utf8View"),
        (Binary, Utf8, ["a", ""], ["b", "c"], "BinaryView"),
    ]
}

/// A filter finds every value and no other, and both files are read in order.
async fn check(world: &World, ending: &str) {
    for (number, (left, right, one, two, expected)) in pairs().into_iter().enumerate() {
        let name = |file: &str| world.path(&format!("{number}{ending}/{file}.{ending}"));
        file(&name("1"), &left, 0, &[Some(one[0]), None, Some(one[1])], false);
        file(&name("2"), &right, 10, &[None, Some(two[0]), Some(two[1])], true);
        let table = format!("'@{number}{ending}'");
        let sql =
            format!("select count(*), count(v), min(n), max(n), arrow_typeof(min(v)) from {table}");
        let found = world.text(&sql).await;
        assert!(found.starts_with("6|4|0|12|"), "{left} and {right}: {found}");
        let wide = found.rsplit('|').next().unwrap();
        if ending == "parquet" {
            assert_eq!(wide, expected, "{left} and {right}");
        }
        for (n, text) in [(0, one[0]), (2, one[1]), (11, two[0]), (12, two[1])] {
            let value = format!("arrow_cast('{text}', '{}')", wide.replace('\'', "''"));
            let sql = format!("select n from {table} where v = {value} order by n");
            let found = world.text(&sql).await;
            assert_eq!(found, n.to_string(), "{left} and {right}: {sql}");
            let more = format!("select count(*) from {table} where v >= {value}");
            // Bounds of computed columns cannot prune.
            let all = format!("select count(*) from {table} where coalesce(v, v) >= {value}");
            assert_eq!(
                world.text(&more).await,
                world.text(&all).await,
                "{left} and {right}: {more}"
            );
        }
        let sql = format!("select n from {table} where v is null order by n");
        assert_eq!(world.text(&sql).await, "1\n10", "{left} and {right}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_two_types_are_one_table() {
    let world = World::here().await;
    check(&world, "parquet").await;
    check(&world, "arrow").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_two_types_are_one_table_on_machines() {
    let world = World::on_machines().await;
    check(&world, "parquet").await;
    check(&world, "arrow").await;
}

#[tokio::test]
async fn what_no_type_holds_is_refused_with_both_files() {
    let world = World::here().await;
    for (number, (left, right, one, two)) in [
        (DataType::Int64, DataType::Utf8, "1", "x"),
        (DataType::Date32, DataType::Int32, "2024-01-01", "1"),
    ]
    .into_iter()
    .enumerate()
    {
        file(&world.path(&format!("{number}/1.parquet")), &left, 0, &[Some(one)], false);
        file(&world.path(&format!("{number}/2.parquet")), &right, 0, &[Some(two)], false);
        let error = world.error(&format!("select * from '@{number}'")).await;
        for words in ["column \"v\"", "1.parquet", "2.parquet"] {
            assert!(error.contains(words), "{error}");
        }
    }
    // Integers that no float can hold are an error, not rounded.
    file(&world.path("long/1.parquet"), &DataType::Int64, 0, &[Some("9007199254740993")], false);
    file(&world.path("long/2.parquet"), &DataType::Float64, 0, &[Some("1.5")], false);
    let error = world.error("select v from '@long'").await;
    assert!(error.contains("9007199254740993"), "{error}");
    assert_eq!(world.text("select count(*) from '@long'").await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_are_found_by_name_in_every_file() {
    for world in [World::here().await, World::on_machines().await] {
        for ending in ["parquet", "arrow"] {
            for number in 0..80 {
                let path = world.path(&format!("many{ending}/{number:02}.{ending}"));
                file(&path, &DataType::Utf8, number, &[Some("text")], number % 3 == 2);
            }
            let sql = format!("select sum(n), min(v), max(v), count(*) from '@many{ending}'");
            assert_eq!(world.text(&sql).await, "3160|text|text|80", "{ending}");
            let sql = format!("select count(*) from '@many{ending}' where n = 77");
            assert_eq!(world.text(&sql).await, "1", "{ending}");
        }
    }
}

#[tokio::test]
async fn two_columns_of_one_name_are_refused() {
    let world = World::here().await;
    let field = |name: &str| Field::new(name, DataType::Int64, false);
    let schema = Arc::new(Schema::new(vec![field("id"), field("value"), field("value")]));
    let column: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let rows = RecordBatch::try_new(schema, vec![Arc::clone(&column), Arc::clone(&column), column])
        .unwrap();
    let mut writer =
        ArrowWriter::try_new(File::create(world.at("x.parquet")).unwrap(), rows.schema(), None)
            .unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
    let error = world.error("select * from '@x.parquet'").await;
    assert!(error.contains("x.parquet") && error.contains("same name \"value\""), "{error}");
}
