//! The program bigsql: driver and worker in one. The library does the rest.

use std::process::ExitCode;

/// Queries allocate from many threads at once, where the system's allocator is slow.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    bigsql::main()
}
