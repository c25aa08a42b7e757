//! Runs the tests that the example `max` has: they show how a pipeline is tested.

#[path = "../examples/max.rs"]
#[expect(dead_code, reason = "the program itself is run by the tests of all examples")]
mod max;
