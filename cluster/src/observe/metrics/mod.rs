//! Metrics of machines. Each machine has a [`Registry`](prometheus::Registry) of its own, with the
//! metrics of this crate ([`Metrics`]) and those of its services ([`ServiceContext::metrics`]). The
//! driver asks all machines and makes one page of the answers ([`page()`]).
//!
//! [`ServiceContext::metrics`]: crate::ServiceContext::metrics

mod counters;
pub(crate) mod fleet_stats;
mod own;
mod page;
mod wire;

pub(crate) use counters::{Metered, Metrics};
pub(crate) use own::{fleet_families, up_family, usage_families};
pub(crate) use page::{Gathered, page};
pub(crate) use wire::Family;
