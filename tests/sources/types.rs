//! Types: those in other programs' files, and round trips of our own.

use crate::world::World;

const DUCKDB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/parquet/duckdb.parquet");

async fn of_duckdb(world: &World) {
    std::fs::copy(DUCKDB, world.at("t.parquet")).unwrap();
    for (sql, answer) in [
        ("select u from '@t.parquet' order by 1", "12345678-1234-5678-1234-567812345678\n"),
        ("select count(*) from '@t.parquet' where u = '12345678-1234-5678-1234-567812345678'", "1"),
        ("select count(*) from '@t.parquet' where u like '1234%'", "1"),
        (
            "select iv = interval '1 month 2 days 3 seconds' from '@t.parquet' where iv is not null",
            "true",
        ),
        (
            "select extract(month from iv), extract(day from iv) from '@t.parquet' where iv is not null",
            "1|2",
        ),
        (
            "select cast(t as varchar), j, e, h, bits, u8, u64 from '@t.parquet' where t is not null",
            "12:34:56.789|{\"a\": 1}|ok|1.7014118346046923e38|1011|255|18446744073709551615",
        ),
        ("select ll[1][2], s['x']['y'][1], m['k'][2] from '@t.parquet' where e = 'ok'", "2|1|2"),
        (
            "select count(*), count(n), count(u), count(iv), count(tz) from '@t.parquet'",
            "2|0|1|1|1",
        ),
        ("select count(*) from '@t.parquet' where nested['u'] is not null", "1"),
        ("select count(*) from '@t.parquet' where n is null and u is null", "1"),
        // A TIME of microseconds beside literals, which have nanoseconds.
        (
            "select t < time '13:00', t between time '12:34' and time '12:35', t in (time '12:34:56.789'), \
             coalesce(t, time '01:00') = t from '@t.parquet' where t >= time '12:34:56.789'",
            "true|true|true|true",
        ),
        // Lists whose elements are called `element`, beside those made here.
        (
            "select ll || [[9]], array_append(ll, [7]), array_repeat(ll[1], 2), concat(ll, ll) \
             from '@t.parquet' where ll is not null",
            "[[1, 2], [3], [9]]|[[1, 2], [3], [7]]|[[1, 2], [1, 2]]|[[1, 2], [3], [1, 2], [3]]",
        ),
    ] {
        assert_eq!(world.text(sql).await, answer, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_types_of_duckdb_are_read() {
    of_duckdb(&World::here().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_types_of_duckdb_are_read_on_machines() {
    of_duckdb(&World::on_machines().await).await;
}

/// Types, with their extreme values.
const TYPES: &[(&str, &[&str])] = &[
    ("Int8", &["-128", "127"]),
    ("Int16", &["-32768", "32767"]),
    ("Int32", &["-2147483648", "2147483647"]),
    ("Int64", &["-9223372036854775808", "9223372036854775807"]),
    ("UInt8", &["0", "255"]),
    ("UInt16", &["0", "65535"]),
    ("UInt32", &["0", "4294967295"]),
    ("UInt64", &["0", "18446744073709551615"]),
    ("Float32", &["'-3.4028235e38'", "'1e-45'", "'-0.0'", "'NaN'", "'inf'"]),
    ("Float64", &["'-1.7976931348623157e308'", "'5e-324'", "'-0.0'", "'NaN'", "'-inf'"]),
    ("Boolean", &["true", "false"]),
    ("Decimal128(38, 10)", &["'-9999999999999999999999999999.9999999999'", "'0.0000000001'"]),
    ("Date32", &["'0001-01-01'", "'9999-12-31'"]),
    ("Timestamp(ms)", &["'0001-01-01T00:00:00'", "'9999-12-31T23:59:59.999'"]),
    ("Timestamp(µs)", &["'0001-01-01T00:00:00'", "'9999-12-31T23:59:59.999999'"]),
    ("Timestamp(ns)", &["'1677-09-22T00:00:00'", "'2262-04-11T23:47:16.854775807'"]),
    ("Time64(µs)", &["'00:00:00'", "'23:59:59.999999'"]),
    ("Utf8", &["''", "'a,\"b\"'", "'line\nbreak'", "'ü🙂'"]),
    ("Utf8View", &["''", "'longer than the twelve bytes of a view'"]),
];

/// Writes each type with nulls in each format, and reads it back as the same type or a wider one.
async fn come_back(world: &World) {
    for (number, (kind, values)) in TYPES.iter().enumerate() {
        let typed = kind.replace('\'', "''");
        let rows: Vec<String> = values
            .iter()
            .enumerate()
            .map(|(n, value)| format!("select {n} as n, arrow_cast({value}, '{typed}') as v"))
            .collect();
        let rows = format!("{} union all select 99, null", rows.join(" union all "));
        for format in ["parquet", "arrow", "json", "csv"] {
            let table = format!("'@t{number}.{format}'");
            world.rows(&format!("copy ({rows}) to {table}")).await;
            let back = format!("select n, arrow_cast(v, '{typed}') as v from {table}");
            let text = "select n, cast(v as varchar) as v";
            let expected = world.text(&format!("{text} from ({rows}) order by n")).await;
            // Text formats keep less of a type; that loss is not tested here.
            let said = ["Int", "UInt8", "UInt16", "UInt32", "Boolean", "Date32"];
            let binary = matches!(format, "parquet" | "arrow");
            if !binary && !said.iter().any(|said| kind.starts_with(said)) {
                continue;
            }
            let found = world.text(&format!("{text} from ({back}) order by n")).await;
            assert_eq!(found, expected, "{kind} in {format}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_comes_back() {
    come_back(&World::here().await).await;
}
