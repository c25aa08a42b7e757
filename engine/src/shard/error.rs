//! Why a shard file could not be written or read, by what whoever asked can do about it.

use std::io;
use std::path::PathBuf;

use arrow::error::ArrowError;

/// What the functions of this module return.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a shard file could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Error {
    /// The file system refused: it is full, or the folder is not there.
    #[error("cannot write shard file \"{}\": {cause}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        cause: io::Error,
    },
    /// The rows are not what the file was opened for: a fault of the plan that made them.
    #[error("{0}")]
    Rows(String),
    /// One row alone is larger than a block can be.
    #[error("a row of {bytes} bytes is too large: a shard block holds at most {bytes_max}")]
    Row {
        /// The bytes of the row.
        bytes: usize,
        /// The most that fits.
        bytes_max: usize,
    },
    /// An earlier call failed and lost rows, so that the file would not be complete.
    #[error("shard file \"{}\" is not complete: writing to it failed before", path.display())]
    Incomplete {
        /// The file.
        path: PathBuf,
    },
    /// What was read is not what was written. Read another copy, or compute it again.
    #[error("shard block of {bytes} bytes was changed on disk: its checksum is wrong")]
    Changed {
        /// The bytes of the block.
        bytes: usize,
    },
    /// The block is as it was written and yet means nothing: a fault of this program, or the
    /// schema is of another file.
    #[error("cannot decode shard block: {0}")]
    Malformed(String),
    /// Arrow could not rearrange the rows.
    #[error("cannot rearrange rows of a shard: {0}")]
    Arrow(#[from] ArrowError),
}
