//! Where tables come from: files in a folder, in a bucket or behind a web address.
//!
//! What the rest of the crate calls, in the order of a session's life:
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

mod adapt;
mod answer;
mod arrow_file;
mod avro;
mod bounds;
mod bucket;
mod caught;
mod credentials;
mod deal;
mod declared;
mod error;
mod factory;
mod float_bounds;
mod folders;
mod format;
mod install;
mod lenient;
mod listing;
mod location;
mod logical;
mod members;
mod opening;
mod options;
mod pages;
mod parquet_types;
mod partition;
mod pipe;
mod sample;
mod schema;
mod sealed;
mod settings;
mod statement;
mod statistics;
mod stored;
mod stores;
mod table;
mod text;
mod watched;
mod web;
mod wider;

pub(crate) use deal::{sealed_scan_scale_up, sealed_scan_tasks};
pub(crate) use error::{SourceError, SourceErrorKind, explain};
pub(crate) use folders::{named, real};
pub(crate) use install::{install, runtime};
pub(crate) use location::{Location, Place};
pub(crate) use parquet_types::{stored_batch, stored_rows, stored_schema};
pub(crate) use sealed::{SealedScan, file_scan};
pub(crate) use settings::WorkerStores;
pub(crate) use statement::prepare;
pub(crate) use stored::{Content, StoredFile};
pub(crate) use stores::Stores;
pub(crate) use table::reads_files_here;
pub(crate) use watched::watch;
