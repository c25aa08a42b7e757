//! The stored blocks of a run, dealt to tasks and their partitions: each reads about the same
//! number of bytes, most of them from its own machine. Plain values, no I/O.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::runs::task::StoredSize;

use crate::base::wire::StoredAt;

/// Minimum pieces for each partition, if there are as many blocks: small pieces even out.
const PIECES_PER_PARTITION: u64 = 4;

/// Most bytes of its own machine that a task reads, in percent of an even share: local reads are
/// faster by more than this.
const AT_HOME_PERCENT: u64 = 110;

/// Some blocks of one stored shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Piece {
    pub(super) at: StoredAt,
    pub(super) blocks: Range<u32>,
    /// Rows and bytes of these blocks: exact for all blocks of a shard, otherwise an estimate.
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

impl Piece {
    /// A whole shard; `None` if it is empty.
    pub(super) fn of_shard(at: &StoredAt, size: &StoredSize) -> Option<Self> {
        let StoredSize { rows, bytes, blocks } = *size;
        (blocks > 0).then(|| Self { at: at.clone(), blocks: 0..blocks, rows, bytes })
    }

    /// Splits this into pieces of about `bytes` bytes.
    fn cut(&self, bytes: u64) -> impl Iterator<Item = Self> {
        let blocks = u64::from(self.blocks.end - self.blocks.start);
        let parts = self.bytes.div_ceil(bytes.max(1)).clamp(1, blocks.max(1));
        (0..parts).map(move |part| {
            // How many of `n` are before `part`.
            let before = |n: u64, part: u64| {
                u64::try_from(u128::from(n) * u128::from(part) / u128::from(parts))
            };
            let of = |n: u64| before(n, part).unwrap_or(n)..before(n, part + 1).unwrap_or(n);
            let (blocks, rows, bytes) = (of(blocks), of(self.rows), of(self.bytes));
            // A part has at most all blocks.
            let all = self.blocks.end - self.blocks.start;
            let block = |n: u64| self.blocks.start + u32::try_from(n).unwrap_or(all).min(all);
            Self {
                at: self.at.clone(),
                blocks: block(blocks.start)..block(blocks.end),
                rows: rows.end - rows.start,
                bytes: bytes.end - bytes.start,
            }
        })
    }
}

/// The pieces that one task reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Share {
    /// The address of the machine that has most of it.
    pub(super) home: Option<String>,
    /// For each partition its pieces.
    pub(super) partitions: Vec<Vec<Piece>>,
}

/// Deals pieces to `tasks` tasks of `partitions` partitions each. No two tasks have the same home.
pub(super) fn dealt(pieces: &[Piece], tasks: usize, partitions: usize) -> Vec<Share> {
    let (tasks, partitions) = (tasks.max(1), partitions.max(1));
    let total: u64 = pieces.iter().map(|piece| piece.bytes).sum();
    let wanted = (tasks * partitions) as u64 * PIECES_PER_PARTITION;
    let mut small: Vec<_> =
        pieces.iter().flat_map(|piece| piece.cut(total.div_ceil(wanted))).collect();
    // Large pieces first: the small ones even out the rest.
    small.sort_by_key(|piece| Reverse(piece.bytes));
    let mut homes = homes(pieces);
    homes.truncate(tasks);
    let most = total.div_ceil(tasks as u64).saturating_mul(AT_HOME_PERCENT) / 100;
    let mut shares = vec![(0, Vec::new()); tasks];
    let mut others = Vec::new();
    for piece in small {
        let home = homes.iter().position(|home| Some(home) == piece.at.machine.as_ref());
        match home.map(|home| &mut shares[home]) {
            Some((bytes, pieces)) if *bytes + piece.bytes <= most => {
                *bytes += piece.bytes;
                pieces.push(piece);
            }
            _ => others.push(piece),
        }
    }
    others.into_iter().for_each(|piece| to_least(&mut shares, piece));
    let shares = shares.into_iter().enumerate().map(|(task, (_, pieces))| {
        let mut of = vec![(0, Vec::new()); partitions];
        pieces.into_iter().for_each(|piece| to_least(&mut of, piece));
        let partitions = of.into_iter().map(|(_, pieces)| pieces).collect();
        Share { home: homes.get(task).cloned(), partitions }
    });
    shares.collect()
}

