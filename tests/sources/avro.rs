//! Avro files made by hand, because nothing in this project writes them: truncated files, and types
//! that SQL does not have.

use crate::world::World;

/// An Avro file with the columns `a` (long) and `b` (string), in blocks of one row each.
pub(crate) fn file(rows: &[(i64, &str)]) -> Vec<u8> {
    let schema = r#"{"type":"record","name":"row","fields":[{"name":"a","type":"long"},{"name":"b","type":"string"}]}"#;
    let rows = rows.iter().map(|(a, b)| {
        let mut row = Vec::new();
        long(&mut row, *a);
        text(&mut row, b);
        row
    });
    of_schema(schema, rows)
}

/// Encodes rows as an Avro file, in blocks of one row each.
fn of_schema(schema: &str, rows: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    let sync = [7_u8; 16];
    let mut out = b"Obj\x01".to_vec();
    long(&mut out, 2);
    text(&mut out, "avro.schema");
    text(&mut out, schema);
    text(&mut out, "avro.codec");
    text(&mut out, "null");
    long(&mut out, 0);
    out.extend(sync);
    for row in rows {
        long(&mut out, 1);
        long(&mut out, i64::try_from(row.len()).expect("a small row"));
        out.extend(row);
        out.extend(sync);
    }
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_cut_off_are_named() {
    let rows: Vec<(i64, String)> = (0..300).map(|row| (row, format!("text {row}"))).collect();
    let rows: Vec<(i64, &str)> = rows.iter().map(|(a, b)| (*a, b.as_str())).collect();
    let whole = file(&rows);
    for world in [World::here().await, World::on_machines().await] {
        world.write("x.avro", &whole);
        assert_eq!(world.text("select count(*), sum(a) from '@x.avro'").await, "300|44850");
        let mut wrong = whole.clone();
        *wrong.last_mut().unwrap() ^= 1;
        let mut cases = vec![wrong, [whole.as_slice(), b"and more"].concat()];
        let lengths = [200, whole.len() / 2]
            .into_iter()
            .chain([1, 2, 15, 16, 17, 500].map(|n| whole.len() - n));
        cases.extend(lengths.map(|length| whole[..length].to_vec()));
        for (at, bytes) in cases.into_iter().enumerate() {
            world.write("y.avro", bytes);
            for what in ["count(*)", "sum(a)", "max(b)"] {
                let error = world.error(&format!("select {what} from '@y.avro'")).await;
                assert!(error.contains("y.avro\" cannot be read"), "{at}: {error}");
            }
        }
        world.session.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_several_types_are_of_one() {
    let schema = r#"{"type":"record","name":"R","namespace":"com.x","fields":[
        {"name":"k","type":"int"},
        {"name":"whole","type":["int","long"]},
        {"name":"mixed","type":["null","int","double","string"]},
        {"name":"nothing","type":"null"},
        {"name":"id","type":{"type":"string","logicalType":"uuid"}},
        {"name":"a","type":{"type":"record","name":"In","fields":[{"name":"x","type":"int"}]}},
        {"name":"b","type":["null","In"]}]}"#;
    let id = "00000000-0000-0000-0000-00000000000a";
    let row = |k: i64| {
        let mut row = Vec::new();
        long(&mut row, k);
        long(&mut row, k % 2);
        long(&mut row, if k % 2 == 0 { k } else { k << 40 });
        long(&mut row, k % 4);
        match k % 4 {
            0 => {}
            1 => long(&mut row, k),
            2 => row.extend(1.5_f64.to_le_bytes()),
            _ => text(&mut row, "x"),
        }
        text(&mut row, id);
        long(&mut row, k);
        long(&mut row, k % 2);
        if k % 2 == 1 {
            long(&mut row, k);
        }
        row
    };
    for world in [World::here().await, World::on_machines().await] {
        world.write("u.avro", of_schema(schema, (0..8).map(row)));
        let text = |sql| world.text(sql);
        let whole = "select k from '@u.avro' where whole > 4 order by k";
        assert_eq!(text(whole).await, "1\n3\n5\n6\n7");
        let mixed = "select mixed, count(*) from '@u.avro' group by mixed order by 1 nulls first";
        assert_eq!(text(mixed).await, "|2\n1|1\n1.5|2\n5|1\nx|2");
        assert_eq!(text("select count(*) from '@u.avro' where nothing is null").await, "8");
        assert_eq!(text("select distinct id from '@u.avro'").await, id);
        assert_eq!(text("select sum(b['x']), sum(a['x']) from '@u.avro'").await, "16|28");
        world.session.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_no_records_are_refused() {
    let world = World::here().await;
    world.write("l.avro", of_schema(r#""long""#, [vec![2]]));
    let error = world.error("select * from '@l.avro'").await;
    assert!(error.contains("l.avro") && error.contains("\"long\", not records"), "{error}");
}

fn text(out: &mut Vec<u8>, text: &str) {
    long(out, i64::try_from(text.len()).expect("a small text"));
    out.extend(text.as_bytes());
}

fn long(out: &mut Vec<u8>, value: i64) {
    let mut zigzag = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while zigzag >= 0x80 {
        out.push((zigzag & 0x7f) as u8 | 0x80);
        zigzag >>= 7;
    }
    out.push(zigzag as u8);
}
