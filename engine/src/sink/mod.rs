//! Where results go: `COPY ... TO` and `INSERT INTO`, all of it or nothing.
//!
//! DataFusion's sinks finish the files that they have begun even when the query below them
//! fails. So a statement that writes runs over stores that only stage: every file is uploaded
//! but not completed, and the [`Transaction`] completes all of them when the whole plan has
//! succeeded. What the caller does with a plan for which [`writes`] says true:
//!
//! ```text
//! let (transaction, plan) = Transaction::begin(plan, &state).await?;   // checks the target
//! let state = transaction.session(&state);                             // plan and run with this state
//! ... create the physical plan, run it to its end, keep the row count ...
//! transaction.commit().await?;                                         // now the files exist
//! ```
//!
//! One transaction for each attempt: when a plan is run again, begin again.
//!
//! Dropping a transaction that was not committed takes back everything: temporary files,
//! folders made for them, unfinished multipart uploads. [`Transaction::rollback`] does the same
//! and waits for it; use it where the process may end right after.
//!
//! What happens to what is already there: `COPY` to a file replaces it in one step; `COPY` to a
//! folder that has files in it is refused, because the old and the new rows would silently
//! become one table; `INSERT INTO` adds files to the table's folder.

mod stage;
mod staged;
mod target;
mod transaction;

pub(crate) use target::writes;
pub(crate) use transaction::Transaction;
