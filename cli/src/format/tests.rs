//! Tests of the formats: batches in, text out.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal128Array, Float64Array, Int64Array, ListArray, RecordBatch, StringArray,
};
use arrow::datatypes::{Field, Int64Type, Schema, SchemaRef};

use super::*;

const PIPE: Layout =
    Layout { terminal_columns: None, types: false, paint: Paint::Off, rows_max: None };

fn terminal(columns: usize, paint: Paint, rows_max: usize) -> Layout {
    Layout { terminal_columns: Some(columns), types: true, paint, rows_max: Some(rows_max) }
}

fn batch() -> RecordBatch {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from(vec![1, 20]))),
        ("name", Arc::new(StringArray::from(vec![Some("a|b"), None]))),
        ("ratio", Arc::new(Float64Array::from(vec![Some(0.1), Some(f64::NAN)]))),
        (
            "price",
            Arc::new(
                Decimal128Array::from(vec![123_456_789_012_345_678, -5])
                    .with_precision_and_scale(20, 2)
                    .unwrap(),
            ),
        ),
        (
            "list",
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(vec![
                Some(vec![Some(1), None]),
                None,
            ])),
        ),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn render(format: Format, layout: Layout, schema: &SchemaRef, batches: &[RecordBatch]) -> String {
    let mut out = Vec::new();
    let mut writer = writer(format, schema, layout);
    writer.start(&mut out).unwrap();
    for batch in batches {
        writer.batch(batch, &mut out).unwrap();
    }
    writer.finish(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[track_caller]
fn check(format: Format, layout: Layout, batches: &[RecordBatch], expect: &str) {
    assert_eq!(render(format, layout, &batches[0].schema(), batches), expect);
}

fn numbers(n: i64) -> RecordBatch {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..n));
    RecordBatch::try_from_iter([("n", numbers)]).unwrap()
}

#[test]
fn csv_leaves_nulls_empty_and_writes_nested_values_as_json() {
    let expect = "id,name,ratio,price,list\n\
                  1,a|b,0.1,1234567890123456.78,\"[1,null]\"\n\
                  20,,NaN,-0.05,\n";
    check(Format::Csv, PIPE, &[batch()], expect);
    check(Format::Tsv, PIPE, &[numbers(2)], "n\n0\n1\n");
    let texts: ArrayRef = Arc::new(StringArray::from(vec![Some(""), None]));
    let two = [("a", Arc::clone(&texts)), ("b", Arc::clone(&texts))];
    let two = RecordBatch::try_from_iter(two).unwrap();
    check(Format::Csv, PIPE, &[two], "a,b\n\"\",\"\"\n,\n");
    let one = RecordBatch::try_from_iter([("a", texts)]).unwrap();
    check(Format::Csv, PIPE, &[one], "a\n\"\"\n\"\"\n");
}

#[test]
fn json_is_one_array_and_jsonl_a_line_per_row_over_all_batches() {
    let first = r#"{"id":1,"name":"a|b","ratio":0.1,"price":1234567890123456.78,"list":[1,null]}"#;
    let second = r#"{"id":20,"name":null,"ratio":null,"price":-0.05,"list":null}"#;
    let expect = format!("[{first},\n{second},\n{first},\n{second}]\n");
    check(Format::Json, PIPE, &[batch(), batch()], &expect);
    check(Format::Jsonl, PIPE, &[batch()], &format!("{first}\n{second}\n"));
}

#[test]
fn markdown_escapes_bars() {
    let expect = "| id | name | ratio | price | list |\n\
                  | ---: | --- | ---: | ---: | --- |\n\
                  | 1 | a\\|b | 0.1 | 1234567890123456.78 | [1, NULL] |\n\
                  | 20 | NULL | NaN | -0.05 | NULL |\n";
    check(Format::Markdown, PIPE, &[batch()], expect);
}

#[test]
fn line_shows_a_block_per_row() {
    let text: ArrayRef = Arc::new(StringArray::from(vec![Some("two\nlines"), None]));
    let batch = RecordBatch::try_from_iter([("text", text)]).unwrap();
    let expect = "-[ row 1 ]----------------------\n\
                  text | two\n     \
                  | lines\n\
                  -[ row 2 ]----------------------\n\
                  text | NULL\n";
    check(Format::Line, PIPE, &[batch], expect);
}

#[test]
fn a_table_in_a_pipe_is_complete_and_plain() {
    let expect = "\
+----+------+-------+---------------------+-----------+
| id | name | ratio |        price        |   list    |
+----+------+-------+---------------------+-----------+
|  1 | a|b  |   0.1 | 1234567890123456.78 | [1, NULL] |
| 20 | NULL |   NaN |               -0.05 | NULL      |
+----+------+-------+---------------------+-----------+
";
    check(Format::Table, PIPE, &[batch()], expect);
    let rows = render(Format::Table, PIPE, &numbers(1).schema(), &[numbers(5_000)]);
    assert_eq!(rows.lines().count(), 5_000 + 4);
}

