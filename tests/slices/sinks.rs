//! Sinks: files that all appear or none, and user writers.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bigslice::prelude::*;
use bigslice::{Batch, BatchWriter, Compression, Existing, WriteOptions, WrittenFile};

use crate::cases;
use crate::world::World;

cases![
    each_shard_becomes_a_file,
    what_is_written_is_read_back,
    a_panic_leaves_nothing,
    a_folder_that_is_not_empty_is_refused,
    append_and_overwrite,
    what_cannot_be_written_is_said_first,
    two_sinks_of_one_run,
    files_nobody_asks_about_are_written_too,
    a_run_that_is_given_up_leaves_nothing,
    rows_about_files_that_could_not_be_written_are_not_given,
    leftovers_of_the_dead_are_removed_by_the_next,
    a_writer_sees_every_row_and_the_end,
    a_writers_error_is_the_users_and_is_not_tried_again,
    a_writer_hears_that_its_shard_ended_early,
];

#[derive(Row, Debug, Clone, PartialEq)]
struct Sale {
    fruit: String,
    n: i64,
    price: Option<f64>,
}

fn sale(n: i64) -> Sale {
    let fruit = ["apple", "pear, green", "\"plum\""][n as usize % 3];
    Sale { fruit: fruit.to_owned(), n, price: (n % 4 != 0).then_some(n as f64 / 4.0) }
}

const SALES: i64 = 50;

#[bigslice::func]
fn write(format: String, to: String, shards: usize) -> Slice<WrittenFile> {
    let sales = Slice::const_(shards, (0..SALES).map(sale));
    let plain = WriteOptions::new();
    match format.as_str() {
        "parquet" => sales.write_parquet(to),
        "parquet.gz" => sales.write_parquet_with(to, plain.compression(Compression::Gzip)),
        "csv" => sales.write_csv(to),
        "csv.zst" => sales.write_csv_with(to, plain.compression(Compression::Zstd)),
        "tsv.gz" => sales.write_csv_with(to, plain.delimiter(b'\t').compression(Compression::Gzip)),
        "json" => sales.write_json(to),
        _ => sales.write_json_with(to, plain.compression(Compression::Gzip)),
    }
}

#[bigslice::func]
fn read(path: String) -> Result<Slice<Sale>> {
    Slice::read(path)
}

/// The names of everything in a folder, hidden or not.
fn names(folder: impl AsRef<Path>) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A case's own content of its folder, beside that of sessions.
fn left(world: &World) -> Vec<String> {
    names(world.folder.path()).into_iter().filter(|name| name != "temp").collect()
}

async fn each_shard_becomes_a_file(world: &World) {
    let to = world.path("a/new folder");
    let files = world.rows(write("parquet".to_owned(), to.clone(), 4)).await;
    let parts: Vec<String> = (0..4).map(|n| format!("part-0000{n}-of-00004.parquet")).collect();
    assert_eq!(names(&to), parts);
    assert_eq!(names(world.path("a")), ["new folder"]);
    for (file, (part, rows)) in files.iter().zip(parts.iter().zip([13, 13, 12, 12])) {
        assert_eq!(file.path, format!("{to}/{part}"));
        assert_eq!(file.rows, rows);
        assert_eq!(file.bytes, fs::metadata(&file.path).unwrap().len());
    }
    // More shards than rows: empty shards have a file too, and an existing folder is fine.
    let to = world.path("empty");
    fs::create_dir(&to).unwrap();
    assert_eq!(world.rows(write("csv".to_owned(), to.clone(), 60)).await.len(), 60);
    assert_eq!(names(&to).len(), 60);
    assert_eq!(
        fs::read_to_string(format!("{to}/part-00059-of-00060.csv")).unwrap(),
        "fruit,n,price\n"
    );
}

