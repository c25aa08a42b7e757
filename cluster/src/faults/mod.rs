//! Faults between the machines of this process, for tests: of this crate, of the crates above, and
//! of their users. [`Faults`], passed to [`InProcess::with_faults`](crate::InProcess::with_faults),
//! can
//!
//! - **kill** a machine, or pause it: it stops, and its connections stay open and silent;
//! - **cut** connections between two machines, between one and all others, or one way only: nothing
//!   arrives and nothing breaks, as in a network partition;
//! - slow them down: a **delay**, jitter, few bytes per second;
//! - inject a **fault** into bytes: reset a connection, truncate it, lose bytes, deliver them
//!   twice, flip a bit; at a given position, or at random positions with a given average distance.
//!
//! ```text
//!   driver or machine                                           machine
//!     HTTP/2 | TLS | --pipe-- relay (take, wait, fault, give) --TCP-- | TLS | HTTP/2
//! ```
//!
//! All faults occur **below TLS**, as on a real network. So the product is tested unchanged: bytes
//! that are lost, repeated, flipped or cut off never reach a service. TLS notices, the connection
//! breaks, and the caller gets a transport error. A fault in the bytes of a reply thus also loses
//! the reply of a request that took effect.
//!
//! The faults are drawn from the seed: for each direction of the nth connection from one machine to
//! another, the positions are a function of the seed, the two names and n, however the bytes were
//! cut into packets. [`Faults::fired`] counts the faults, so that a test can check that its fault
//! occurred. [`Faults::events`] lists them.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use bigslice_cluster::faults::{Faults, Fault, Links, FaultSchedule, When};
//! use bigslice_cluster::{Fleet, FleetConfig, InProcess};
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let faults = Faults::new(7);
//! let services = Arc::new(|_| Box::pin(async { Ok(tonic::service::Routes::default()) }) as _);
//! let system = InProcess::new(services).with_faults(faults.clone());
//! let fleet = Fleet::start(
//!     Arc::new(system),
//!     FleetConfig { machines: 2, ..FleetConfig::default() },
//! )
//! .await?;
//! let machine = fleet.machines().remove(0);
//!
//! // One flipped bit breaks a call, and nothing else.
//! let flip = FaultSchedule::none().fault(Fault::Flip, When::After(100));
//! faults.set(Links::Of(machine.name().clone()), flip);
//! assert!(fleet.info(&machine).await.is_err());
//! faults.clear();
//! assert!(fleet.info(&machine).await.is_ok());
//! assert!(faults.fired().flips >= 1);
//!
//! // An unreachable machine counts as lost and is replaced.
//! faults.cut(Links::Of(machine.name().clone()));
//! let lost = fleet.verify().await;
//! assert_eq!(lost[0].machine, *machine.name());
//! assert!(faults.fired().held >= 1);
//! fleet.wait_for(2, Duration::from_secs(60)).await?;
//! fleet.shutdown().await;
//! # Ok::<(), bigslice_cluster::Error>(())
//! # })?;
//! # Ok::<(), bigslice_cluster::Error>(())
//! ```

mod controller;
mod relay;
mod schedule;
mod timeline;

pub(crate) use relay::Relayed;

pub use controller::{Event, Faults, Fired};
pub use schedule::{Fault, FaultSchedule, Links, When};