#[test]
fn cells_with_newlines_take_several_lines() {
    let text: ArrayRef = Arc::new(StringArray::from(vec!["two\nlines\t", "one"]));
    let batch =
        RecordBatch::try_from_iter([("text", text), ("n", Arc::clone(numbers(2).column(0)))]);
    let expect = "\
+---------+---+
|  text   | n |
+---------+---+
| two     | 0 |
| lines\\t |   |
| one     | 1 |
+---------+---+
";
    check(Format::Table, PIPE, &[batch.unwrap()], expect);
}

#[test]
fn a_long_table_on_a_terminal_is_elided_in_the_middle() {
    let layout = terminal(80, Paint::Off, 4);
    let expect = "\
┌────────┐
│   n    │
│ bigint │
├────────┤
│      0 │
│      1 │
│   …    │
│     98 │
│     99 │
└────────┘
100 rows (4 shown)
";
    check(Format::Table, layout, &[numbers(100)], expect);

    let batches: Vec<_> = (0..100).map(|row| numbers(100).slice(row, 1)).collect();
    check(Format::Table, layout, &batches, expect);

    let all = render(Format::Table, layout, &numbers(1).schema(), &[numbers(3), numbers(1)]);
    assert!(!all.contains('…') && !all.contains("shown"), "{all}");
}

#[test]
fn a_wide_table_on_a_terminal_is_narrowed_then_elided() {
    let layout = terminal(40, Paint::Off, 40);
    let text: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(100)]));
    let batch = RecordBatch::try_from_iter([("a", Arc::clone(&text)), ("b", text)]).unwrap();
    let narrow = render(Format::Table, layout, &batch.schema(), &[batch]);
    assert!(narrow.lines().all(|line| cell_width(line) <= 40), "{narrow}");
    assert!(narrow.contains("x… │"), "{narrow}");

    let column: ArrayRef = Arc::new(Int64Array::from(vec![1_000_000]));
    let wide = (0..19).map(|i| (format!("column_{i}"), Arc::clone(&column)));
    let batch = RecordBatch::try_from_iter(wide).unwrap();
    let expect = "\
┌──────────┬──────────┬───┬───────────┐
│ column_0 │ column_1 │ … │ column_18 │
│  bigint  │  bigint  │   │  bigint   │
├──────────┼──────────┼───┼───────────┤
│  1000000 │  1000000 │ … │   1000000 │
└──────────┴──────────┴───┴───────────┘
1 row, 19 columns (3 shown)
";
    check(Format::Table, layout, &[batch], expect);
}

fn cell_width(line: &str) -> usize {
    crate::cell::width(line)
}

#[test]
fn an_empty_result_shows_its_header() {
    let schema = Arc::new(Schema::new(vec![
        Field::new("a", arrow::datatypes::DataType::Int64, true),
        Field::new("b", arrow::datatypes::DataType::Utf8, true),
    ]));
    assert_eq!(render(Format::Csv, PIPE, &schema, &[]), "a,b\n");
    assert_eq!(render(Format::Json, PIPE, &schema, &[]), "[]\n");
    assert_eq!(render(Format::Jsonl, PIPE, &schema, &[]), "");
    assert_eq!(render(Format::Markdown, PIPE, &schema, &[]), "| a | b |\n| ---: | --- |\n");
    let table = render(Format::Table, PIPE, &schema, &[]);
    assert_eq!(table, "+---+---+\n| a | b |\n+---+---+\n+---+---+\n");
}

#[test]
fn explain_is_shown_as_text() {
    let kinds: ArrayRef = Arc::new(StringArray::from(vec!["logical_plan", "physical_plan"]));
    let plans: ArrayRef = Arc::new(StringArray::from(vec!["Limit\n  Scan: t", "X\n"]));
    let batch = RecordBatch::try_from_iter([("plan_type", kinds), ("plan", plans)]).unwrap();
    let expect = "logical plan\n  Limit\n    Scan: t\n\nphysical plan\n  X\n";
    check(Format::Table, PIPE, &[batch], expect);
}

#[test]
fn colours_are_used_only_when_asked_for() {
    for format in Format::all() {
        let plain = render(*format, PIPE, &batch().schema(), &[batch()]);
        assert!(!plain.contains('\u{1b}'), "{format:?}");
    }
    let layout = terminal(80, Paint::On, 40);
    let painted = render(Format::Table, layout, &batch().schema(), &[batch()]);
    assert!(painted.contains("\u{1b}[2mNULL\u{1b}[0m"), "{painted}");
}
