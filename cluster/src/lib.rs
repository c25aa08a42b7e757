//! Machines as a library: started by the program itself, as tasks of this process, processes of this
//! host, and later instances of a cloud; mutually authenticated; gone when the program is. This crate
//! knows nothing of rows, Arrow or SQL: a machine serves whatever gRPC services its
//! [`ServiceFactory`] makes.
//!
//! A driver's side begins at [`Fleet::start`], or at [`Fleet::elastic`] if machines are to come and go
//! with the work; a worker's at [`run_worker`]:
//!
//! ```text
//!            driver                                        worker (a process, or tasks)
//!   Fleet -> keeper -> System::launch  ------------->  run_worker / InProcess
//!              |         Launch::enrol  <- enrolment ->  Entrant -> ServiceFactory -> Worker
//!              |  lease renewal, certificates               |
//!              +---- Control ----- mTLS, one port --------> Server: control + services
//!                    Connector --- mTLS, one port --------> (also between workers)
//! ```
//!
//! Who trusts whom: the driver makes an [`Authority`] for the session and enrols each machine over a
//! channel that only the two of them hold. From then on everybody shows a certificate of that
//! authority and looks at the other's: chain, dates, session, role and name.
//!
//! Who outlives whom: nobody outlives the driver. It renews each machine's lease; a machine whose
//! lease lapses, or whose channel to the driver ends, removes its files and exits. A machine that
//! ends, or does not answer for as long as a lease, is lost: [`Fleet::losses`] counts it and another
//! takes its place, under another name.
//!
//! What all that is worth when the network fails, tests find out with [`faults`].

mod authority;
mod codec;
mod connector;
mod control;
mod credentials;
mod demand;
mod enrolment;
mod entry;
mod error;
pub mod faults;
mod fleet;
mod folder;
mod identity;
mod in_process;
mod janitor;
mod keeper;
mod lease;
mod local;
mod log;
mod machine;
mod pace;
mod roster;
mod server;
mod sizing;
mod standing;
mod system;
mod tls;
mod wire;
mod worker;

pub use authority::{Authority, Validity};
pub use connector::Connector;
pub use control::{Control, MachineInfo};
pub use credentials::{Application, Credentials};
pub use demand::Demand;
pub use enrolment::{Enroler, Enrolled};
pub use entry::{WorkerMain, is_worker, run_worker};
pub use error::{BoxError, Error, Result};
pub use fleet::{Fleet, FleetConfig};
pub use folder::SessionFolder;
pub use identity::{MachineName, Peer, Role, SessionId};
pub use in_process::InProcess;
pub use local::LocalProcesses;
pub use log::{LogLine, LogSink, LogSource, MachineLog};
pub use machine::{Hold, Machine, State};
pub use roster::{Census, Loss};
pub use sizing::Elastic;
pub use system::{Instance, Launch, Launched, System};
pub use worker::{ServiceFactory, WorkerContext};
