//! Damaged text: every file is either read correctly or named by an error. No panic, no hang, no
//! unbounded memory.

use std::io::Write as _;
use std::time::Duration;

use crate::world::World;

/// The seed of the damage. Another one gives other files.
const SEED: u64 = 0x5eed_0010;

/// Files per kind of damage.
const EACH: usize = 3;

/// Rows of an undamaged file.
const ROWS: usize = 2000;

/// Time limit per file, damaged or not.
const PATIENCE: Duration = Duration::from_secs(60);

/// A random generator with the same numbers on every machine.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) % end as u64).unwrap()
    }
}

fn csv() -> Vec<u8> {
    let rows = (0..ROWS).map(|row| match row % 3 {
        0 => format!(
            "{row},\"a note, with \"\"quotes\"\"\nand lines\",{}.5,2024-02-{:02}\n",
            row % 7,
            row % 28 + 1
        ),
        1 => format!("{row},plain ü,,\n"),
        _ => format!("{row},,{}.25,2023-12-31\n", row % 9),
    });
    format!("id,note,x,day\n{}", rows.collect::<String>()).into_bytes()
}

fn json() -> Vec<u8> {
    let rows = (0..ROWS).map(|row| {
        format!(
            "{{\"id\":{row},\"note\":\"a \\\"b\\\" ü\",\"x\":[{}.5,null],\"y\":{{\"z\":true}}}}\n",
            row % 7
        )
    });
    rows.collect::<String>().into_bytes()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Damages bytes in one of several ways.
fn damaged(mut bytes: Vec<u8>, kind: usize, dice: &mut Dice) -> Vec<u8> {
    let at = dice.below(bytes.len());
    match kind {
        0 => bytes.truncate(at),
        1 => {
            for _ in 0..=dice.below(8) {
                let at = dice.below(bytes.len());
                bytes[at] ^= 1 << dice.below(8);
            }
        }
        2 => bytes.insert(at, b'"'),
        3 => bytes.splice(at..at, [0; 16]).for_each(drop),
        4 => {
            let end = (at + 1 + dice.below(5000)).min(bytes.len());
            bytes.drain(at..end).for_each(drop);
        }
        5 => bytes.splice(at..at, vec![b'x'; 3 << 20]).for_each(drop),
        6 => bytes = (0..bytes.len()).map(|_| u8::try_from(dice.below(256)).unwrap()).collect(),
        7 => bytes.insert(at, [b'{', b'}', b'[', b']', b',', b'\n', b'\\'][dice.below(7)]),
        _ => {
            let other = dice.below(bytes.len());
            let (low, high) = (at.min(other), at.max(other));
            bytes[low..high].reverse();
        }
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_files_are_read_right_or_named() {
    let mut dice = Dice(SEED);
    for world in [World::here().await, World::on_machines().await] {
        let mut right = 0;
        for kind in 0..9 {
            for number in 0..EACH {
                for ending in ["csv", "json", "csv.gz", "json.gz"] {
                    let text = if ending.starts_with("csv") { csv() } else { json() };
                    let bytes = match (ending.ends_with("gz"), number % 2) {
                        // Damages the compressed bytes, or the bytes before compression.
                        (true, 0) => damaged(gzip(&text), kind, &mut dice),
                        (true, _) => gzip(&damaged(text, kind, &mut dice)),
                        (false, _) => damaged(text, kind, &mut dice),
                    };
                    let name = format!("{kind}-{number}.{ending}");
                    world.write(&name, bytes);
                    right += usize::from(read(&world, &name).await);
                    std::fs::remove_file(world.path(&name)).unwrap();
                }
            }
        }
        assert!(right > 0, "nothing was read");
        world.session.shutdown().await;
    }
}

/// Whether a file was readable; an error must name it.
async fn read(world: &World, name: &str) -> bool {
    let sql = format!("select count(*) as c, count(note), max(note) from '{}'", world.at(name));
    let reading = async { world.session.sql(&sql).await?.collect().await };
    match tokio::time::timeout(PATIENCE, reading).await {
        Err(_) => panic!("{name} takes longer than {PATIENCE:?}"),
        Ok(Ok(_)) => true,
        Ok(Err(error)) => {
            let text = format!("{error}");
            // The query, not the file, lacks a column that the damage renamed.
            let named = text.contains(name) || text.contains("note");
            assert!(named && !text.contains("panic"), "{name}: {text}");
            false
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_another_kind_are_named() {
    let world = World::here().await;
    world.text("copy (select 1 as note) to '@x.parquet'").await;
    let parquet = std::fs::read(world.path("x.parquet")).unwrap();
    let cases: [(&str, Vec<u8>); 6] = [
        ("parquet.csv", parquet.clone()),
        ("parquet.json", parquet),
        ("text.csv.gz", csv()),
        ("text.json.zst", json()),
        ("gz.csv", gzip(&csv())),
        ("csv.json", csv()),
    ];
    for (name, bytes) in cases {
        world.write(name, bytes);
        assert!(!read(&world, name).await, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_never_closed_ends_within_a_limit() {
    for world in [World::here().await, World::on_machines().await] {
        // An unclosed quote in a file that is read in parts.
        let mut text = String::from("id,note\n0,\"open\n");
        text.extend((0..1_500_000).map(|row| format!("{row},a plain note\n")));
        world.write("open.csv", &text);
        let error = world.error("select count(*) from '@open.csv'").await;
        assert!(error.contains("open.csv\", line 2"), "{error}");
        world.session.shutdown().await;
    }
}
