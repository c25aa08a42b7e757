//! Errors of writing and reading shard files, by what the caller can do about them.

use std::io;
use std::path::PathBuf;

use arrow::error::ArrowError;

/// The result of functions of this module.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a shard file could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Error {
    /// An error of the file system: it is full, or the folder does not exist.
    #[error("cannot write shard file \"{}\": {cause}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The error of the file system.
        cause: io::Error,
    },
    /// The rows do not match the schema or the partitions of the file: a bug in the plan.
    #[error("{0}")]
    Rows(String),
    /// A single row is larger than a block may be.
    #[error("a row of {bytes} bytes is too large: a shard block holds at most {bytes_max}")]
    Row {
        /// The bytes of the row.
        bytes: usize,
        /// The most bytes of a block.
        bytes_max: usize,
    },
    /// An earlier call failed and lost rows, so the file would be incomplete.
    #[error("shard file \"{}\" is not complete: writing to it failed before", path.display())]
    Incomplete {
        /// The file.
        path: PathBuf,
    },
    /// The bytes read are not the bytes written. The shard has to be computed again.
    #[error("shard block of {bytes} bytes was changed on disk: its checksum is wrong")]
    Changed {
        /// The bytes of the block.
        bytes: usize,
    },
    /// The block is intact but cannot be decoded: a bug, or the schema of another file.
    #[error("cannot decode shard block: {0}")]
    Malformed(String),
    /// Arrow could not rearrange the rows.
    #[error("cannot rearrange rows of a shard: {0}")]
    Arrow(#[from] ArrowError),
}
