//! The program bigsql: driver and worker in one. All else is in the library.

use std::process::ExitCode;

/// Queries allocate from many threads at once, which the system's allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    bigsql::main()
}
