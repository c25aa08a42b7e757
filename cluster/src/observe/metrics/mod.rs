//! What machines count. Each has a [`Registry`](prometheus::Registry) of its own, with what this crate
//! counts ([`Tally`]) and whatever its services add ([`ServiceContext::metrics`]); the driver asks all
//! machines and makes one page of it ([`page()`]).
//!
//! [`ServiceContext::metrics`]: crate::ServiceContext::metrics

pub(crate) mod census;
mod own;
mod page;
mod tally;
mod wire;

pub(crate) use own::{fleet_families, up_family, usage_families};
pub(crate) use page::{Gathered, page};
pub(crate) use tally::{Metered, Tally};
pub(crate) use wire::Family;
