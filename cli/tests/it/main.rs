//! The integration tests, one program: each would link DataFusion once more.

#![expect(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests fail by panics and print seeds"
)]

mod cells;
mod cleanup;
mod command;
mod embed;
mod harness;
mod inspect;
mod loss;
mod memory;
mod panics;
mod pipes;
mod process;
mod prompt;
mod s3;
mod slt;
mod tpch;
