//! The index of a shard file: where its blocks are. The writer returns it, readers look blocks up
//! in it.

use serde::{Deserialize, Serialize};

/// A part of the file, with rows of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Block {
    /// Its offset in the file, in bytes.
    pub(crate) offset: u64,
    /// Its length in bytes.
    pub(crate) bytes: u32,
    /// Its number of rows, at least one.
    pub(crate) rows: u32,
    /// The CRC-32 of its bytes.
    pub(crate) crc: u32,
}

/// The blocks of every partition of a file, in the order of their rows.
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

    /// The blocks of a partition. Empty if there is no such partition.
    pub(crate) fn blocks(&self, partition: usize) -> &[Block] {
        self.partitions.get(partition).map_or(&[], Vec::as_slice)
    }

    /// The number of rows of a partition.
    pub(crate) fn rows(&self, partition: usize) -> u64 {
        self.blocks(partition).iter().map(|block| u64::from(block.rows)).sum()
    }

    /// The number of blocks.
    pub(crate) fn len(&self) -> usize {
        self.partitions.iter().map(Vec::len).sum()
    }

    /// The bytes of all blocks: those of the file without its schema and end mark.
    pub(crate) fn bytes(&self) -> u64 {
        self.partitions.iter().flatten().map(|block| u64::from(block.bytes)).sum()
    }
}
