//! Declared columns: matched without regard to case, refused if no file has them, never assumed to
//! have no nulls.

use crate::avro;
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn names_are_found_whatever_their_capitals() {
    for world in [World::here().await, World::on_machines().await] {
        world.write("x.json", "{\"Name\":\"a\",\"Age\":3}\n{\"Name\":\"b\",\"Age\":null}\n");
        for format in ["parquet", "arrow", "json"] {
            if format != "json" {
                world.text(&format!("copy (select * from '@x.json') to '@x.{format}'")).await;
            }
            let create = format!(
                "create external table {format} (age bigint, name varchar) stored as {format} location '@x.{format}'"
            );
            world.rows(&create).await;
            let query = |sql: &str| format!("select {sql}").replace('#', format);
            let rows = world.text(&query("* from # order by name")).await;
            assert_eq!(rows, "3|a\n|b", "{format}");
            assert_eq!(world.text(&query("count(*) from # where age = 3")).await, "1", "{format}");
            assert_eq!(
                world.text(&query("count(age), count(name) from #")).await,
                "1|2",
                "{format}"
            );
            assert_eq!(
                world.text(&query("max(age) from # where name < 'b'")).await,
                "3",
                "{format}"
            );
        }
        world.session.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_no_file_has_are_refused() {
    let world = World::here().await;
    world.write("x.json", "{\"Name\":\"a\",\"Age\":3}\n");
    world.write("x.avro", avro::file(&[(1, "x")]));
    world.text("copy (select * from '@x.json') to '@d/x.parquet'").await;
    world.text("copy (select 1 as other) to '@d/y.parquet'").await;
    let create = |columns: &str, kind: &str, at: &str| {
        format!("create external table t ({columns}) stored as {kind} location '@{at}'")
    };
    let error = world.error(&create("nme varchar", "parquet", "d/x.parquet")).await;
    assert!(
        error.contains("has no column \"nme\"") && error.contains("did you mean \"Name\"?"),
        "{error}"
    );
    let error = world.error(&create("nme varchar", "json", "x.json")).await;
    assert!(error.contains("did you mean \"Name\"?"), "{error}");
    let error = world.error(&create("c varchar", "avro", "x.avro")).await;
    assert!(error.contains("the columns there are \"a\", \"b\""), "{error}");
    let error = world.error(&create("third int", "parquet", "d/")).await;
    assert!(error.contains("no file of"), "{error}");
    // Only one of the files has it.
    world.rows(&create("other bigint, name varchar", "parquet", "d/")).await;
    assert_eq!(world.text("select count(*), count(other), count(name) from t").await, "2|1|1");
    // A JSON key may first appear in a later row.
    world
        .rows(
            "create external table later (age int, rare varchar) stored as json location '@x.json'",
        )
        .await;
    assert_eq!(world.text("select * from later").await, "3|");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_declared_not_null_may_be_null() {
    for world in [World::here().await, World::on_machines().await] {
        world.text("copy (select * from (values (1), (null)) as v(a)) to '@x.parquet'").await;
        world.rows("create external table t (a bigint not null) stored as parquet location '@x.parquet'").await;
        assert_eq!(world.text("select count(a), count(*) from t").await, "1|2");
        assert_eq!(world.text("select count(*) from t where a is null").await, "1");
        world
            .rows("create external table i (a bigint not null) stored as parquet location '@i/'")
            .await;
        let error = world.error("insert into i values (null)").await;
        assert!(error.contains("null"), "{error}");
        world.session.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn declared_instants_have_a_zone() {
    let world = World::here().await;
    world.write("x.csv", "2024-01-01 10:00:00,2024-01-01 10:00:00\n");
    world
        .rows(
            "create external table t (a timestamptz, b timestamp) stored as csv location '@x.csv' \
             options (header false)",
        )
        .await;
    assert_eq!(world.text("select a, b from t").await, "2024-01-01T10:00:00Z|2024-01-01T10:00:00");
}
