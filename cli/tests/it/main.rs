//! The integration tests, in one program: each more would link DataFusion once more.

#![expect(clippy::panic, clippy::unwrap_used, reason = "tests fail by panics")]

mod cleanup;
mod command;
mod embed;
mod inspect;
mod memory;
mod pipes;
mod prompt;

use std::path::{Path, PathBuf};

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_bigsql");

/// The folder of the test data.
pub(crate) fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").join("testdata")
}
