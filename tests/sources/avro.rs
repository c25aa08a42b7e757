//! Avro files by hand: nothing that this project uses writes them.

/// An Avro file with the columns `a` (long) and `b` (string), in blocks of one row each.
pub(crate) fn file(rows: &[(i64, &str)]) -> Vec<u8> {
    let schema = r#"{"type":"record","name":"row","fields":[{"name":"a","type":"long"},{"name":"b","type":"string"}]}"#;
    let sync = [7_u8; 16];
    let mut out = b"Obj\x01".to_vec();
    long(&mut out, 2);
    text(&mut out, "avro.schema");
    text(&mut out, schema);
    text(&mut out, "avro.codec");
    text(&mut out, "null");
    long(&mut out, 0);
    out.extend(sync);
    for (a, b) in rows {
        let mut row = Vec::new();
        long(&mut row, *a);
        text(&mut row, b);
        long(&mut out, 1);
        long(&mut out, i64::try_from(row.len()).expect("a small row"));
        out.extend(row);
        out.extend(sync);
    }
    out
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
