//! Plans are split, guarded and checked as in the engine, and run on workers inside this process:
//! one tonic server over an in-memory pipe serves all of them.

#![expect(clippy::panic, reason = "what a test relies on fails the test when it is not there")]

mod cluster;
mod data;
mod distribution;
mod faults;
mod refusals;
mod shapes;
mod stages;
mod statements;
mod traps;
