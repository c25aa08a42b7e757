//! Error messages.

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn missing_things_are_named() {
    let world = World::here().await;
    world.write("deep/er/x.csv", "a\n1\n");
    world.write("nothing.csv", "");
    std::fs::create_dir(world.path("empty")).unwrap();
    for (place, words) in [
        ("@no.csv", "no file or folder"),
        ("@no/", "no file or folder"),
        ("no-such-folder/x.parquet", "relative paths start at the current folder"),
        ("@*.parquet", "no file matches"),
        ("@empty", "has no files"),
        ("@empty/", "has no files"),
        ("@deep", "name the files by a pattern"),
        ("@nothing.csv", "is an empty file"),
        ("gs://bucket/x.csv", "unknown kind \"gs\""),
    ] {
        let error = world.error(&format!("select * from '{place}'")).await;
        assert!(error.contains(words), "{place}: {error}");
    }
    let error = world.error("select * from no_such_table").await;
    assert!(error.contains("no_such_table") && !error.contains("file"), "{error}");
    let error = world.error("create external table t stored as csv location '@empty/'").await;
    assert!(error.contains("declare them"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn formats_that_do_not_fit_are_named() {
    let world = World::here().await;
    world.write("mixed/x.csv", "a\n1\n");
    world.write("mixed/y.json", "{\"a\":1}\n");
    world.write("x.dat", "1");
    world.write("bad.parquet", "no parquet at all");
    world.write("differ/1.csv", "a,b\n1,2\n");
    world.write("differ/2.csv", "b,c\n1,2\n");
    for (place, words) in [
        ("@mixed", "files of different formats"),
        ("@x.dat", "is not clear from its name"),
        ("@bad.parquet", "bad.parquet"),
        ("@differ", "has other columns than those of the other files: (b, c) and (a, b)"),
    ] {
        let error = world.error(&format!("select * from '{place}'")).await;
        assert!(error.contains(words), "{place}: {error}");
    }
    world.text("copy (select 1 as a) to '@types/1.parquet'").await;
    world.text("copy (select 'x' as a) to '@types/2.parquet'").await;
    let error = world.error("select * from '@types'").await;
    assert!(error.contains("column \"a\" is BIGINT"), "{error}");
    assert!(error.contains("1.parquet") && error.contains("2.parquet"), "{error}");
}
