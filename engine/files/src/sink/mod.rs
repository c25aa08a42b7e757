//! Writing results, all or nothing: `COPY ... TO`, `INSERT INTO`, and the `write_` verbs of slices.
//!
//! # Statements
//!
//! DataFusion's sinks finish their open files even when the query below them fails. So a statement
//! that writes runs over stores that only stage: every file is uploaded but not completed, and the
//! [`Transaction`] completes all of them once the whole plan has succeeded. The caller handles a
//! plan for which [`writes()`] is true like this:
//!
//! ```text
//! let (transaction, plan) = Transaction::begin(plan, &state, cleanup).await?;   // checks the target
//! let state = transaction.session(&state);                             // plan and run with this state
//! ... create the physical plan, run it to its end, keep the row count ...
//! transaction.commit().await?;                                         // now the files exist
//! ```
//!
//! Each attempt needs a transaction of its own.
//!
//! Dropping a transaction before its commit undoes everything: temporary files, folders made for
//! them, unfinished multipart uploads. [`Transaction::rollback`] does the same and waits for it;
//! use it where the process may end right after.
//!
//! Existing files: `COPY` to a file replaces it in one step. `COPY` to a folder with files in it is
//! refused, because the old and the new rows would silently become one table. `INSERT INTO` adds
//! files to the table's folder.
//!
//! # Slices
//!
//! A slice is written by the tasks that compute it, one file for each shard. The driver holds the
//! other end of everything that a task can leave behind:
//!
//! ```text
//! driver: Writes                                     task: part::write
//!   begin    checks the target
//!   open     a hidden folder or an upload, ───────►  a file in that folder, parts of that upload
//!            named for each attempt                                   │  [encode]
//!   take     the first attempt to succeed  ◄─────────  rows, bytes, parts
//!   commit   renames, completes; discards the others
//! ```
//!
//! So no cleanup is needed on a machine that is lost. A committed file is not written again when a
//! part of the run's result is lost: the request to a task lists the committed files.

mod begun;
mod delimited;
mod encode;
mod folder;
mod options;
mod part;
mod stage;
mod staged;
mod target;
mod text;
mod transaction;
mod writes;

pub use delimited::Delimited;
pub use options::{Compression, Encoding, Existing, SinkSpec, WriteOptions};
pub use part::{Opened, Opening, Written, write};
pub use target::writes;
pub use text::WriteText;
pub use transaction::Transaction;
pub use writes::Writes;
