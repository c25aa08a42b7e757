//! SQL functions that stand in for DataFusion's where those give wrong rows, and those that our planner
//! needs. Each module names the fault that it mends and has a test that fails when DataFusion has mended
//! it, so that the module can go.
//!
//! Functions are found by their names on every machine, so every process of a session calls
//! [`register`].
//!
//! What is deliberately absent: sessions, machines and the network.

use std::sync::Arc;

use datafusion::execution::SessionStateBuilder;

mod arithmetic;
mod extremes;
mod float_key;
mod percentile;
mod total;
mod window;

pub use arithmetic::{checked, checked_negation};
pub use float_key::{FLOAT_KEY, float_key, has_float_keys};
pub use window::ignoring_nulls;

/// Adds the functions to those of `builder`. One with the name of a function that is there replaces it.
pub fn register(mut builder: SessionStateBuilder) -> SessionStateBuilder {
    let scalars = builder.scalar_functions().get_or_insert_default();
    scalars.extend(arithmetic::functions());
    scalars.push(Arc::new(float_key()));
    let aggregates = builder.aggregate_functions().get_or_insert_default();
    aggregates.extend(total::functions());
    aggregates.extend(extremes::functions());
    aggregates.extend(percentile::functions());
    builder.window_functions().get_or_insert_default().extend(window::functions());
    builder
}
