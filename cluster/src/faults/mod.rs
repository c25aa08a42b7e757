//! Faults between the machines of this process, for tests: of this crate, of what is built on it, and
//! of its users. [`Faults`], given to [`InProcess::with_faults`](crate::InProcess::with_faults), can
//!
//! - **kill** a machine, or pause it: it stands still, its connections stay open and say nothing;
//! - **cut** connections, between two machines, one and all others, or one way only: nothing
//!   arrives and nothing breaks, as in a network partition;
//! - make them slow: a **delay**, jitter, few bytes per second;
//! - do **harm** to bytes: reset a connection, truncate it, lose bytes, deliver them twice, flip a
//!   bit; at a given place, or every so many bytes on average.
//!
//! ```text
//!   driver or machine                                           machine
//!     HTTP/2 | TLS | --pipe-- relay (take, wait, harm, give) --TCP-- | TLS | HTTP/2
//! ```
//!
//! All of it happens **below TLS**, where a network does it. So what is tested is the product as it
//! is: bytes that are lost, doubled, flipped or cut short never reach a service; TLS notices, the
//! connection breaks, and what a caller sees is a transport error. A harm to the bytes that come
//! back is thus also the way to lose a reply whose request took effect.
//!
//! What happens is drawn from the seed: for each direction of the nth connection from one machine
//! to another, where the harms lie in its bytes is a function of the seed, the two names and n, however
//! the bytes were cut into packets. [`Faults::fired`] counts what happened, so that a test can see
//! that its fault did; [`Faults::events`] says where.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use bigslice_cluster::faults::{Faults, Harm, Links, Weather, When};
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
//! let flip = Weather::fair().harm(Harm::Flip, When::After(100));
//! faults.set(Links::Of(machine.name().clone()), flip);
//! assert!(fleet.info(&machine).await.is_err());
//! faults.clear();
//! assert!(fleet.info(&machine).await.is_ok());
//! assert!(faults.fired().flips >= 1);
//!
//! // A machine that nobody can reach is lost, and replaced.
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

mod board;
mod course;
mod relay;
mod weather;

pub(crate) use relay::Relayed;

pub use board::{Event, Faults, Fired};
pub use weather::{Harm, Links, Weather, When};
