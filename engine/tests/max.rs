//! Runs the tests that the example `max` has: they show how a pipeline is tested.

#[path = "../examples/max.rs"]
mod max;
