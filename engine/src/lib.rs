//! SQL over files, and typed pipelines, on all cores of this computer or on machines that the
//! program starts itself.
//!
//! ```no_run
//! # async fn example() -> bigslice::Result<()> {
//! use bigslice::prelude::*;
//!
//! let session = Session::builder().workers(4).build().await?;
//! let query = session.sql("select count(*) from 'flights/*.parquet'").await?;
//! let rows = query.collect().await?;
//! session.shutdown().await;
//! # drop(rows); Ok(()) }
//! ```
//!
//! # The life of a query
//!
//! The chain is in [`query::run`]; the numbers are those of ARCHITECTURE.md.
//!
//! 1. **Parse and plan.** A script is split into statements ([`script`](base::script)). Each is
//!    lexed, measured, parsed, measured again and made a logical plan, on a thread of its own
//!    ([`planning`](statement::planning)). Names of files and addresses become tables on the way
//!    ([`bigslice_files`]).
//! 2. **Optimize.** DataFusion's logical rules and ours.
//! 3. **Lower.** DataFusion's physical planner, in each attempt, with the current settings
//!    ([`lower`](query::distribute::lower), [`settings`](base::settings)).
//! 4. **Distribute.** With machines, the plan is prepared, cut into stages of tasks, guarded and
//!    checked ([`distribute`](query::distribute::distribute)), unless it cannot be sent
//!    ([`sendable`](query::sendable)). [`explain`](statement::explain) shows the result. Without
//!    machines this step does not exist and costs nothing.
//! 5. **Run.** Each task goes to a machine, where [`worker`](session::worker) decodes it
//!    ([`job::PlanCodec`](runs::job::PlanCodec)) and runs it within its memory
//!    ([`memory`](base::memory), [`pool`](base::memory::pool), [`spill`](base::memory::spill)) on
//!    its threads ([`cpu`](base::cpu)).
//! 6. **Return.** The rows of the last stage come to the driver, are held back until they are
//!    certain ([`holdback`](query::holdback)) and flow to the reader ([`stream`](query::stream)).
//!    Rows to be written become files all at once ([`bigslice_files::sink`]).
//! 7. **Recover.** When a machine is lost, the query runs again on the remaining machines and the
//!    log has a line about it; or, if rows were returned already, the query fails with an error
//!    that says so ([`Error`], worded by [`diagnostics`](base::diagnostics)). A query that runs out
//!    of memory runs again with less ([`low_memory`](query::low_memory)).
//!
//! # The life of a run
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! use bigslice::prelude::*;
//!
//! #[derive(Row)]
//! struct Visit {
//!     url: String,
//!     ms: i64,
//! }
//!
//! #[bigslice::func]
//! fn slow_hosts(visits: Vec<(String, i64)>, cutoff_ms: i64) -> Slice<(String, u64)> {
//!     Slice::const_(4, visits.into_iter().map(|(url, ms)| Visit { url, ms }))
//!         .filter(move |v| v.ms > cutoff_ms)
//!         .map(|v| (v.url.split('/').next().unwrap_or_default().to_owned(), 1))
//!         .reduce(|a, b| a + b)
//! }
//!
//! let session = Session::builder().build().await?; // or .workers(4)
//! let visits = vec![("a.org/x".to_owned(), 900), ("a.org/y".to_owned(), 700)];
//! let hosts = session.run(slow_hosts(visits, 500)).await?;
//! session.register("hosts", &hosts)?;
//! assert_eq!(hosts.collect().await?, [("a.org".to_owned(), 2)]);
//! # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
//! ```
//!
//! The numbers are those of ARCHITECTURE.md.
//!
//! 1. **Call.** Every process can call the [`func`](mod@pipeline::func), with the same arguments.
//! 2. **Build.** Its verbs make the nodes of a [`slice`](pipeline::slice).
//! 3. **Divide into stages.** [`task`](runs::task) divides the tree where rows move, in the same
//!    way on the driver and on each worker.
//! 4. **Schedule.** A [`job`](runs::job) chooses a machine with free slots for each task, one for
//!    each shard of a stage, and computes lost shards again.
//! 5. **Send.** A request goes to the machine over Flight, or is a plain call without machines.
//! 6. **Run the task.** It pipes its inputs through its verbs into a file of [`shard`]s.
//! 7. **Read.** Readers get the shards over Flight and verify them before decoding.
//! 8. **Return.** A [`Run`] knows where the result is.

#![cfg_attr(
    doc,
    expect(
        rustdoc::private_intra_doc_links,
        reason = "the life of a query is for readers of the code and names private modules"
    )
)]

extern crate self as bigslice;

mod base;
mod error;
pub mod expr;
#[cfg(doctest)]
mod guide;
mod leaf_plan;
pub mod metrics;
mod pipeline;
mod query;
pub mod render;
mod runs;
mod session;
mod shard;
mod statement;
#[cfg(test)]
mod tests;
pub mod tpch;

/// The version of Arrow that batches and schemas are made with.
pub use arrow;
/// The version of DataFusion that sessions are built on: expressions, catalogs, table providers.
pub use datafusion;

#[doc(inline)]
pub use bigslice_rows as row;

