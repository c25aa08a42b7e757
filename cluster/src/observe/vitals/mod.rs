//! What machines use of what they have, over time. A machine says so with each renewal of its lease
//! ([`Usage`]); the driver keeps a [`Series`] of it for each machine, itself included, for as long as
//! the session lives ([`Annals`]).

mod annals;
mod group;
mod host;
mod memory;
mod series;
mod usage;

pub(crate) use annals::{Annals, now_ms};
pub(crate) use host::{disk, load};
pub(crate) use memory::{OomWatch, memory_available};
pub use memory::{Resident, memory_bytes};
pub use series::{POINTS_MAX, Point, Series};
pub use usage::Usage;
