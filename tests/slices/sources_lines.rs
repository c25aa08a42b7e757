//! Lines of text files: each once, however the files are divided.

use async_compression::tokio::write::{BzEncoder, GzipEncoder, XzEncoder, ZstdEncoder};
use bigslice::LinesOptions;
use bigslice::prelude::*;
use bytes::Bytes;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use tokio::io::AsyncWriteExt;

use crate::cases;
use crate::world::World;

cases![
    every_line_comes_once_however_files_are_divided,
    lines_are_in_the_order_of_files,
    compressed_files_are_read_by_their_names,
    what_is_wrong_with_a_line_is_named,
    lines_of_bytes_are_of_any_encoding,
    files_that_are_missing_empty_or_damaged,
    a_file_that_changed_is_an_error,
    small_files_share_shards_and_large_ones_are_divided,
];

/// Number of sets of files.
const SETS: u32 = 12;

#[bigslice::func]
fn lines(paths: Vec<String>, shard_bytes: u64) -> Result<Slice<String>> {
    Slice::lines_with(paths, LinesOptions { shard_bytes, ..LinesOptions::default() })
}

#[bigslice::func]
fn plain(paths: Vec<String>) -> Result<Slice<String>> {
    Slice::lines(paths)
}

#[bigslice::func]
fn raw(path: String, line_bytes_max: usize) -> Result<Slice<Bytes>> {
    let options = LinesOptions { line_bytes_max, shard_bytes: 40 };
    Slice::lines_bytes_with(path, options)
}

impl World {
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::create_dir_all(std::path::Path::new(&path).parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }
}

async fn every_line_comes_once_however_files_are_divided(world: &World) {
    let line = "[a-z\r\u{e4}]{0,40}(\n|\r\n|\n\n)";
    let text = proptest::collection::vec(line, 0..20).prop_map(|lines| lines.concat());
    let files = proptest::collection::vec((text, "[a-z\r]{0,9}"), 1..5);
    let mut runner = TestRunner::new(Config::default());
    for set in 0..SETS {
        let (files, shard_bytes) = (&files, 10..400u64).new_tree(&mut runner).unwrap().current();
        let files: Vec<String> = files.iter().map(|(text, end)| text.clone() + end).collect();
        let paths: Vec<String> = files
            .iter()
            .enumerate()
            .map(|(n, text)| world.write(&format!("{set}/{n}.txt"), text))
            .collect();
        let right: Vec<&str> = files.iter().flat_map(|text| text.lines()).collect();
        let found = world.rows(lines(paths.clone(), shard_bytes)).await;
        assert_eq!(found, right, "shards of {shard_bytes} bytes of {files:?}");
        assert_eq!(world.rows(plain(paths)).await, right, "{files:?}");
    }
}

async fn lines_are_in_the_order_of_files(world: &World) {
    world.write("t/b.txt", "3\n4");
    world.write("t/a.log", "1\r\n2\r\n");
    world.write("t/.hidden", "not this");
    let all = |name: &str| vec![world.path(name)];
    assert_eq!(world.rows(plain(all("t"))).await, ["1", "2", "3", "4"]);
    world.write("t/deep/c.txt", "5");
    let error = world.error(plain(all("t"))).await.to_string();
    assert!(error.contains("whose files would be left out"), "{error}");
    assert_eq!(world.rows(plain(all("t/*.txt"))).await, ["3", "4"]);
    assert_eq!(world.rows(plain(all("t/**/*.txt"))).await, ["3", "4", "5"]);
    let places = ["t/b.txt", "t/a.log"].map(|name| world.path(name)).to_vec();
    assert_eq!(world.rows(plain(places)).await, ["3", "4", "1", "2"]);
}

macro_rules! compressed {
    ($encoder:ident, $parts:expr) => {{
        let mut all = Vec::new();
        for part in $parts {
            let mut encoder = $encoder::new(Vec::new());
            encoder.write_all(part.as_bytes()).await.unwrap();
            encoder.shutdown().await.unwrap();
            all.extend(encoder.into_inner());
        }
        all
    }};
}

async fn compressed_files_are_read_by_their_names(world: &World) {
    let long: String = (0..50_000).map(|n| format!("{n}\n")).collect();
    // Several compressed streams in sequence are one text.
    let (first, second) = long.split_at(100_001);
    let parts = [first, second];
    let paths = vec![
        world.write("x.txt.gz", compressed!(GzipEncoder, parts)),
        world.write("x.txt.ZST", compressed!(ZstdEncoder, parts)),
        world.write("x.bz2", compressed!(BzEncoder, parts)),
        world.write("x.log.xz", compressed!(XzEncoder, parts)),
    ];
    for path in &paths {
        let shards = world.shards(lines(vec![path.clone()], 1000)).await;
        assert_eq!(shards.len(), 1, "{path}");
        assert!(shards[0].iter().map(String::as_str).eq(long.lines()), "{path}");
    }
    let whole = std::fs::read(&paths[1]).unwrap();
    for (path, ending) in paths.iter().zip(["gz", "zst", "bz2", "xz"]) {
        let whole = std::fs::read(path).unwrap();
        let cut = world.write(&format!("cut.{ending}"), &whole[..whole.len() - 20]);
        let error = world.error(plain(vec![cut.clone()])).await;
        let words = format!("\"{cut}\" cannot be decompressed");
        assert!(error.to_string().contains(&words) && error.is_user_error(), "{error}");
    }
    let other = world.write("other.gz", whole);
    let error = world.error(plain(vec![other])).await.to_string();
    assert!(error.contains("other.gz\" cannot be decompressed"), "{error}");
}

