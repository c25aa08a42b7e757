//! Real-life delimited text: quotes and line breaks anywhere, headers in any order, texts that look
//! like numbers, nulls; and the errors for unreadable files.

use std::fmt::Write as _;

use crate::world::World;

/// Sessions that read files in one part, and in as many as possible.
async fn worlds() -> [World; 2] {
    [World::here().await, World::on_machines().await]
}

/// Rows whose last part has a text with line breaks, each line of which looks like a row.
fn late_breaks(quote: char, end: &str, rows: usize, plain: usize) -> String {
    let mut text = format!("id,n,note{end}");
    for id in 0..rows {
        if id < plain {
            write!(text, "{id},{},a plain note{end}", id % 10).unwrap();
        } else {
            write!(text, "{id},{},{quote}begins{end}", id % 10).unwrap();
            for line in 0..20 {
                write!(text, "9{id},{line},not a row{end}").unwrap();
            }
            write!(text, "ends{quote}{end}").unwrap();
        }
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn line_breaks_in_quotes_come_as_late_as_they_like() {
    for world in worlds().await {
        for (name, quote, end) in [("a", '"', "\n"), ("b", '\'', "\n"), ("c", '"', "\r\n")] {
            world.write(&format!("{name}.csv"), late_breaks(quote, end, 9000, 8000));
            world
                .rows(&format!(
                    "create external table {name} stored as csv location '@{name}.csv' \
                     options ('format.quote' '{}')",
                    if quote == '\'' { "''" } else { "\"" }
                ))
                .await;
            let sql = format!("select count(*), sum(id), max(id), sum(n) from {name}");
            assert_eq!(world.text(&sql).await, "9000|40495500|8999|40500", "{name}");
            let sql = format!("select character_length(note) from {name} where id = 8123");
            let length = 10 + 20 * 18 + 21 * (end.len() - 1);
            let about = world.text(&sql).await.parse::<usize>().unwrap();
            assert!((length..length + 30).contains(&about), "{name}: {about}");
        }
        let other = "select count(*), sum(id) from '@a.csv'";
        assert_eq!(world.text(other).await, "9000|40495500");
        world.session.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn quotes_where_they_mean_nothing() {
    for world in worlds().await {
        let mut text = String::from("a,b\n");
        for row in 0..5000 {
            match row % 5 {
                0 => writeln!(text, "{row},5\" pipe").unwrap(),
                1 => writeln!(text, "{row},\"say \"\"x\"\", then\n\"\"y\"\"\"").unwrap(),
                2 => writeln!(text, "{row},\"\"").unwrap(),
                3 => writeln!(text, "{row},").unwrap(),
                _ => writeln!(text, "{row},\",\"").unwrap(),
            }
        }
        world.write("q.csv", text);
        let sql = "select count(*), sum(a), count(b), count(*) filter (where b = ''), \
                   count(distinct b) from '@q.csv'";
        assert_eq!(world.text(sql).await, "5000|12497500|4000|1000|4");
        world.write("e.csv", "a,b\n1,\"x\\\"y\nz\"\n2,plain\n");
        world
            .rows(
                "create external table e stored as csv location '@e.csv' \
                 options ('format.escape' '\\')",
            )
            .await;
        assert_eq!(world.text("select sum(a), max(character_length(b)) from e").await, "3|5");
        world.session.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn text_that_looks_like_a_number_stays_text() {
    let world = World::here().await;
    world.write(
        "z.csv",
        "a,b,c,d,e,f,g\n007,+1,1_000,0x1F, 1,2024-02-30,t\n12,2,2,3,2,2024-01-01,f\n",
    );
    let text = world.text("select * from '@z.csv'").await;
    assert!(text.starts_with("007|+1|1_000|0x1F|1|2024-02-30|t\n12|2"), "{text}");
    let kinds = "select arrow_typeof(a), arrow_typeof(e), arrow_typeof(g) from '@z.csv' limit 1";
    assert_eq!(world.text(kinds).await, "Utf8|Utf8|Utf8");
    world.write("n.csv", "a,b,c,d\n1,1.5,2024-02-29,true\n-2,1e5,2024-03-01,FALSE\n");
    let kinds = "select arrow_typeof(a), arrow_typeof(b), arrow_typeof(c), arrow_typeof(d) \
                 from '@n.csv' limit 1";
    assert_eq!(world.text(kinds).await, "Int64|Float64|Date32|Boolean");
    world.write("l.csv", "a\n9007199254740993\n1.5\n");
    assert_eq!(world.text("select a from '@l.csv'").await, "9007199254740993\n1.5");
    world.write("q.csv", "zip,n\n\"00501\",\"1\"\n\"10001\",\"\"\n");
    assert_eq!(world.text("select zip, n + 1 from '@q.csv'").await, "00501|2\n10001|");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_first_rows_decide_holds_or_is_an_error() {
    for world in worlds().await {
        let first: String = (0..25_000).map(|row| format!("{row},{row}\n")).collect();
        for (name, value) in [
            ("zeros", "007"),
            ("plus", "+7"),
            ("space", " 7"),
            ("word", "D7"),
            ("fraction", "7.5"),
            ("big", "9223372036854775808"),
        ] {
            world.write(&format!("{name}.csv"), format!("id,code\n{first}25000,{value}\n"));
            let error = world.error(&format!("select max(code) from '@{name}.csv'")).await;
            for word in [&format!("{name}.csv"), "line 25002", "\"code\"", value, "VARCHAR"] {
                assert!(error.contains(word), "{name}: {error}");
            }
            // A query without the column does not miss it.
            let sql = format!("select max(id) from '@{name}.csv'");
            assert_eq!(world.text(&sql).await, "25000");
            world
                .rows(&format!(
                    "create external table {name} (id bigint, code varchar) stored as csv \
                     location '@{name}.csv'"
                ))
                .await;
            let sql = format!("select concat('<', code, '>') from {name} where id = 25000");
            assert_eq!(world.text(&sql).await, format!("<{value}>"));
        }
        let sql = "create external table more stored as csv location '@zeros.csv' \
                   options ('format.schema_infer_max_rec' '100000')";
        world.rows(sql).await;
        assert_eq!(world.text("select code from more where id = 25000").await, "007");
        world.session.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_is_read_by_its_own_header() {
    for world in worlds().await {
        for file in 0..70 {
            let text = match file {
                69 => "b,n,a\nb69,69,a69\n".to_owned(),
                _ => format!("a,b,n\na{file},b{file},{file}\n"),
            };
            world.write(&format!("f/{file:02}.csv"), text);
        }
        let sql = "select a, b, n from '@f/*.csv' where n = 69";
        assert_eq!(world.text(sql).await, "a69|b69|69");
        assert_eq!(world.text("select sum(n), count(*) from '@f'").await, "2415|70");
        world.write("f/70.csv", "a,b,m\na70,b70,70\n");
        let error = world.error("select sum(n) from '@f'").await;
        assert!(error.contains("70.csv") && error.contains("(a, b, m)"), "{error}");
        world.write("g/1.csv", "a,b\n1,x\n");
        world.write("g/2.csv", "c,a\n0.5,2\n");
        world
            .rows(
                "create external table g stored as csv location '@g/' \
                 options ('format.truncated_rows' 'true')",
            )
            .await;
        assert_eq!(world.text("select a, b, c from g order by a").await, "1|x|\n2||0.5");
        world.session.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn declared_columns_are_found_by_name() {
    let world = World::here().await;
    world.write("d.csv", "b,a,more\n1,2,3\n");
    let declare = |name: &str, columns: &str| {
        format!("create external table {name} ({columns}) stored as csv location '@d.csv'")
    };
    world.rows(&declare("d", "a int, b int")).await;
    assert_eq!(world.text("select a, b from d").await, "2|1");
    world.rows(&declare("r", "x int, y int, z varchar")).await;
    assert_eq!(world.text("select x, y, z from r").await, "1|2|3");
    world.rows(&declare("w", "a int, x int, more int")).await;
    let error = world.error("select * from w").await;
    assert!(error.contains("d.csv") && error.contains("(b, a, more)"), "{error}");
    world.write("u.csv", "Id,Name\n1,x\n");
    world
        .rows("create external table u (name varchar, id int) stored as csv location '@u.csv'")
        .await;
    assert_eq!(world.text("select id, name from u").await, "1|x");
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_files_are_read() {
    for world in worlds().await {
        let cases = [
            ("bom", "\u{feff}a,b\n1,x\n", "1|x"),
            ("quoted_bom", "\u{feff}\"a\",\"b\"\n1,x\n", "1|x"),
            ("crlf", "a,b\r\n1,x\r\n\r\n", "1|x"),
            ("cr", "a,b\r1,x\r", "1|x"),
            ("no_end", "a,b\n1,x", "1|x"),
            ("blank", "\n\na,b\n\n1,x\n\n", "1|x"),
            ("trailing", "a,b\n1,x,\n", "1|x"),
            ("twice", "a,a\n1,x\n", "1|x"),
            ("unnamed", ",b\n1,x\n", "1|x"),
            ("only_header", "a,b\n", ""),
            ("one", "a\n1\n\n2\n", "1\n\n2"),
            ("one_crlf", "a\r\n1\r\n2\r\n", "1\n2"),
        ];
        for (name, text, rows) in cases {
            world.write(&format!("{name}.csv"), text);
            let found = world.text(&format!("select * from '@{name}.csv'")).await;
            assert_eq!(found, rows, "{name}");
        }
        let wide: Vec<u8> =
            "\u{feff}a,b\n1,ü\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        world.write("utf16.csv", wide);
        assert_eq!(world.text("select a, b from '@utf16.csv'").await, "1|ü");
        let names = "select a, a_1 from '@twice.csv'";
        assert_eq!(world.text(names).await, "1|x");
        world.write("c.csv", "# 'about\na,b\n# \"more\n1,x\n#end");
        world
            .rows("create external table c stored as csv location '@c.csv' options ('format.comment' '#')")
            .await;
        assert_eq!(world.text("select a, b from c").await, "1|x");
        world.session.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn null_and_the_empty_text_stay_apart() {
    let world = World::here().await;
    for name in ["x.csv", "x.tsv", "x.csv.gz"] {
        world
            .rows(&format!(
                "copy (values (1, null), (2, ''), (3, 'NULL'), (4, 'a\"b'), (5, 'c\nd')) to '@{name}'"
            ))
            .await;
        let sql = format!(
            "select count(*) filter (where column2 is null), count(*) filter (where column2 = ''), \
             count(*) filter (where column2 = 'a\"b'), count(*) from '@{name}'"
        );
        assert_eq!(world.text(&sql).await, "1|1|1|5", "{name}");
    }
    world.rows("copy (select * from (values ('x'), (null), ('')) as t(a)) to '@one.csv'").await;
    let sql = "select count(*), count(a), count(*) filter (where a = '') from '@one.csv'";
    assert_eq!(world.text(sql).await, "3|2|1");
    world
        .rows(
            "copy (values (1, null), (2, ''), (3, 'NA')) to '@na.csv' \
             options ('format.null_value' 'NA')",
        )
        .await;
    let written = std::fs::read_to_string(world.path("na.csv")).unwrap();
    assert_eq!(written, "column1,column2\n1,NA\n2,\"\"\n3,\"NA\"\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_option_says_what_is_null() {
    for world in worlds().await {
        world.write("na.csv", "i,n,s\n1,1,a\n2,NA,-\n3,3,\n4,-,NA\n");
        world
            .rows(
                "create external table t stored as csv location '@na.csv' \
                 options ('format.null_regex' '^(NA|-)$')",
            )
            .await;
        let sql = "select sum(n), count(n), count(s), count(*) filter (where s = '') from t";
        assert_eq!(world.text(sql).await, "4|2|2|1");
        let error = world
            .error(
                "create external table w stored as csv location '@na.csv' \
                 options ('format.null_regex' '(')",
            )
            .await;
        assert!(error.contains("null_regex"), "{error}");
        world.session.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_name_file_line_and_remedy() {
    for world in worlds().await {
        let rows: String = (0..3000).map(|row| format!("{row},x\n")).collect();
        let cases = [
            ("few", format!("a,b\n{rows}7\n"), "line 3002", "truncated_rows"),
            ("many", format!("a,b\n{rows}7,x,y\n"), "line 3002", "delimiter"),
            ("open", format!("a,b\n{rows}7,\"x\n"), "line 3002", "never closed"),
            ("after", format!("a,b\n{rows}7,\"x\"y\n"), "line 3002", "doubled"),
        ];
        for (name, text, line, word) in cases {
            world.write(&format!("{name}.csv"), text);
            let error = world.error(&format!("select count(b) from '@{name}.csv'")).await;
            for word in [&format!("{name}.csv"), line, word] {
                assert!(error.contains(word), "{name}: {error}");
            }
        }
        let mut bytes = format!("a,b\n{rows}").into_bytes();
        bytes.extend(b"7,caf\xe9\n");
        world.write("latin.csv", bytes);
        let error = world.error("select count(b) from '@latin.csv'").await;
        for word in ["latin.csv", "line 3002", "0xe9", "iconv"] {
            assert!(error.contains(word), "{error}");
        }
        world.write("head.csv", b"a,caf\xe9\n1,x\n");
        let error = world.error("select * from '@head.csv'").await;
        assert!(error.contains("head.csv\", line 1") && error.contains("0xe9"), "{error}");
        let numbers: String = (0..25_000).map(|row| format!("{row}\n")).collect();
        world.write("late_null.csv", format!("n\n{numbers}N/A\n"));
        let error = world.error("select max(n) from '@late_null.csv'").await;
        assert!(error.contains("'format.null_regex' '^(N/A)?$'"), "{error}");
        world.write("t.csv", "a,b\n1,x\n");
        world.rows("create external table t (a int, b date) stored as csv location '@t.csv'").await;
        let error = world.error("select * from t").await;
        assert!(error.contains("line 2, column \"b\"") && error.contains("TRY_CAST"), "{error}");
        world.session.shutdown().await;
    }
}

/// DataFusion 55.2 without our readers: what silently goes wrong. When a case becomes right, the
/// corresponding part of `engine/files/src/text`, or of `engine/files/src/sink/delimited.rs`, can
/// be removed.
#[tokio::test(flavor = "multi_thread")]
async fn readers_of_our_own_are_still_needed() {
    use datafusion::prelude::SessionContext;
    let world = World::here().await;
    let plain = SessionContext::new();
    let one = async |sql: String| {
        let rows = plain.sql(&sql).await.unwrap().collect().await.unwrap();
        datafusion::common::cast::as_string_array(rows[0].column(0)).unwrap().value(0).to_owned()
    };
    world.write("zeros.csv", "a\n007\n");
    plain.sql(&table("zeros", "csv", &world.at("zeros.csv"), "")).await.unwrap();
    assert_eq!(one("select arrow_cast(a, 'Utf8') from zeros".to_owned()).await, "7");

    world.write("order/1.csv", "a,b\n1,x\n");
    world.write("order/2.csv", "b,a\ny,2\n");
    let options = "options ('format.has_header' 'true')";
    let declared = format!(
        "create external table o (a varchar, b varchar) stored as csv location '{}' {options}",
        world.at("order/")
    );
    plain.sql(&declared).await.unwrap();
    let swapped = "select arrow_cast(a, 'Utf8') from o where b = '2'";
    assert_eq!(one(swapped.to_owned()).await, "y");

    world.write("na.csv", "a\nNA\nb\n");
    let options = ", 'format.null_regex' '^NA$'";
    plain.sql(&table("na", "csv", &world.at("na.csv"), options)).await.unwrap();
    let kept = "select arrow_cast(count(*), 'Utf8') from na where arrow_cast(a, 'Utf8') = 'NA'";
    assert_eq!(one(kept.to_owned()).await, "1");

    let copy = format!("copy (values (1, null), (2, '')) to '{}' stored as csv", world.at("e.csv"));
    plain.sql(&copy).await.unwrap().collect().await.unwrap();
    let written = std::fs::read_to_string(world.path("e.csv")).unwrap();
    assert!(written.ends_with("1,\n2,\n"), "{written}");

    world.write("late.json", "{\"a\":1}\n{\"a\":\"007\"}\n");
    let declared = format!(
        "create external table late (a bigint) stored as json location '{}'",
        world.at("late.json")
    );
    plain.sql(&declared).await.unwrap();
    assert_eq!(one("select arrow_cast(max(a), 'Utf8') from late".to_owned()).await, "7");
}

/// A statement that creates a table from a file with a header.
fn table(name: &str, format: &str, path: &str, options: &str) -> String {
    format!(
        "create external table {name} stored as {format} location '{path}' \
         options ('format.has_header' 'true'{options})"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_files_leaves_none_out_for_its_compression() {
    for world in worlds().await {
        world.write("logs/1.csv", "i\n1\n");
        world.rows("copy (select 2 as i) to '@logs/2.csv.gz' stored as csv").await;
        let error = world.error("create external table t stored as csv location '@logs/'").await;
        assert!(error.contains("different formats") && error.contains("2.csv.gz"), "{error}");
        assert!(error.contains("*.csv"), "{error}");
        world.rows("copy (select 3 as i) to '@packed/1.csv.gz' stored as csv").await;
        let error = world.error("create external table t stored as csv location '@packed/'").await;
        assert!(error.contains("compressed") && error.contains("'format.compression'"), "{error}");
        let declared = "create external table t stored as csv location '@packed/' \
                        options ('format.compression' 'gzip')";
        world.rows(declared).await;
        assert_eq!(world.text("select i from t").await, "3");
        world.write("bare/1.csv", "i\n4\n");
        let sql = "create external table u stored as csv location '@bare/' \
                   options ('format.compression' 'gzip')";
        let error = world.error(sql).await;
        assert!(error.contains("bare/1.csv\" is not compressed with gzip"), "{error}");
        // The same bytes under a name that means text.
        let bytes = std::fs::read(world.path("packed/1.csv.gz")).unwrap();
        world.write("plain.csv", bytes);
        let error = world.error("select * from '@plain.csv'").await;
        assert!(error.contains("plain.csv") && error.contains("compressed with gzip"), "{error}");
        world.session.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_of_nulls_come_back_from_json() {
    for world in worlds().await {
        world.rows("copy (select 1 as i, cast(null as bigint) as v) to '@n.jsonl'").await;
        assert_eq!(world.text("select i, v is null from '@n.jsonl'").await, "1|true");
        let late = "copy (select value as i, case when value > 150000 then value end as v \
                    from range(200000)) to '@late.jsonl'";
        world.rows(late).await;
        assert_eq!(
            world.text("select count(*), count(v) from '@late.jsonl'").await,
            "200000|49999"
        );
        world.session.shutdown().await;
    }
}