/// The addresses of the machines that have the pieces, most bytes first.
fn homes(pieces: &[Piece]) -> Vec<String> {
    let mut bytes: BTreeMap<&String, u64> = BTreeMap::new();
    for piece in pieces {
        if let Some(machine) = &piece.at.machine {
            *bytes.entry(machine).or_default() += piece.bytes;
        }
    }
    let mut homes: Vec<_> = bytes.into_iter().collect();
    homes.sort_by_key(|(_, bytes)| Reverse(*bytes));
    homes.into_iter().map(|(machine, _)| machine.clone()).collect()
}

/// Adds a piece to the share with the fewest bytes.
fn to_least(shares: &mut [(u64, Vec<Piece>)], piece: Piece) {
    if let Some((bytes, pieces)) = shares.iter_mut().min_by_key(|(bytes, _)| *bytes) {
        *bytes += piece.bytes;
        pieces.push(piece);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::base::wire::RunId;

    fn shard(task: u32, machine: &str, blocks: u32) -> Piece {
        let machine = Some(machine.to_owned());
        let at = StoredAt { run: RunId(1), stage: 0, task, attempt: 1, machine };
        let (rows, bytes) = (u64::from(blocks) * 10, u64::from(blocks) * 1000);
        Piece::of_shard(&at, &StoredSize { rows, bytes, blocks }).unwrap()
    }

    fn all(shares: &[Share]) -> impl Iterator<Item = &Piece> {
        shares.iter().flat_map(|share| share.partitions.iter().flatten())
    }

    /// All blocks of all shares, with their shard.
    fn blocks(shares: &[Share]) -> Vec<(u32, u32)> {
        let blocks = all(shares).flat_map(|p| p.blocks.clone().map(|block| (p.at.task, block)));
        blocks.collect()
    }

    #[test]
    fn every_block_is_dealt_once_and_evenly() {
        let pieces = [shard(0, "a", 100), shard(1, "a", 1), shard(2, "b", 40), shard(3, "c", 7)];
        for (tasks, partitions) in [(1, 1), (1, 4), (3, 2), (5, 2), (200, 2)] {
            let shares = dealt(&pieces, tasks, partitions);
            assert_eq!(shares.len(), tasks);
            assert!(shares.iter().all(|share| share.partitions.len() == partitions));
            let found = blocks(&shares);
            assert_eq!(found.len(), 148, "{tasks} tasks");
            assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), 148, "{tasks} tasks");
            assert_eq!(all(&shares).map(|piece| piece.rows).sum::<u64>(), 1480);
            assert_eq!(all(&shares).map(|piece| piece.bytes).sum::<u64>(), 148_000);
            let most = shares
                .iter()
                .map(|share| all(std::slice::from_ref(share)).map(|p| p.bytes).sum::<u64>());
            let even = 148_000 / tasks as u64;
            assert!(most.max().unwrap() <= even + even / 5 + 1000, "{tasks} tasks");
        }
        assert!(Piece::of_shard(&pieces[0].at, &StoredSize::default()).is_none());
    }

    #[test]
    fn what_a_machine_has_is_read_there() {
        let pieces: Vec<_> =
            (0..12).map(|n| shard(n, ["a", "b", "c"][n as usize % 3], 5)).collect();
        let shares = dealt(&pieces, 3, 2);
        for share in &shares {
            let home = share.home.as_ref();
            assert!(
                all(std::slice::from_ref(share)).all(|piece| piece.at.machine.as_ref() == home)
            );
        }
        let homes: BTreeSet<_> = shares.iter().map(|share| share.home.clone()).collect();
        assert_eq!(homes.len(), 3);
        // The shards of a single machine are dealt to other tasks too.
        let shares = dealt(&[shard(0, "a", 100)], 2, 1);
        assert_eq!((shares[0].home.as_deref(), shares[1].home.as_deref()), (Some("a"), None));
        assert!(!shares[1].partitions[0].is_empty());
    }
}