pub use base::driver::TableInfo;
pub use base::redact::redact;
pub use base::script::{PieceKind, ScriptPiece, Statement};
pub use base::system::{FleetSize, MachineKind, SystemSpec};
/// The crate behind a session's machines: to call services on them ([`Session::fleet`]), to ask for
/// machines, or to inject faults in tests.
pub use bigslice_cluster as cluster;
pub use bigslice_cluster::{Grouping, Hertz, Inspector, LogLine, LogSink, LogSource};
pub use bigslice_diagnostics::did_you_mean;
pub use bigslice_files::Environment;
pub use bigslice_files::sink::{Compression, Delimited, Existing, WriteOptions};
pub use error::{Error, Position, Result};
pub use pipeline::func::Invocation;
pub use pipeline::map::{MapFunction, Mapped};
pub use pipeline::slice::{
    Batch, BatchWriter, Emitter, LinesOptions, Paths, Prefix, Rows, Sink, Slice, Stopped, Table,
    TarEntry, TarEntryView, WrittenFile,
};
pub use query::Query;
pub use row::{Row, Value};
pub use runs::job::{Run, Runnable};
pub use session::args::{SessionArgs, parse_size};
pub use session::builder::{SessionBuilder, Settings};
pub use session::testing;
pub use session::worker::worker_main;
pub use session::{MachineInfo, Session};

/// Makes a function that builds a slice callable by every machine of a session.
///
/// ```
/// use bigslice::prelude::*;
///
/// #[bigslice::func]
/// fn squares(n: i64) -> Slice<i64> {
///     Slice::const_(4, 0..n).map(|x| x * x)
/// }
/// ```
///
/// A call of it returns an [`Invocation`] for [`Session::run`]. Every process that takes part calls
/// the function, so it must depend on its arguments alone, which serde must be able to encode. It
/// returns a [`Slice`], or a `Result` of one.
///
/// # What is refused
///
/// Arguments that cannot be encoded, or that borrow:
///
/// ```compile_fail
/// # use bigslice::prelude::*;
/// #[bigslice::func]
/// fn read(file: std::fs::File) -> Slice<i64> {
///     Slice::const_(1, 0..1)
/// }
/// ```
///
/// ```compile_fail
/// # use bigslice::prelude::*;
/// #[bigslice::func]
/// fn named<'a>(name: &'a str) -> Slice<i64> {
///     Slice::const_(1, 0..1)
/// }
/// ```
///
/// Generic functions, async functions and methods, since machines call a function by its name:
///
/// ```compile_fail
/// # use bigslice::prelude::*;
/// #[bigslice::func]
/// fn of<T: Into<i64>>(n: i64) -> Slice<i64> {
///     Slice::const_(1, 0..n)
/// }
/// ```
///
/// ```compile_fail
/// # use bigslice::prelude::*;
/// #[bigslice::func]
/// async fn later(n: i64) -> Slice<i64> {
///     Slice::const_(1, 0..n)
/// }
/// ```
///
/// ```compile_fail
/// # use bigslice::prelude::*;
/// struct Limits(i64);
///
/// impl Limits {
///     #[bigslice::func]
///     fn below(&self) -> Slice<i64> {
///         Slice::const_(1, 0..1)
///     }
/// }
/// ```
pub use bigslice_macros::func;
/// Makes an async `main` the main function of the driver and of its workers: in a worker, the body
/// does not run.
///
/// ```no_run
/// use bigslice::prelude::*;
///
/// #[bigslice::main]
/// async fn main() -> Result<()> {
///     let session = Session::from_args().await?;
///     session.shutdown().await;
///     Ok(())
/// }
/// ```
///
/// It may return what any `main` may. An error is reported as bigsql does: a line with the error, a
/// line with a hint if there is one, and exit code 1, or 2 when a flag or a setting was wrong. The
/// error may be of any type: [`Error`], one of your own, `Box<dyn std::error::Error>`,
/// `anyhow::Error`, `String`.
pub use bigslice_macros::main;
/// Makes the async methods of an impl block callable on the machines of a session.
///
/// [`SessionBuilder::services`] sends the values to the machines; [`Session::fleet`] shows how to
/// call a method. This is [`cluster::service`](macro@cluster::service), which says what a service
/// can be.
pub use bigslice_macros::service;
pub use pipeline::map::map;
pub use pipeline::udf::udf;

/// The items that the output of the macros uses.
#[doc(hidden)]
pub mod __private {
    pub use inventory::submit;

    pub use datafusion::logical_expr::Expr;

    pub use crate::pipeline::func::{Built, Func, IntoSlice, decode, invoke};
    pub use crate::pipeline::map::{Fallible, Mapping, Pending};
    pub use crate::pipeline::udf::{
        Aggregate, AggregateParts, Fault, Kind, ScalarParts, Udf, Volatility, each_row, expr,
    };
    pub use crate::row::function::{Argument, Arguments, Done, Returned};
    pub use crate::session::program::{
        OfError, OfHolder, OfSendHolder, OfTermination, OfText, drive,
    };
}

/// The items that most programs use.
pub mod prelude {
    pub use crate::Error;
    pub use crate::FleetSize;
    pub use crate::Invocation;
    pub use crate::MachineKind;
    pub use crate::Query;
    pub use crate::Result;
    pub use crate::Row;
    pub use crate::Run;
    pub use crate::Session;
    pub use crate::SessionArgs;
    pub use crate::Slice;
    pub use crate::SystemSpec;
    pub use crate::metrics::{Counter, Gauge, Histogram};
    pub use crate::worker_main;
}
