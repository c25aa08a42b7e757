//! Where tables come from and go to: files in a folder, in a bucket or behind a web address.
//!
//! What a session calls, in the order of a session's life:
//!
//! 1. [`Stores::new`] on the driver, [`Stores::on_worker`] on a worker: one registry of object
//!    stores per process. It connects and looks for credentials only when an address needs it.
//! 2. [`runtime`] puts the registry and the cache settings into a `RuntimeEnvBuilder`.
//! 3. [`install()`] gives a `SessionContext` tables by address (`select ... from
//!    's3://b/x/*.parquet'`) and `CREATE EXTERNAL TABLE`.
//! 4. [`prepare`] takes each parsed statement before it is planned and removes the settings and
//!    secrets of a store, so that no plan, log or `information_schema` shows them.
//! 5. [`Stores::for_workers`] (driver, before each distributed query, after it was planned) gives
//!    what workers need to open the same stores; [`Stores::apply`] takes it on a worker.
//! 6. [`explain`] finds the message and the hint for the user in any error of a query.
//! 7. [`SealedScan`] is the scan of files that the exchange can neither split nor encode:
//!    [`SealedScan::encode`] and [`SealedScan::decode`] belong in the plan codec,
//!    [`sealed_scan_tasks`] and [`sealed_scan_scale_up`] are handlers for the exchange.
//! 8. [`watch`] makes the scans of a plan on a worker name the file that an error is about; in the
//!    driver an optimizer rule does.
//! 9. [`StoredFile`] is a file that a slice reads byte by byte, without DataFusion.
//! 10. [`sink`] writes: statements through a [`sink::Transaction`], slices through
//!     [`sink::Writes`].
//!
//! # Modules
//!
//! | | |
//! |---|---|
//! | `location`, `address`, `format`, `listing`, `partition` | a place as a user writes it, and its files |
//! | `stores` | object stores: settings, credentials, errors |
//! | `text`, `avro`, `arrow_file`, `parquet_file` | formats: our readers, and checks before a library's reader |
//! | `adapt`, `wider` | files with different columns and types as one table |
//! | `scan` | scans: statistics, splitting, errors that name the file |
//! | `table` | tables, their schema and options; the statements that create them |
//! | `sink` | writing files, all or none |

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
pub use error::{Failed, HINT, SourceError, SourceErrorKind, explain};
pub use location::{Location, Place};
pub use scan::{SealedScan, file_scan, sealed_scan_scale_up, sealed_scan_tasks, watch};
pub use sql_name::sql_name;
pub use stored::{Content, StoredFile};
pub use stores::{Stores, WorkerStores};
pub use table::{install, prepare, read_as_listed, reads_files_here, runtime};
