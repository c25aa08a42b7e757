//! Machines as a library. A program starts them itself, as tasks of its process, processes of its
//! host, or instances of EC2. They authenticate each other, and end when the program does. This
//! crate does not know rows, Arrow or SQL: a machine serves the methods marked with
//! [`service`](macro@service), and the gRPC services that its [`ServiceFactory`] makes.
//!
//! The driver's side starts at [`Fleet::start`], or at [`Fleet::elastic`] if the number of machines
//! follows the work; a worker's side at [`run_worker`]. A worker is a process (or a part of the
//! driver's) that runs tasks; a machine is what it runs on:
//!
//! ```text
//!            driver                                        worker (a process, or tasks)
//!   Fleet -> keeper -> System::launch  ------------->  run_worker / InProcess
//!              |         Launch::enrol  <- enrolment ->  Entrant -> ServiceFactory -> Worker
//!              |  lease renewal, certificates               |
//!              +---- Control ----- mTLS, one port --------> Server: control + services
//!   Machine::call ---------------- mTLS, one port --------> Host: the user's methods
//!                    Connector --- mTLS, one port --------> (also between workers)
//! ```
//!
//! Trust: the driver makes an [`Authority`] for the session and enrols each machine over a channel
//! that only the two of them hold. From then on both sides of every connection show a certificate
//! of that authority and verify the other's: chain, dates, session, role and name.
//!
//! Lifetime: no machine outlives the driver. The driver renews each machine's lease. A machine
//! whose lease lapses, or whose channel to the driver ends, removes its files and exits. A machine
//! that ends, or does not answer for the length of a lease, is lost: [`Fleet::losses`] counts it,
//! and another replaces it under another name.
//!
//! Observation: [`Fleet::inspector`] has the logs, metrics, CPU profiles and resource usage of all
//! machines as if they were one process, and serves them as web pages.
//!
//! Tests inject network failures with [`faults`].

mod debug;
mod error;
pub mod faults;
mod fleet;
#[cfg(doctest)]
mod guide;
mod identity;
mod linked;
mod machine;
mod markup;
mod observe;
mod process;
mod requirements;
mod security;
mod service;
mod systems;
mod worker;

#[cfg(feature = "ec2")]
pub use systems::ec2;

pub use debug::DebugServer;
pub use error::{BoxError, Error, Result};
pub use fleet::demand::Demand;
pub use fleet::inspector::{Inspector, MachineReport, Page, PageKind, Profiling};
pub use fleet::registry::Loss;
pub use fleet::sizing::Elastic;
pub use fleet::{Fleet, FleetConfig};
pub use identity::{InvalidIdentity, MachineName, Peer, Role, SessionId};
pub use linked::{Linked, LinkedItems, NotLinked, difference};
pub use machine::address::Address;
pub use machine::info::MachineInfo;
pub use machine::remote::Remote;
pub use machine::system::{Instance, Launch, Launched, System};
pub use machine::{Hold, Machine, State};
pub use observe::line::{LogLine, LogSink, LogSource};
pub use observe::log::MachineLog;
pub use observe::logbook::LoggedLine;
pub use observe::metrics::fleet_stats::FleetStats;
pub use observe::profile::{Grouping, Hertz, Profile};
pub use observe::usage::{Point, Resident, Series, Usage, memory_bytes};
pub use process::folder::SessionFolder;
pub use requirements::{Requirements, Services};
pub use security::authority::{Authority, Validity};
pub use security::connector::Connector;
pub use security::credentials::Credentials;
pub use security::enrolment::Enroler;
pub use service::worker_context::WorkerContext;
pub use service::{
    Blob, Call, CallError, Cause, Failed, Failure, Input, InputError, MESSAGE_SIZE_MAX, Many,
    Method, Never, NoInput, One, Panicked, Refused, Replies, Reply, Service, ServiceContext,
    ServiceError, TimedOut, Transport,
};
pub use systems::entry::{WorkerMain, is_worker, run_worker};
pub use systems::in_process::InProcess;
pub use systems::local::LocalProcesses;
pub use worker::ServiceFactory;
pub use worker::control::Control;

/// The metrics library of [`ServiceContext::metrics`].
pub use prometheus;

/// Makes the async methods of an impl block callable on any machine of a session.
///
/// The value is sent to each machine with serde ([`FleetConfig::services`]). There its `init`, if
/// it has one, adds what is not sent; an error of `init` is an error of starting the fleet. Then
/// `Type::method` names a method for [`Machine::call`] and [`Remote::call`]. In this process
/// `value.method(..)` is an ordinary call (in other modules, of the trait `TypeMethods`).
///
/// ```
/// use bigslice_cluster::{Fleet, FleetConfig, InProcess, Services, ServiceContext, service};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Words {
///     file: String,
///     #[serde(skip)]
///     words: Vec<String>,
/// }
///
/// #[service]
/// impl Words {
///     async fn init(&mut self, context: &ServiceContext) -> Result<(), std::io::Error> {
///         let path = context.scratch().join(&self.file);
///         std::fs::write(&path, "to be or not")?;
///         self.words = std::fs::read_to_string(path)?.split(' ').map(str::to_owned).collect();
///         Ok(())
///     }
///
///     /// How often a word is there.
///     async fn count(&self, word: String) -> usize {
///         self.words.iter().filter(|w| **w == word).count()
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // A program with machines of its own first asks `is_worker()`, and is one if so: `run_worker`.
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let words = Words { file: "hamlet".to_owned(), words: Vec::new() };
/// let config = FleetConfig {
///     machines: 2,
///     services: Services::new().with(&words)?,
///     ..FleetConfig::default()
/// };
/// let fleet = Fleet::start(std::sync::Arc::new(InProcess::default()), config).await?;
/// for machine in fleet.machines() {
///     assert_eq!(machine.call(Words::count, "be".to_owned()).await?, 1);
/// }
/// fleet.shutdown().await;
/// # Ok(()) })
/// # }
/// ```
///
/// Methods are the block's `async fn`s that take `&self`; everything else in it is unchanged.
/// - *Parameters*: first, optionally, `&ServiceContext` (the caller, this machine, and access to
///   other machines); then owned values that implement serde's traits; last, optionally,
///   [`Input<T>`](Input), a stream that the caller passes to [`Machine::call_with_input`].
/// - *Return types*: `T`; `Result<T, E>`; `impl Stream<Item = T>`; `impl Stream<Item = Result<T,
///   E>>`; either stream in a `Result`, of the same `E`. A stream may borrow from `self`.
/// - *Errors* that implement serde's traits are sent unchanged ([`ServiceError`]); [`Failure`]
///   holds any other. The caller gets a [`CallError`], which distinguishes a method's own error, a
///   panic, a lost machine and a refused call.
/// - *Runtime*: methods run on the threads for services, one per core. A long computation should
///   await now and then (`tokio::task::yield_now`): it can be stopped nowhere else.
///
/// Driver and machines must have the same services: they run the same program, and compare their
/// lists of services before a machine is used.
pub use bigslice_cluster_macros::service;

#[doc(hidden)]
pub use service::private as __private;
