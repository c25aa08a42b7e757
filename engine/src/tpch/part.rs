//! A part of a table: one of n consecutive ranges of its keys, which together are the table.

use super::table::TableName;

/// Fewer keys than this are not worth a part of their own: they are generated in a millisecond.
const KEYS_PER_PART_MIN: usize = 5_000;

/// Part `number` (from 1) of `count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) number: u32,
    pub(super) count: u32,
}

impl Part {
    /// The two numbers as the generator takes them.
    pub(super) fn numbers(self) -> (i32, i32) {
        let number = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
        (number(self.number), number(self.count))
    }

    /// How many keys of a table are in this part. The last part has the remainder of the division.
    pub(super) fn key_count(self, table: TableName, scale: f64) -> usize {
        let keys = table.key_count(scale);
        if !divisible(table) {
            return if self.number == 1 { keys } else { 0 };
        }
        let share = keys / self.count as usize;
        if self.number == self.count { keys - share * (self.count as usize - 1) } else { share }
    }

    /// How many keys of a table are before this part.
    pub(super) fn first_key(self, table: TableName, scale: f64) -> usize {
        (table.key_count(scale) / self.count as usize) * (self.number as usize - 1)
    }
}

/// How many parts are worth making of a table when `wanted` could run at the same time.
pub(super) fn part_count(table: TableName, scale: f64, wanted: usize) -> u32 {
    let worth = if divisible(table) { table.key_count(scale) / KEYS_PER_PART_MIN } else { 1 };
    u32::try_from(wanted.min(worth)).unwrap_or(u32::MAX).clamp(1, PARTS_MAX)
}

/// The maximum number of parts. More would be of no use; this bounds the size of a plan.
pub(super) const PARTS_MAX: u32 = 1 << 20;

/// Whether a table can be generated in parts. The generators of the two tiny ones make the whole
/// table whatever part they are asked for.
pub(super) fn divisible(table: TableName) -> bool {
    !matches!(table, TableName::Nation | TableName::Region)
}
