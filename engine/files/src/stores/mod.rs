//! Object stores: opened when first needed, with the settings and credentials of each, and errors
//! that say what is wrong.

mod answer;
mod bucket;
mod client;
mod credentials;
mod lenient;
mod opening;
mod registry;
pub(crate) mod settings;
mod web;

pub use registry::Stores;
pub use settings::WorkerStores;
