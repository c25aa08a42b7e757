//! Corrupt files: cut off, overwritten, with false footers. Each statement ends, with rows or with
//! an error that names the file, and the session continues.

use std::io::Write;
use std::time::Duration;

use crate::avro;
use crate::world::World;

/// Time limit of one statement over a small file, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Copies of each file.
const COPIES: u64 = 24;

/// Numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        // Xorshift: the bytes need to differ, not to be random.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % limit.max(1)
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap()
    }
}

fn checksums() -> Vec<u8> {
    std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/parquet/checksums.parquet"))
        .unwrap()
}

/// Valid files of every format, with non-text bytes.
async fn good(world: &World) -> Vec<(&'static str, Vec<u8>)> {
    let rows = "(select value as i, concat('text ', value % 97) as s, [value, value + 1] as l, \
                value / 7.0 as d, named_struct('a', value) as st from range(0, 3000))";
    let mut files = vec![("checksums.parquet", checksums())];
    for (name, options) in [
        ("snappy.parquet", "('format.compression' 'snappy', 'format.max_row_group_size' '1000')"),
        ("zstd.parquet", "('format.compression' 'zstd(1)', 'format.writer_version' '2.0')"),
        (
            "plain.parquet",
            "('format.compression' 'uncompressed', 'format.dictionary_enabled' 'false')",
        ),
        ("rows.arrow", ""),
        ("rows.json.gz", ""),
    ] {
        let options = if options.is_empty() { String::new() } else { format!("options {options}") };
        world.rows(&format!("copy {rows} to '@{name}' {options}")).await;
        files.push((name, std::fs::read(world.at(name)).unwrap()));
    }
    let batches = world.rows(&format!("select * from {rows}")).await;
    for (name, compression) in [
        ("lz4.arrow", arrow::ipc::CompressionType::LZ4_FRAME),
        ("zstd.arrow", arrow::ipc::CompressionType::ZSTD),
    ] {
        let options = arrow::ipc::writer::IpcWriteOptions::default();
        let options = options.try_with_compression(Some(compression)).unwrap();
        let mut bytes = Vec::new();
        let schema = batches[0].schema();
        let mut writer =
            arrow::ipc::writer::FileWriter::try_new_with_options(&mut bytes, &schema, options)
                .unwrap();
        batches.iter().for_each(|batch| writer.write(batch).unwrap());
        writer.finish().unwrap();
        drop(writer);
        files.push((name, bytes));
    }
    let mut bytes = Vec::new();
    let mut writer =
        arrow::ipc::writer::StreamWriter::try_new(&mut bytes, &batches[0].schema()).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.finish().unwrap();
    drop(writer);
    files.push(("stream.arrow", bytes));
    let rows: Vec<(i64, String)> = (0..300).map(|i| (i, format!("text {i}"))).collect();
    let rows: Vec<(i64, &str)> = rows.iter().map(|(i, s)| (*i, s.as_str())).collect();
    files.push(("rows.avro", avro::file(&rows)));
    files
}

/// The same bytes with the damage of that number.
fn damaged(good: &[u8], copy: u64, random: &mut Random) -> Vec<u8> {
    let mut bad = good.to_vec();
    let length = bad.len();
    match copy {
        0..5 => bad.truncate(1 + random.below(length - 1)),
        // The end is where Parquet and Arrow keep the positions of everything else.
        5..10 => {
            let at = length - 1 - random.below(length.min(1500));
            bad[at] ^= 1 << random.below(8);
        }
        10..18 => {
            for _ in 0..[1, 3, 30][random.below(3)] {
                let at = random.below(length);
                bad[at] = random.byte();
            }
        }
        18 => bad[length.saturating_sub(8)..length - 4].copy_from_slice(&i32::MAX.to_le_bytes()),
        19 => bad[length.saturating_sub(10)..length - 6].copy_from_slice(&i32::MAX.to_le_bytes()),
        20 => bad = [&good[..8], &good[length.saturating_sub(300)..]].concat(),
        21 => bad.extend([0; 100]),
        22 => {
            let at = random.below(length / 2);
            let (one, two) = bad.split_at_mut(length / 2);
            let run = (one.len() - at).min(two.len()).min(200);
            one[at..at + run].swap_with_slice(&mut two[..run]);
        }
        _ => {
            let at = random.below(length.saturating_sub(8));
            bad[at..at + 8].copy_from_slice(&(8_u64 << 30).to_le_bytes());
        }
    }
    bad
}

async fn check(world: &World) {
    let mut random = Random(20_240_229);
    for (name, bytes) in good(world).await {
        for copy in 0..COPIES {
            let file = format!("bad/{copy:02}-{name}");
            world.write(&file, damaged(&bytes, copy, &mut random));
            for sql in [
                format!("select count(*), sum(i), max(s) from '@{file}' where i >= 0"),
                format!("select * from '@{file}'"),
            ] {
                let sql = if name.ends_with("avro") {
                    sql.replace("(i)", "(a)").replace("(s)", "(b)").replace("i >", "a >")
                } else {
                    sql
                };
                let ended = tokio::time::timeout(PATIENCE, world.attempt(&sql)).await;
                let Ok(ended) = ended else { panic!("{sql}: no end") };
                let Err(error) = ended else { continue };
                let text = format!("{error} {}", error.hint().unwrap_or_default());
                assert!(text.contains(&file) || text.contains("column"), "{sql}: {text}");
                for word in ["panicked", "internal error", "Internal error", "backtrace", "RUST_"] {
                    assert!(!text.contains(word), "{sql}: {text}");
                }
            }
        }
    }
    assert_eq!(world.text("select 1").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_files_are_named() {
    check(&World::here().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_files_are_named_on_machines() {
    check(&World::on_machines().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_what_its_checksum_is_of() {
    for world in [World::here().await, World::on_machines().await] {
        let good = checksums();
        world.write("good.parquet", &good);
        let sql = "select count(*), sum(i), count(distinct s) from '@good.parquet'";
        assert_eq!(world.text(sql).await, "1000|499500|7");
        // Somewhere in the pages of `i` of the first row group, which begin at byte 4.
        for at in [100, 800, 1500, 2500] {
            let mut bad = good.clone();
            bad[at] ^= 4;
            world.write("bad.parquet", &bad);
            let error = world.error("select sum(i) from '@bad.parquet'").await;
            assert!(error.contains("bad.parquet"), "{at}: {error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_is_missing_is_not_a_shorter_file() {
    let world = World::here().await;
    let mut text = Vec::new();
    let mut packed = flate2::write::GzEncoder::new(&mut text, flate2::Compression::fast());
    (0..50_000).for_each(|i| writeln!(packed, "{{\"i\":{i}}}").unwrap());
    packed.finish().unwrap();
    world.write("cut.jsonl.gz", &text[..text.len() / 2]);
    let error = world.error("select count(*) from '@cut.jsonl.gz'").await;
    assert!(error.contains("cut.jsonl.gz"), "{error}");
}
