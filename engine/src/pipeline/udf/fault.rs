//! Errors of user functions: the message has the function's name, its source location and its own
//! error. A panic is caught here and becomes such an error.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bigslice_diagnostics::panic_text;
use datafusion::error::DataFusionError;

use crate::pipeline::udf::Udf;
use crate::row::Mismatch;

/// Why a batch could not be computed.
#[derive(Debug)]
pub enum Fault {
    /// The function returned an error.
    Failed(String),
    /// A column contains a value that the argument type cannot represent.
    Mismatch(Mismatch),
}

impl From<String> for Fault {
    fn from(text: String) -> Self {
        Self::Failed(text)
    }
}

impl From<Mismatch> for Fault {
    fn from(mismatch: Mismatch) -> Self {
        Self::Mismatch(mismatch)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(text) => f.write_str(text),
            Self::Mismatch(mismatch) => mismatch.fmt(f),
        }
    }
}

/// Runs `work`, which calls the function for the rows of a batch.
pub(super) fn guarded<T>(
    udf: &Udf,
    work: impl FnOnce() -> Result<T, Fault>,
) -> Result<T, DataFusionError> {
    let what = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(done)) => return Ok(done),
        Ok(Err(fault)) => fault.to_string(),
        Err(panic) => format!("panicked: {}", panic_text(panic.as_ref())),
    };
    let Udf { name, file, line, .. } = udf;
    // The error kind whose message is passed between machines unchanged.
    Err(DataFusionError::Execution(format!("{name} at {file}:{line}: {what}")))
}
