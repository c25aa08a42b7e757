//! Which parts of which files each shard reads: the driver finds the files and deals them out, a
//! task receives its share.

use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::pipeline::slice::tree::node::Resolving;
use bigslice_files::{Location, StoredFile};

/// Shards that files are read in, at most.
const SHARDS_MAX: u64 = 4096;

/// The fewest bytes of a shard, unless fewer are asked for: a task costs as much as reading these.
const SHARD_BYTES_MIN: u64 = 1024 * 1024;

/// A part of a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) file: StoredFile,
    /// Its bytes as they are stored: all of them, unless the file can be divided.
    pub(super) range: Range<u64>,
}

/// The files at these places in order, each place's by name; `wanted` chooses among those of a
/// folder or pattern.
pub(super) async fn find(
    paths: &[String],
    resolving: &Resolving,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<StoredFile>> {
    let runtime = resolving.driver.context.runtime_env();
    let mut all = Vec::new();
    for path in paths {
        let location = Location::parse(path, resolving.driver.stores.home())?;
        let (mut files, single) = StoredFile::list(&location, &runtime).await?;
        // A folder whose names say nothing is taken as it is.
        if !single && files.iter().any(|file| wanted(&file.name)) {
            files.retain(|file| wanted(&file.name));
        }
        all.extend(files);
    }
    Ok(all)
}

/// Deals out files that may be divided anywhere, in order: a share for each core if they are large
/// enough, and none of more than `shard_bytes` if there need not be too many then.
pub(super) async fn divided(
    files: Vec<StoredFile>,
    resolving: &Resolving,
    shard_bytes: u64,
) -> Vec<Vec<Part>> {
    let runtime = resolving.driver.context.runtime_env();
    let total: u64 = files.iter().map(|file| file.size).sum();
    let share = share_bytes(total, resolving.slots as u64, shard_bytes);
    let mut parts = Vec::new();
    for file in files {
        let divisible =
            file.size > share && !file.is_compressed() && file.has_parts(&runtime).await;
        let n = if divisible { file.size.div_ceil(share) } else { 1 };
        parts.extend((0..n).map(|i| Part { range: nth(file.size, n, i), file: file.clone() }));
    }
    grouped(parts, share)
}

/// Deals out files that are read whole: one each, unless there would be too many shares.
pub(super) fn whole(files: Vec<StoredFile>) -> Vec<Vec<Part>> {
    let each = files.len().div_ceil(SHARDS_MAX as usize).max(1);
    let parts = files.into_iter().map(|file| Part { range: 0..file.size, file });
    let parts: Vec<Part> = parts.collect();
    parts.chunks(each).map(<[Part]>::to_vec).collect()
}

/// As tasks receive them. A slice has a shard, if only to find that there is nothing.
pub(super) fn encoded(shares: &[Vec<Part>]) -> Result<Vec<Arc<[u8]>>> {
    let none = [Vec::new()];
    let shares = if shares.is_empty() { &none } else { shares };
    shares.iter().map(|parts| Ok(crate::base::wire::encode(parts)?.as_ref().into())).collect()
}

fn share_bytes(total: u64, slots: u64, shard_bytes: u64) -> u64 {
    let even = total.div_ceil(slots.max(1)).max(SHARD_BYTES_MIN);
    // Two neighbours are more than a share together, so that there are at most twice as many.
    let fewest = total.div_ceil(SHARDS_MAX / 2);
    shard_bytes.min(even).max(fewest).max(1)
}

/// The `i`th of `n` parts of as many bytes.
fn nth(bytes: u64, n: u64, i: u64) -> Range<u64> {
    let at = |i: u64| (u128::from(bytes) * u128::from(i) / u128::from(n.max(1))) as u64;
    at(i)..at(i + 1)
}

fn grouped(parts: Vec<Part>, share: u64) -> Vec<Vec<Part>> {
    let mut groups: Vec<Vec<Part>> = Vec::new();
    let mut held = 0;
    for part in parts {
        let bytes = part.range.end - part.range.start;
        match groups.last_mut() {
            Some(group) if held + bytes <= share => {
                held += bytes;
                group.push(part);
            }
            _ => {
                held = bytes;
                groups.push(vec![part]);
            }
        }
    }
    groups
}
