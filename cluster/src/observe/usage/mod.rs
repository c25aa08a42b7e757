//! The resource usage of machines over time. A machine reports it with each renewal of its lease
//! ([`Usage`]). The driver keeps a [`Series`] for each machine and for itself, as long as the
//! session lives ([`UsageHistory`]).

mod group;
mod history;
mod host;
mod memory;
mod sample;
mod series;

pub(crate) use history::{UsageHistory, now_ms};
pub(crate) use host::{disk, load};
pub(crate) use memory::{OomWatch, memory_available};
pub use memory::{Resident, memory_bytes};
pub use sample::Usage;
pub use series::{Point, Series};