async fn what_is_written_is_read_back(world: &World) {
    let right: Vec<Sale> = (0..SALES).map(sale).collect();
    for format in ["parquet", "parquet.gz", "csv", "csv.zst", "tsv.gz", "json", "json.gz"] {
        let to = world.path(format);
        let files = world.rows(write(format.to_owned(), to.clone(), 3)).await;
        assert_eq!(files.iter().map(|file| file.rows).sum::<u64>(), SALES as u64);
        assert_eq!(names(&to).len(), 3);
        let mut found = world.rows(read(to)).await;
        found.sort_by_key(|sale| sale.n);
        assert_eq!(found, right, "{format}");
    }
}

#[bigslice::func]
fn panics(to: String) -> Slice<WrittenFile> {
    let rows = Slice::const_(4, 0..100i64).map(|n| {
        assert!(n != 99, "99 is bad");
        n
    });
    rows.write_csv(to)
}

async fn a_panic_leaves_nothing(world: &World) {
    let text = world.error(panics(world.path("above/out"))).await.to_string();
    assert!(text.contains("shard 3: panicked: 99 is bad"), "{text}");
    assert_eq!(left(world), [""; 0]);
    // An existing folder stays, and stays empty.
    let there = world.path("there");
    fs::create_dir(&there).unwrap();
    world.error(panics(there.clone())).await;
    assert_eq!(left(world), ["there"]);
    assert_eq!(names(&there), [""; 0]);
}

