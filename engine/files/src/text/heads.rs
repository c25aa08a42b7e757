//! Which files of a table decide its columns, and how much of each.

use super::input::Origin;

/// The number of files that are read at once.
pub(super) const ASKED_AT_ONCE: usize = 16;

/// How many files are asked; those after them are held to what these say when they are read.
const ASKED_MAX: usize = 1024;

/// The bytes of text read from each of the first files of a table,
const HEAD_BYTES: usize = 1 << 20;

/// if they are among the first of this number,
const HEADS: usize = 64;

/// and those after them for so much.
const SMALL_HEAD_BYTES: usize = 64 << 10;

/// The default number of rows of a file that decide the types.
const INFERRED_ROWS: usize = 20_000;

/// The size of the beginning of a file that decides the types.
#[derive(Debug, Clone, Copy)]
pub(super) struct Most {
    pub(super) rows: usize,
    pub(super) bytes: usize,
}

impl Most {
    /// Of the file with a number; `rows` is what an option says.
    pub(super) fn of(file: usize, rows: Option<usize>) -> Self {
        match rows {
            Some(rows) => Self { rows, bytes: usize::MAX },
            None => Self {
                rows: INFERRED_ROWS,
                bytes: if file < HEADS { HEAD_BYTES } else { SMALL_HEAD_BYTES },
            },
        }
    }
}

/// The files that are asked.
pub(super) fn asked(files: Vec<Origin>, rows: Option<usize>) -> Vec<(Origin, Most)> {
    let asked = files.into_iter().take(ASKED_MAX).enumerate();
    asked.map(|(at, file)| (file, Most::of(at, rows))).collect()
}
