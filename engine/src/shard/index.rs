//! Where the blocks of a shard file lie: what the writer of the file reports and readers ask for.

use serde::{Deserialize, Serialize};

/// A piece of the file with rows of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Block {
    /// Where it begins in the file.
    pub(crate) offset: u64,
    /// How long it is.
    pub(crate) bytes: u32,
    /// How many rows it has, at least one.
    pub(crate) rows: u32,
    /// The CRC-32 of its bytes when they were written.
    pub(crate) crc: u32,
}

/// The blocks of every partition of a file, in the order in which their rows came.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Index {
    partitions: Vec<Vec<Block>>,
}

impl Index {
    pub(super) fn new(partitions: usize) -> Self {
        Self { partitions: vec![Vec::new(); partitions] }
    }

    pub(super) fn push(&mut self, partition: usize, block: Block) {
        self.partitions[partition].push(block);
    }

    /// The blocks of a partition: none if it is empty or there is no such partition.
    pub(crate) fn blocks(&self, partition: usize) -> &[Block] {
        self.partitions.get(partition).map_or(&[], Vec::as_slice)
    }

    /// The rows of a partition.
    pub(crate) fn rows(&self, partition: usize) -> u64 {
        self.blocks(partition).iter().map(|block| u64::from(block.rows)).sum()
    }

    /// How many blocks there are.
    pub(crate) fn len(&self) -> usize {
        self.partitions.iter().map(Vec::len).sum()
    }

    /// The bytes of all blocks: the file but for its schema and end mark.
    pub(crate) fn bytes(&self) -> u64 {
        self.partitions.iter().flatten().map(|block| u64::from(block.bytes)).sum()
    }
}
