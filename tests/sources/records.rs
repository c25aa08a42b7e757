//! Fields of null records, in every format with records: a required field of a null record is null.

use std::fs::File;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields, Schema};
use datafusion::parquet::arrow::ArrowWriter;

use crate::world::World;

/// Four rows; the record of row 1 is null, and the inner one of row 2. All fields of both are
/// required. Row 3 has a list with a null record in it.
fn rows() -> RecordBatch {
    let inner_fields = Fields::from(vec![Field::new("z", DataType::Float64, false)]);
    let inner: ArrayRef = Arc::new(StructArray::new(
        inner_fields.clone(),
        vec![Arc::new(Float64Array::from(vec![0.5, 0.0, 0.0, 3.5]))],
        Some(NullBuffer::from(vec![true, false, false, true])),
    ));
    let fields = Fields::from(vec![
        Field::new("x", DataType::Int64, false),
        Field::new("y", DataType::Utf8, false),
        Field::new("in", DataType::Struct(inner_fields), true),
    ]);
    let x: ArrayRef = Arc::new(Int64Array::from(vec![10, 0, 0, 30]));
    let y: ArrayRef = Arc::new(StringArray::from(vec!["a", "", "", "b"]));
    let valid = Some(NullBuffer::from(vec![true, false, true, true]));
    let records = StructArray::new(fields.clone(), vec![x, y, inner], valid);
    let item_fields = Fields::from(vec![Field::new("v", DataType::Int64, false)]);
    let items = StructArray::new(
        item_fields.clone(),
        vec![Arc::new(Int64Array::from(vec![1, 0]))],
        Some(NullBuffer::from(vec![true, false])),
    );
    let item = Arc::new(Field::new("item", DataType::Struct(item_fields), true));
    let offsets = OffsetBuffer::from_lengths([0, 0, 0, 2]);
    let lists = ListArray::new(Arc::clone(&item), offsets, Arc::new(items), None);
    let schema = Schema::new(vec![
        Field::new("i", DataType::Int64, false),
        Field::new("r", DataType::Struct(fields), true),
        Field::new("l", DataType::List(item), true),
    ]);
    let i: ArrayRef = Arc::new(Int64Array::from(vec![0, 1, 2, 3]));
    RecordBatch::try_new(Arc::new(schema), vec![i, Arc::new(records), Arc::new(lists)]).unwrap()
}

fn write(world: &World) {
    let rows = rows();
    let file = File::create(world.at("r.parquet")).unwrap();
    let mut writer = ArrowWriter::try_new(file, rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
    let file = File::create(world.at("r.arrow")).unwrap();
    let mut writer = arrow::ipc::writer::FileWriter::try_new(file, &rows.schema()).unwrap();
    writer.write(&rows).unwrap();
    writer.finish().unwrap();
    let file = File::create(world.at("stream.arrow")).unwrap();
    let mut writer = arrow::ipc::writer::StreamWriter::try_new(file, &rows.schema()).unwrap();
    writer.write(&rows).unwrap();
    writer.finish().unwrap();
    // A second file of the table, whose records have no required fields and one more field.
    std::fs::create_dir(world.at("both")).unwrap();
    std::fs::copy(world.at("r.parquet"), world.at("both/1.parquet")).unwrap();
}

const CASES: &[(&str, &str)] = &[
    (
        "select i, r['x'], r['y'], r['in']['z'] from '@' order by i",
        "0|10|a|0.5\n1|||\n2|0||\n3|30|b|3.5",
    ),
    ("select i from '@' where r['x'] is null", "1"),
    ("select i from '@' where r['x'] = 0", "2"),
    ("select i from '@' where r['y'] = ''", "2"),
    ("select i from '@' where r['in']['z'] is null order by i", "1\n2"),
    ("select i from '@' where r['x'] is not null and r['in']['z'] < 1", "0"),
    (
        "select count(r['x']), count(r['in']['z']), min(r['in']['z']), sum(r['x']) from '@'",
        "3|2|0.5|40",
    ),
    ("select r['y'], count(*) from '@' group by 1 order by 1 nulls first", "|1\n|1\na|1\nb|1"),
    ("select count(*) from '@' a join '@' b on a.r['x'] = b.r['x']", "3"),
    ("select count(*) from (select r['in'] as n from '@') where n['z'] is null", "2"),
    ("select count(*) from (select coalesce(r, r) as n from '@') where n['x'] is null", "1"),
    ("select l[1]['v'], l[2]['v'] from '@' where i = 3", "1|"),
    ("select u['v'] from (select unnest(l) as u from '@') order by 1 nulls first", "\n1"),
    ("select max(case when i = 1 then r['x'] end) is null from '@'", "true"),
];

async fn check(world: &World) {
    write(world);
    for file in ["r.parquet", "r.arrow", "stream.arrow"] {
        for (sql, answer) in CASES {
            let sql = sql.replace("'@'", &format!("'@{file}'"));
            assert_eq!(world.text(&sql).await, *answer, "{sql}");
        }
    }
    world
        .rows(
            "copy (select 4 as i, named_struct('y', 'c', 'x', 40, 'w', true) as r) to '@both/2.parquet'",
        )
        .await;
    let sql = "select i, r['x'], r['y'], r['w'], r['in']['z'] from '@both' order by i";
    let answer = "0|10|a||0.5\n1||||\n2|0|||\n3|30|b||3.5\n4|40|c|true|";
    assert_eq!(world.text(sql).await, answer);
    for pushdown in ["true", "false"] {
        let set = format!("set datafusion.execution.parquet.pushdown_filters = {pushdown}");
        world.rows(&set).await;
        assert_eq!(world.text("select i from '@both' where r['x'] is null").await, "1");
        assert_eq!(world.text("select i from '@both' where r['x'] = 0").await, "2");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_of_null_records_are_null() {
    check(&World::here().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_of_null_records_are_null_on_machines() {
    check(&World::on_machines().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_hides_nothing_is_read_alone() {
    let world = World::here().await;
    let rows = "(select value as i, named_struct('x', value, 'y', repeat('long text ', 100)) as r from range(0, 2000))";
    world.rows(&format!("copy {rows} to '@x.parquet' options ('format.compression' 'uncompressed', 'format.dictionary_enabled' 'false')")).await;
    let plan = world.text("explain analyze select sum(r['x']) from '@x.parquet'").await;
    let read = plan.split("bytes_scanned=").nth(1).unwrap().split([',', ']']).next().unwrap();
    assert!(!read.contains('M'), "the long texts were read as well: {read}");
}
