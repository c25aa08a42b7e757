//! SQL functions that stand in for DataFusion's where those give wrong rows, and those that our planner
//! needs. Each module names the fault that it mends and has a test that fails when DataFusion has mended
//! it, so that the module can go.
//!
//! Functions are found by their names on every machine, so every process of a session calls
//! [`register`].
//!
//! What is deliberately absent: sessions, machines and the network.

mod like_pattern;

use datafusion::execution::SessionStateBuilder;
use datafusion::logical_expr::ScalarUDF;

/// Adds the functions to those of `builder`. One with the name of a function that is there replaces it.
pub fn register(mut builder: SessionStateBuilder) -> SessionStateBuilder {
    let scalar = builder.scalar_functions().get_or_insert_default();
    scalar.push(ScalarUDF::from(like_pattern::LikePattern::new()).into());
    builder
}