async fn what_is_wrong_with_a_line_is_named(world: &World) {
    let mut text = "abc\n".repeat(30).into_bytes();
    text.extend(b"caf\xe9\nlast");
    let path = world.write("latin.txt", &text);
    for shard_bytes in [1000, 17] {
        let error = world.error(lines(vec![path.clone()], shard_bytes)).await;
        let words = format!("the line at byte 120 of \"{path}\" is not in UTF-8");
        assert!(error.to_string().ends_with(&words), "{error}");
        assert!(error.to_string().starts_with("lines_with at tests/slices/sources_lines.rs:"));
        assert!(error.hint().unwrap().contains("lines_bytes") && error.is_user_error());
    }
    let found = world.rows(raw(path.clone(), 4)).await;
    assert_eq!((found.len(), &found[30][..]), (32, &b"caf\xe9"[..]));
    let error = world.error(raw(path.clone(), 3)).await.to_string();
    let words = format!("the line at byte 120 of \"{path}\" is longer than 3 bytes");
    assert!(error.ends_with(&words), "{error}");

    let packed = world.write("latin.txt.gz", compressed!(GzipEncoder, ["abc\nde\n"]));
    let error = world.error(raw(packed.clone(), 2)).await.to_string();
    assert!(error.contains(&format!("byte 0 of the text in \"{packed}\"")), "{error}");
}

#[bigslice::func]
fn bytes(paths: Vec<String>) -> Result<Slice<Bytes>> {
    Slice::lines_bytes(paths)
}

async fn lines_of_bytes_are_of_any_encoding(world: &World) {
    // Every byte except a line end, alone and in one line, and line ends of both kinds.
    let any: Vec<u8> = (0..=255u8).filter(|byte| !b"\r\n".contains(byte)).collect();
    let mut text: Vec<u8> = any.iter().flat_map(|byte| [*byte, b'\n']).collect();
    text.extend(&any);
    text.extend(b"\r\n\nlast");
    let files = vec![world.write("any.txt", &text), world.write("other.txt", b"\xff\n")];
    let right = any.iter().map(|byte| vec![*byte]);
    let right = right.chain([any.clone(), vec![], b"last".to_vec(), vec![0xff]]);
    assert!(world.rows(bytes(files)).await.into_iter().eq(right.map(Bytes::from)));
    let packed = world.write("packed.gz", compressed!(GzipEncoder, ["\u{e4}\n", "b"]));
    assert_eq!(world.rows(bytes(vec![packed])).await, ["\u{e4}", "b"]);
    let error = world.error(bytes(vec![world.path("none")])).await.to_string();
    assert!(error.contains("no file or folder"), "{error}");
    let error = world.error(bytes(vec![])).await.to_string();
    assert!(error.contains("lines_bytes at ") && error.contains("no path to read"), "{error}");
}

#[bigslice::func]
fn wrong(shard_bytes: u64, line_bytes_max: usize) -> Result<Slice<String>> {
    Slice::lines_with("x", LinesOptions { shard_bytes, line_bytes_max })
}

async fn files_that_are_missing_empty_or_damaged(world: &World) {
    let empty = world.write("empty/a.txt", "");
    assert!(world.rows(plain(vec![empty])).await.is_empty());
    assert!(world.rows(plain(vec![world.path("empty")])).await.is_empty());
    assert!(world.rows(plain(vec![world.path("empty/*")])).await.is_empty());
    world.write("empty/b.txt", "\n");
    assert_eq!(world.rows(plain(vec![world.path("empty")])).await, [""]);

    let error = world.error(plain(vec![world.path("none.txt")])).await.to_string();
    assert!(error.contains("no file or folder") && error.contains("none.txt"), "{error}");
    let error = world.error(plain(vec![world.path("*.none")])).await.to_string();
    assert!(error.contains("no file matches"), "{error}");
    let error = world.error(plain(vec![])).await.to_string();
    assert!(error.contains("there is no path to read"), "{error}");
    let error = world.error(wrong(0, 1)).await.to_string();
    assert!(error.contains("shards of 0 bytes"), "{error}");
    let error = world.error(wrong(1, usize::MAX)).await.to_string();
    assert!(error.contains("more than a column holds"), "{error}");
}

/// The first line's task writes to the file before the task of the others reads it.
#[bigslice::func]
fn rewritten(path: String, first: String) -> Result<Slice<String>> {
    let gate = Slice::const_(1, [1i64]).for_each_shard({
        let path = path.clone();
        move |_, rows| std::fs::write(&path, "other lines\n").map(|()| rows.count() as i64)
    });
    let gate = gate.materialize().map(|_| String::new());
    Ok(gate.union(Slice::lines([first, path])?))
}

async fn a_file_that_changed_is_an_error(world: &World) {
    // Files are listed before the first task runs.
    let first = world.write("first.txt", "a\n");
    let path = world.write("changed.txt", "b\n".repeat(10_000));
    let error = world.error(rewritten(path.clone(), first)).await;
    assert!(error.to_string().contains(&format!("\"{path}\" changed")), "{error}");
    assert!(error.is_user_error(), "{error:?}");
}

async fn small_files_share_shards_and_large_ones_are_divided(world: &World) {
    for n in 0..40 {
        world.write(&format!("many/{n:02}"), format!("{n}\n"));
    }
    let many = world.done(plain(vec![world.path("many")])).await;
    assert_eq!(many.shards(), 1);
    let right: Vec<String> = (0..40).map(|n| n.to_string()).collect();
    assert_eq!(many.collect().await.unwrap(), right);
    let large = world.write("large", "0123456\n".repeat(1024 * 512));
    let run = world.done(lines(vec![large], 1024 * 1024)).await;
    assert_eq!(run.shards(), 4);
    for shard in 0..4 {
        assert_eq!(run.shard(shard).await.unwrap().len(), 1024 * 128);
    }
}
