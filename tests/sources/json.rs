//! Real-life JSON: with or without line breaks, fields of several kinds, large numbers, keys that
//! first appear late.

use std::fmt::Write as _;

use crate::world::World;

/// Sessions that read files in one part, and in as many as possible.
async fn worlds() -> [World; 2] {
    [World::here().await, World::on_machines().await]
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_written_in_any_way() {
    for world in worlds().await {
        let pretty = "{\n  \"a\": 1,\n  \"b\": {\n    \"c\": [\n      1,\n      2\n    ]\n  }\n}";
        let second = "{\n  \"a\": 2,\n  \"b\": {\n    \"c\": []\n  }\n}";
        let cases = [
            ("lines", "{\"a\":1}\n{\"a\":2}\n".to_owned()),
            ("no_end", "{\"a\":1}\n{\"a\":2}".to_owned()),
            ("crlf", "{\"a\":1}\r\n\r\n{\"a\":2}\r\n".to_owned()),
            ("bom", "\u{feff}{\"a\":1}\n{\"a\":2}\n".to_owned()),
            ("joined", "{\"a\":1}{\"a\":2}".to_owned()),
            ("array", format!("[{pretty},\n{second}]\n")),
            ("objects", format!("{pretty}\n{second}\n")),
            ("compact", "[{\"a\":1},{\"a\":2}]".to_owned()),
            ("arrays", "[{\"a\":1}]\n[{\"a\":2}]\n[]".to_owned()),
            ("one", "{\n\"a\":\n3\n}".to_owned()),
        ];
        for (name, text) in cases {
            world.write(&format!("{name}.json"), text);
            let sql = format!("select sum(a) from '@{name}.json'");
            assert_eq!(world.text(&sql).await, "3", "{name}");
        }
        let sql = "select sum(b['c'][2]), count(*) from '@objects.json'";
        assert_eq!(world.text(sql).await, "2|2");
        for (name, between) in [("objects", "\n"), ("list", ",\n"), ("lines", "")] {
            let mut text = String::new();
            for row in 0..20_000 {
                let break_ = if name == "lines" { "" } else { "\n " };
                let end = if name == "lines" { "\n" } else { between };
                write!(
                    text,
                    "{{{break_}\"a\":{row},{break_}\"b\":[{{\"x\":1}},{break_}{{\"x\":2}}]}}{end}"
                )
                .unwrap();
            }
            let text = match name {
                "list" => format!("[{}]", text.trim_end_matches(",\n")),
                _ => text,
            };
            world.write(&format!("big/{name}.json"), text);
            let sql = format!("select sum(a), count(*), sum(b[2]['x']) from '@big/{name}.json'");
            assert_eq!(world.text(&sql).await, "199990000|20000|40000", "{name}");
        }
        world.session.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_exact() {
    let world = World::here().await;
    let cases = [
        ("i64", ["9007199254740993", "-9223372036854775808"], "Int64"),
        ("u64", ["9007199254740993", "18446744073709551615"], "UInt64"),
        ("i128", ["-1", "18446744073709551616"], "Decimal128(38, 0)"),
        ("huge", ["1", "123456789012345678901234567890123456789012345"], "Utf8"),
        ("mixed", ["9007199254740993", "0.5"], "Utf8"),
        ("float", ["1.5", "0.25"], "Float64"),
    ];
    for (name, [one, two], kind) in cases {
        world.write(&format!("{name}.json"), format!("{{\"n\":{one}}}\n{{\"n\":{two}}}\n"));
        let sql = format!("select n from '@{name}.json'");
        assert_eq!(world.text(&sql).await, format!("{one}\n{two}"), "{name}");
        let sql = format!("select arrow_typeof(n) from '@{name}.json' limit 1");
        assert_eq!(world.text(&sql).await, kind, "{name}");
    }
    let first: String = (0..21_000).map(|row| format!("{{\"n\":{row}}}\n")).collect();
    for (name, value) in [("big", "9223372036854775808"), ("part", "0.5"), ("text", "\"007\"")] {
        world.write(&format!("late_{name}.json"), format!("{first}{{\"n\":{value}}}\n"));
        let error = world.error(&format!("select max(n) from '@late_{name}.json'")).await;
        for word in ["late_", "line 21001", "\"n\"", value, "schema_infer_max_rec"] {
            assert!(error.contains(word), "{name}: {error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_of_several_kinds_are_text() {
    for world in worlds().await {
        let cases = [
            ("text", "1", "\"x\"", "1|x"),
            ("zeros", "5", "\"007\"", "5|007"),
            ("truth", "true", "1", "true|1"),
            ("object", "1", "{\"b\":1}", "1|{\"b\":1}"),
            ("list", "[1]", "2", "[1]|2"),
        ];
        for (name, one, two, right) in cases {
            world.write(&format!("{name}.json"), format!("{{\"a\":{one}}}\n{{\"a\":{two}}}\n"));
            let sql = format!(
                "select max(a) filter (where a like '{}%'), \
                min(a) filter (where a not like '{}%') from '@{name}.json'",
                &one[..1],
                &one[..1]
            );
            assert_eq!(world.text(&sql).await, right, "{name}");
        }
        world
            .write("deep.json", "{\"a\":{\"x\":[1]}}\n{\"a\":{\"x\":[{\"y\":1}]}}\n{\"a\":null}\n");
        assert_eq!(
            world.text("select count(a), max(a['x'][1]) from '@deep.json'").await,
            "2|{\"y\":1}"
        );
        let nested = format!("{{\"a\":{}1{}}}\n", "[".repeat(300), "]".repeat(300));
        world.write("nested.json", nested);
        assert_eq!(world.text("select count(a) from '@nested.json'").await, "1");
        world.write("deepest.json", format!("{{\"a\":{}", "[".repeat(100_000)));
        let error = world.error("select count(a) from '@deepest.json'").await;
        assert!(error.contains("deepest.json"), "{error}");
        world.session.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_come_late_are_columns_or_errors() {
    for world in worlds().await {
        for file in 0..80 {
            let late = if file >= 72 { ",\"late\":7" } else { "" };
            world.write(&format!("many/{file:02}.jsonl"), format!("{{\"n\":{file}{late}}}\n"));
        }
        assert_eq!(world.text("select n, late from '@many' where n = 79").await, "79|7");
        let first: String = (0..21_000).map(|row| format!("{{\"a\":{row},\"b\":1}}\n")).collect();
        world.write("late.json", format!("{first}{{\"a\":1,\"b\":2,\"c\":3}}\n"));
        let error = world.error("select * from '@late.json'").await;
        for word in ["late.json", "line 21001", "\"c\"", "CREATE EXTERNAL TABLE"] {
            assert!(error.contains(word), "{error}");
        }
        assert_eq!(world.text("select sum(b) from '@late.json'").await, "21002");
        world
            .rows("create external table t (a int, c int, d varchar) stored as json location '@late.json'")
            .await;
        assert_eq!(world.text("select count(a), sum(c), count(d) from t").await, "21001|3|0");
        world.session.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn declared_types_are_read_as_a_user_would() {
    let world = World::here().await;
    world.write(
        "d.json",
        "{\"i\":\"7\",\"f\":1,\"d\":\"2024-02-29\",\"t\":\"2024-02-29 10:00:00\",\"x\":1.25,\"b\":\"true\"}\n\
         {\"i\":8,\"extra\":[1]}\n",
    );
    world
        .rows(
            "create external table t (i int, f double, d date, t timestamp, x decimal(10,2), b boolean) \
             stored as json location '@d.json'",
        )
        .await;
    let text = world.text("select i, f, d, x, b from t order by i").await;
    assert_eq!(text, "7|1.0|2024-02-29|1.25|true\n8||||");
}

#[tokio::test(flavor = "multi_thread")]
async fn strings_have_all_characters() {
    let world = World::here().await;
    world.write(
        "s.json",
        "{\"k\\u0065y\":\"\\ud83d\\ude00 \\\"x\\\" \\u00fc\\n\"}\n{\"key\":\"ü\"}\n",
    );
    let sql = "select count(*) from '@s.json' where key = 'ü' or key = '😀 \"x\" ü\n'";
    assert_eq!(world.text(sql).await, "2");
    for (name, text) in [
        ("surrogate", "{\"a\":1}\n{\"a\":\"\\ud83d\"}\n"),
        ("break", "{\"a\":1}\n{\"a\":\"x\ny\"}\n"),
        ("twice", "{\"a\":1}\n{\"a\":1,\"a\":2}\n"),
        ("scalar", "{\"a\":1}\n7\n"),
        ("comma", "{\"a\":1},\n{\"a\":2}\n"),
        ("cut", "{\"a\":1}\n{\"a\":"),
        ("list", "[{\"a\":1}\n"),
        ("number", "{\"a\":1}\n{\"a\":01}\n"),
    ] {
        world.write(&format!("{name}.json"), text);
        let error = world.error(&format!("select count(a) from '@{name}.json'")).await;
        assert!(error.contains(&format!("{name}.json\", line ")), "{name}: {error}");
    }
    world.write("bytes.json", b"{\"a\":\"x\"}\n{\"a\":\"caf\xe9\"}\n");
    let error = world.error("select count(a) from '@bytes.json'").await;
    assert!(error.contains("bytes.json\", line 2") && error.contains("0xe9"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nulls_in_place_of_objects_are_rows_and_nan_comes_back() {
    for world in worlds().await {
        let mut lines = String::new();
        for row in 0..20_000 {
            writeln!(lines, "{{\"a\":{row},\"s\":\"{}\"}}", "x".repeat(20)).unwrap();
            lines.push_str(if row % 3 == 0 { "null\n" } else { "" });
        }
        let cases = [
            ("lines", "null\n{\"a\":1}\nnull\n{\"a\":2}\n".to_owned(), "4|2|3"),
            ("list", "[null,{\"a\":1},\n{\"a\":2},null]".to_owned(), "4|2|3"),
            ("end", "{\"a\":3}\nnull".to_owned(), "2|1|3"),
            ("many", lines, "26667|20000|199990000"),
        ];
        for (name, text, right) in cases {
            world.write(&format!("{name}.json"), text);
            let sql = format!("select count(*), count(a), sum(a) from '@{name}.json'");
            assert_eq!(world.text(&sql).await, right, "{name}");
        }
        world.write("word.json", "{\"a\":1}\nnone\n");
        let error = world.error("select * from '@word.json'").await;
        assert!(error.contains("word.json") && error.contains("line 2"), "{error}");
        let rows = "(values (1, 1.5::double), (2, 'NaN'), (3, '-Infinity'), (4, null)) t(n, x)";
        world.rows(&format!("copy (select * from {rows}) to '@floats.json' stored as json")).await;
        let sql = "select count(*), count(x), sum(n) filter (where isnan(x)), min(x) = '-Infinity' \
                   from '@floats.json'";
        assert_eq!(world.text(sql).await, "4|3|2|true");
        world.session.shutdown().await;
    }
}
