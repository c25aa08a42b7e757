//! Files in tar archives.

use async_compression::tokio::write::{GzipEncoder, ZstdEncoder};
use bigslice::TarEntry;
use bigslice::prelude::*;
use tar::{Builder, EntryType, Header};
use tokio::io::AsyncWriteExt;

use crate::cases;
use crate::world::World;

cases![
    files_in_archives_are_rows,
    an_archive_that_is_cut_short_is_named,
    what_is_no_row_of_an_archive,
];

#[bigslice::func]
fn entries(paths: Vec<String>) -> Result<Slice<TarEntry>> {
    Slice::tar(paths)
}

/// An archive of files, including a folder and a link.
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut folder = Header::new_gnu();
        folder.set_entry_type(EntryType::Directory);
        folder.set_size(0);
        archive.append_data(&mut folder, format!("{path}.d/"), &[][..]).unwrap();
        let mut header = Header::new_gnu();
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, path, *bytes).unwrap();
        let mut link = Header::new_gnu();
        link.set_entry_type(EntryType::Symlink);
        link.set_size(0);
        archive.append_link(&mut link, format!("{path}.l"), path).unwrap();
    }
    archive.into_inner().unwrap()
}

macro_rules! compressed {
    ($encoder:ident, $bytes:expr) => {{
        let mut encoder = $encoder::new(Vec::new());
        encoder.write_all($bytes).await.unwrap();
        encoder.shutdown().await.unwrap();
        encoder.into_inner()
    }};
}

impl World {
    fn put(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        self.write(name, content)
    }
}

async fn files_in_archives_are_rows(world: &World) {
    let large: Vec<u8> = (0..3_000_000u32).map(|n| (n * 7 % 251) as u8).collect();
    let long = "long/".repeat(60) + "name.bin";
    let files: [(&str, &[u8]); 4] =
        [("a.txt", b"hello"), ("empty", b""), (&long, &large), ("b/c.txt", b"world\n")];
    let bytes = archive(&files);
    world.put("archives/1.tar", &bytes);
    world.put("archives/2.tar.gz", compressed!(GzipEncoder, &bytes));
    world.put("archives/3.tgz", compressed!(GzipEncoder, &bytes));
    world.put("archives/4.tar.zst", compressed!(ZstdEncoder, &bytes));
    world.put("archives/notes.txt", "no archive");
    let shards = world.shards(entries(vec![world.path("archives")])).await;
    let names = ["1.tar", "2.tar.gz", "3.tgz", "4.tar.zst"];
    assert_eq!(shards.len(), names.len());
    for (shard, name) in shards.iter().zip(names) {
        let found = shard.iter().map(|entry| (entry.path.as_str(), &entry.bytes[..]));
        assert!(found.eq(files), "{name}");
        assert!(
            shard.iter().all(|entry| entry.archive == world.path(&format!("archives/{name}"))),
            "{name}"
        );
    }
    let pax = {
        let mut archive = Builder::new(Vec::new());
        let path = "ü".repeat(150);
        archive.append_pax_extensions([("path", path.as_bytes()), ("size", b"3")]).unwrap();
        let mut header = Header::new_ustar();
        header.set_path("short").unwrap();
        header.set_size(3);
        header.set_cksum();
        archive.append(&header, &b"pax"[..]).unwrap();
        world.put("pax.tar", archive.into_inner().unwrap())
    };
    let found = world.rows(entries(vec![pax])).await;
    assert_eq!((found.len(), &found[0].bytes[..]), (1, &b"pax"[..]));
    assert_eq!(found[0].path, "ü".repeat(150));
}

async fn an_archive_that_is_cut_short_is_named(world: &World) {
    let bytes = archive(&[("a", &[b'a'; 2000]), ("b", &[b'b'; 2000])]);
    // In a header, in an entry, in the zeros after it, just before another header, and before the
    // end.
    let end = bytes.len() - 1024;
    for cut in [100, 700, 1500, 3050, 3584, 4096, end - 512, end] {
        let path = world.put("cut.tar", &bytes[..cut]);
        let error = world.error(entries(vec![path.clone()])).await;
        let text = error.to_string();
        assert!(text.starts_with("tar at tests/slices/sources_tar.rs:"), "{cut}: {text}");
        assert!(text.contains(&format!("the archive \"{path}\" cannot be read")), "{cut}: {text}");
        assert!(error.is_user_error() && error.hint().is_some(), "{cut}: {error:?}");
    }
    let mut packed = compressed!(GzipEncoder, &bytes);
    packed.truncate(packed.len() - 4);
    let path = world.put("cut.tar.gz", packed);
    let error = world.error(entries(vec![path.clone()])).await.to_string();
    assert!(error.contains(&format!("\"{path}\" cannot be decompressed")), "{error}");
    let path = world.put("no.tar", "this is a text and no archive".repeat(100));
    let error = world.error(entries(vec![path.clone()])).await.to_string();
    assert!(error.contains(&path), "{error}");
}

async fn what_is_no_row_of_an_archive(world: &World) {
    let mut header = Header::new_gnu();
    header.set_path("huge").unwrap();
    header.set_size(1 << 40);
    header.set_cksum();
    let path = world.put("huge.tar", header.as_bytes());
    let error = world.error(entries(vec![path])).await.to_string();
    assert!(error.contains("\"huge\" in it has 1099511627776 bytes, more than"), "{error}");

    // A name of two megabytes, to fill our memory.
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::GNULongName);
    header.set_path("././@LongLink").unwrap();
    header.set_size(2 << 20);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.resize(bytes.len() + (2 << 20), b'x');
    let path = world.put("name.tar", bytes);
    let error = world.error(entries(vec![path])).await.to_string();
    assert!(error.contains("headers of an entry are longer than"), "{error}");

    let error = world.error(entries(vec![world.path("none.tar")])).await.to_string();
    assert!(error.contains("no file or folder"), "{error}");
    assert!(world.rows(entries(vec![world.put("no.tar", archive(&[]))])).await.is_empty());
}