async fn a_folder_that_is_not_empty_is_refused(world: &World) {
    let to = world.path("out");
    world.done(write("csv".to_owned(), to.clone(), 2)).await;
    let before = names(&to);
    let error = world.error(write("csv".to_owned(), to.clone(), 3)).await;
    let text = error.to_string();
    for part in ["write_csv at tests/slices/sinks.rs:", "\"", "is not empty", "part-0000"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(error.is_user_error() && error.hint().unwrap().contains("Append"), "{error:?}");
    assert_eq!(names(&to), before);
    let file = format!("{to}/{}", before[0]);
    let text = world.error(write("csv".to_owned(), file, 3)).await.to_string();
    assert!(text.contains("cannot write") && text.contains("part-0000"), "{text}");
}

#[bigslice::func]
fn more(to: String, rows: i64, overwrite: bool) -> Slice<WrittenFile> {
    let existing = if overwrite { Existing::Overwrite } else { Existing::Append };
    let rows = Slice::const_(2, (0..rows).map(sale));
    rows.write_parquet_with(to, WriteOptions::new().existing(existing))
}

#[bigslice::func]
fn doubled(to: String) -> Result<Slice<WrittenFile>> {
    let rows = Slice::<Sale>::read_parquet(&*to)?.map(|s| sale(s.n * 2));
    Ok(rows.write_parquet_with(to, WriteOptions::new().existing(Existing::Overwrite)))
}

async fn append_and_overwrite(world: &World) {
    let to = world.path("out");
    world.done(more(to.clone(), 3, false)).await;
    world.done(more(to.clone(), 4, false)).await;
    assert_eq!(world.rows(read(to.clone())).await.len(), 7);
    assert_eq!(names(&to).len(), 4);
    world.done(more(to.clone(), 5, true)).await;
    assert_eq!(names(&to).len(), 2);
    // Including the input of the run itself.
    world.done(doubled(to.clone())).await;
    let mut found = world.rows(read(to.clone())).await;
    found.sort_by_key(|sale| sale.n);
    assert_eq!(found, [0, 2, 4, 6, 8].map(sale));
    fs::create_dir(format!("{to}/day=1")).unwrap();
    let text = world.error(more(to.clone(), 5, true)).await.to_string();
    assert!(text.contains("day=1") && text.contains("only files are overwritten"), "{text}");
    assert_eq!(world.rows(read(to)).await.len(), 5);
}

#[bigslice::func]
fn nested(to: String, seen: String) -> Slice<WrittenFile> {
    let rows = Slice::const_(2, [1i64]).map(move |n| {
        fs::write(&seen, "").unwrap();
        (n, vec![n])
    });
    rows.write_csv(to)
}

async fn what_cannot_be_written_is_said_first(world: &World) {
    let seen = world.path("seen");
    let text = world.error(nested(world.path("out"), seen.clone())).await.to_string();
    assert!(text.contains("write_csv at") && text.contains("CSV cannot hold"), "{text}");
    assert!(!Path::new(&seen).exists());
    fs::write(world.path("file"), "").unwrap();
    for (place, words) in [
        (world.path("file/out"), "cannot write"),
        ("https://h/out".to_owned(), "web server"),
        (world.path("*/out"), "is a pattern"),
        (String::new(), "is empty"),
    ] {
        let text = world.error(write("json".to_owned(), place, 2)).await.to_string();
        assert!(text.contains(words), "{text}");
    }
    assert_eq!(left(world), ["file"]);
}

#[bigslice::func]
fn two(first: String, second: String) -> Slice<WrittenFile> {
    let sums = Slice::const_(3, 0..20i64).map(|n| (n % 2, n)).reduce(|a, b| a + b);
    sums.clone().write_csv(first).union(sums.write_json(second))
}

async fn two_sinks_of_one_run(world: &World) {
    let (first, second) = (world.path("first"), world.path("second"));
    let files = world.rows(two(first.clone(), second.clone())).await;
    assert_eq!(files.len(), 6);
    assert_eq!((names(&first).len(), names(&second).len()), (3, 3));
    let text = world.error(two(world.path("x"), world.path("x"))).await.to_string();
    assert!(text.contains("another sink of this run writes to"), "{text}");
    // Neither is written if one of them cannot be.
    world.error(two(world.path("x"), second)).await;
    assert_eq!(left(world), ["first", "second"]);
}

#[bigslice::func]
fn unasked(to: String) -> Slice<WrittenFile> {
    let files = Slice::const_(4, (0..SALES).map(sale)).write_csv(to);
    files.clone().head(0).union(files.limit(1))
}

#[bigslice::func]
fn about_files(to: String) -> Slice<(String, u64)> {
    let files = Slice::const_(4, (0..SALES).map(sale)).write_csv(to);
    files.map(|file| ("all".to_owned(), file.rows)).reduce(|a, b| a + b)
}

async fn files_nobody_asks_about_are_written_too(world: &World) {
    let to = world.path("out");
    assert_eq!(world.rows(unasked(to.clone())).await.len(), 1);
    assert_eq!(names(&to).len(), 4);
    assert_eq!(world.rows(read(to)).await.len(), SALES as usize);
    // A sink need not be the last verb.
    let rows = world.rows(about_files(world.path("more"))).await;
    assert_eq!(rows, [("all".to_owned(), SALES as u64)]);
    assert_eq!(names(world.path("more")).len(), 4);
}

/// Another process creates the folder during the write.
#[bigslice::func]
fn overtaken(to: String) -> Slice<WrittenFile> {
    let other = to.clone();
    let rows = Slice::reader(2, move |shard| {
        if shard == 0 && !Path::new(&other).exists() {
            fs::create_dir(&other).unwrap();
        }
        (0..10i64).map(Ok::<_, String>)
    });
    rows.write_csv(to)
}

async fn rows_about_files_that_could_not_be_written_are_not_given(world: &World) {
    let to = world.path("out");
    let frame = world.session.to_dataframe(overtaken(to.clone())).await.unwrap();
    let first = frame.clone().collect().await.unwrap_err().to_string();
    assert!(first.contains("out"), "{first}");
    // All of its tasks are done, and yet there are no files.
    let again = frame.collect().await.unwrap_err().to_string();
    assert!(again.contains("were taken back when it failed"), "{again}");
    assert_eq!(names(&to), [""; 0]);
}

#[bigslice::func]
fn waits(to: String, begun: String, go: String) -> Slice<WrittenFile> {
    let rows = Slice::reader(2, move |shard| {
        fs::write(format!("{begun}-{shard}"), "").unwrap();
        let (mut n, go) = (0i64, go.clone());
        std::iter::from_fn(move || {
            n += 1;
            if n > 10_000 && !Path::new(&go).exists() {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            (n <= 10_000 || !Path::new(&go).exists()).then_some(Ok::<_, String>(n))
        })
    });
    rows.write_csv(to)
}

async fn a_run_that_is_given_up_leaves_nothing(world: &World) {
    let begun = world.path("begun");
    let go = world.path("go");
    let run = world.session.run(waits(world.path("out"), begun.clone(), go.clone()));
    let seen = async {
        while !Path::new(&format!("{begun}-0")).exists() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::select! { _ = run => panic!("it cannot end"), () = seen => {} }
    // A cancelled run is rolled back at once, whatever its tasks still do.
    assert!(left(world).iter().all(|name| name.starts_with("begun")), "{:?}", left(world));
    fs::write(go, "").unwrap();
}

async fn leftovers_of_the_dead_are_removed_by_the_next(world: &World) {
    let dead = world.path(".bigslice-write-0123456789abcdef");
    fs::create_dir(&dead).unwrap();
    fs::write(format!("{dead}/0-0"), "half").unwrap();
    world.done(write("csv".to_owned(), world.path("out"), 2)).await;
    assert_eq!(left(world), ["out"]);
    let dead = world.path("out/.bigslice-write-0123456789abcdef");
    fs::create_dir(&dead).unwrap();
    // No reader sees it, and a folder with it still counts as empty.
    assert_eq!(world.rows(read(world.path("out"))).await.len(), SALES as usize);
    names(world.path("out")).iter().filter(|name| name.starts_with("part")).for_each(|name| {
        fs::remove_file(world.path(&format!("out/{name}"))).unwrap();
    });
    world.done(write("csv".to_owned(), world.path("out"), 2)).await;
    assert_eq!(names(world.path("out")).len(), 2);
}

/// Keeps the rows of a shard in memory, and writes a file at the end of it.
struct Keeper {
    path: String,
    rows: Vec<i64>,
    fail_after: usize,
}

impl BatchWriter<i64> for Keeper {
    type Error = String;

    fn write(&mut self, batch: &Batch<i64>) -> Result<(), String> {
        assert_eq!(batch.len(), batch.record_batch().num_rows());
        self.rows.extend(batch.iter());
        if self.rows.len() > self.fail_after {
            return Err(format!("no room for {}", self.rows.len()));
        }
        Ok(())
    }

    fn finish(self) -> Result<(), String> {
        if self.fail_after == 0 {
            return Err("the end is bad".to_owned());
        }
        fs::write(self.path, format!("all {}", self.rows.len())).map_err(|e| e.to_string())
    }

    fn abandon(self, why: &str) {
        fs::write(self.path, format!("{why} after {}", self.rows.len())).unwrap();
    }
}

#[bigslice::func]
fn kept(folder: String, rows: i64, fail_after: usize, fail_at: i64, head: usize) -> Slice<i64> {
    Slice::const_(3, 0..rows)
        .try_map(move |n| if n == fail_at { Err(format!("{n} is bad")) } else { Ok(n) })
        .writer(move |shard| {
            let opened = format!("{folder}/opened-{shard}-{:?}", std::time::SystemTime::now());
            fs::write(opened, "").map_err(|e| e.to_string())?;
            let path = format!("{folder}/{shard}");
            Ok::<_, String>(Keeper { path, rows: Vec::new(), fail_after })
        })
        .head(head)
}

/// A folder for writers; their files as text by name, and how often a writer was opened.
fn left_by_writers(folder: &str) -> (BTreeMap<String, String>, usize) {
    let (opened, files): (Vec<_>, Vec<_>) =
        names(folder).into_iter().partition(|name| name.starts_with("opened"));
    let text = |name: String| {
        let text = fs::read_to_string(format!("{folder}/{name}")).unwrap();
        (name, text)
    };
    (files.into_iter().map(text).collect(), opened.len())
}

async fn a_writer_sees_every_row_and_the_end(world: &World) {
    let folder = world.path("kept");
    fs::create_dir(&folder).unwrap();
    let rows = world.rows(kept(folder.clone(), 50_000, usize::MAX, -1, usize::MAX)).await;
    assert_eq!(rows, (0..50_000).collect::<Vec<i64>>());
    let (files, opened) = left_by_writers(&folder);
    assert_eq!(opened, 3);
    let right = [("0", "all 16667"), ("1", "all 16667"), ("2", "all 16666")];
    assert_eq!(files, right.map(|(name, text)| (name.to_owned(), text.to_owned())).into());
    // A closure is a writer too.
    let seen = world.path("seen");
    assert_eq!(world.rows(by_closure(seen.clone())).await.len(), 10);
    assert_eq!(fs::read_to_string(seen).unwrap().lines().count(), 10);
}

#[bigslice::func]
fn by_closure(seen: String) -> Slice<i64> {
    Slice::const_(1, 0..10i64).writer(move |_| {
        let mut file = fs::File::create(&seen)?;
        Ok::<_, std::io::Error>(move |batch: &Batch<i64>| {
            use std::io::Write as _;
            batch.iter().try_for_each(|n| writeln!(file, "{n}"))
        })
    })
}

async fn a_writers_error_is_the_users_and_is_not_tried_again(world: &World) {
    for (fail_after, words) in [(100, "no room for"), (0, "no room for"), (usize::MAX, "cannot")] {
        let folder = world.path(&format!("kept {fail_after}"));
        if fail_after < usize::MAX {
            fs::create_dir(&folder).unwrap();
        }
        let error = world.error(kept(folder.clone(), 3000, fail_after, -1, usize::MAX)).await;
        assert!(error.is_user_error() && !error.is_retryable(), "{error:?}");
        let text = error.to_string();
        assert!(text.starts_with("writer at tests/slices/sinks.rs:"), "{text}");
        assert!(text.contains(words) || text.contains("No such file"), "{text}");
        let (files, opened) = left_by_writers(&folder);
        // Opened at most once per shard. None is finished; the others are abandoned, and the failed
        // one hears nothing.
        assert!(files.values().all(|text| text.starts_with("the rest of the shard")), "{files:?}");
        assert!(files.len() < 3 && opened <= 3, "{files:?} {opened}");
    }
    // An error at the end only.
    let folder = world.path("end");
    fs::create_dir(&folder).unwrap();
    let text = world.error(kept(folder.clone(), 0, 0, -1, usize::MAX)).await.to_string();
    assert!(text.contains("the end is bad"), "{text}");
}

async fn a_writer_hears_that_its_shard_ended_early(world: &World) {
    let folder = world.path("kept");
    fs::create_dir(&folder).unwrap();
    let text = world
        .error(kept(folder.clone(), 150_000, usize::MAX, 145_000, usize::MAX))
        .await
        .to_string();
    assert!(text.contains("try_map at") && text.contains("145000 is bad"), "{text}");
    let failed = format!("{folder}/2");
    while !fs::read_to_string(&failed).is_ok_and(|text| text.contains(" after ")) {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert!(fs::read_to_string(failed).unwrap().contains("145000 is bad"));
    let folder = world.path("head");
    fs::create_dir(&folder).unwrap();
    assert_eq!(
        world.rows(kept(folder.clone(), 300_000, usize::MAX, -1, 1)).await,
        [0, 100_000, 200_000]
    );
    for shard in 0..3 {
        let path = format!("{folder}/{shard}");
        while !fs::read_to_string(&path).is_ok_and(|text| text.starts_with("the rest of the shard"))
        {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}
