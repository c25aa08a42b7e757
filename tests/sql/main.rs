//! SQL through a user's session: every case of `testdata/sql`, TPC-H, tables on S3, and machines
//! lost in the middle of a query; in this process, on machines within it, and on processes.

#![expect(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests fail by panics and print seeds"
)]

mod cells;
mod harness;
mod loss;
mod panics;
mod s3;
mod slt;
mod tpch;
