//! Where tables come from and go to: files in a folder, in a bucket or behind a web address.
//!
//! What a session calls, in the order of a session's life:
//!
//! 1. [`Stores::new`] on the driver, [`Stores::on_worker`] on a worker: one registry of object
//!    stores per process. Nothing is dialled and no credential is looked for before the first
//!    address that needs it.
//! 2. [`runtime`] puts the registry, and the rules of caching, into a `RuntimeEnvBuilder`.
//! 3. [`install()`] gives a `SessionContext` tables by address (`select ... from 's3://b/x/*.parquet'`)
//!    and `CREATE EXTERNAL TABLE`.
//! 4. [`prepare`] takes each parsed statement before it is planned: settings and secrets of a
//!    store leave the statement here, so that no plan, log or `information_schema` shows them.
//! 5. [`Stores::for_workers`] (driver, before each distributed query, after it was planned) gives
//!    what workers need to open the same stores; [`Stores::apply`] takes it on a worker.
//! 6. [`explain`] finds the sentence and the hint for a user in any error of a query.
//! 7. [`SealedScan`] is the leaf for files that the exchange may neither cut nor encode by itself:
//!    [`SealedScan::encode`] and [`SealedScan::decode`] belong into the plan codec,
//!    [`sealed_scan_tasks`] and [`sealed_scan_scale_up`] are handlers for the exchange.
//! 8. [`watch`] makes the scans of a plan that was sent to a worker say which file is wrong; in the driver a rule does.
//! 9. [`StoredFile`] is a file that a slice reads byte by byte, without DataFusion.
//! 10. [`sink`] writes: statements through a [`sink::Transaction`], slices through [`sink::Writes`].
//!
//! # Modules
//!
//! | | |
//! |---|---|
//! | `location`, `address`, `format`, `listing`, `partition` | a place as a user writes it, and the files that it stands for |
//! | `stores` | object stores: settings, credentials, errors |
//! | `text`, `avro`, `arrow_file`, `parquet_file` | formats: what readers of ours do, and what is checked before a library's reader |
//! | `adapt`, `wider` | files of different columns and types as one table |
//! | `scan` | scans: statistics, shares, errors that name the file |
//! | `table` | tables, their schema and options; statements that make them |
//! | `sink` | files that are written, all or none |

mod adapt;
mod address;
mod arrow_file;
mod avro;
mod caught;
mod cleanup;
mod environment;
mod error;
mod format;
mod listing;
mod location;
mod members;
mod nearest;
mod parquet_file;
mod partition;
mod pipe;
mod scan;
pub mod sink;
mod sql_name;
mod stored;
mod stores;
mod table;
mod text;
mod wider;

pub use cleanup::Cleanup;
pub use environment::Environment;
pub use error::{Failed, HINT, SourceError, SourceErrorKind, chain, explain, links};
pub use location::{Location, Place};
pub use nearest::{did_you_mean, distance, nearest};
pub use scan::{SealedScan, file_scan, sealed_scan_scale_up, sealed_scan_tasks, watch};
pub use sql_name::sql_name;
pub use stored::{Content, StoredFile};
pub use stores::{Stores, WorkerStores};
pub use table::{install, prepare, read_as_listed, reads_files_here, runtime};
