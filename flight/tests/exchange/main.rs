//! The exchange between real machines: tasks of this process, each with its own port, its own
//! certificate and its own threads for operators, as in [`harness`].

#![expect(clippy::panic, reason = "a test that fails panics, and one function panics on purpose")]

mod answers;
mod faults;
mod harness;
mod host;
mod roles;
mod tasks;
