//! Calls the user's closures: a panic or an error in one becomes an error that says which verb it
//! was, where it was called, and in which shard; the worker lives.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};

use bigslice_diagnostics::panic_text;
use datafusion::common::Result;
use datafusion::error::DataFusionError;

use crate::error::Error;
use crate::row::Mismatch;

/// A verb's closure in one shard.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UserCode {
    pub(crate) verb: &'static str,
    pub(crate) place: &'static Location<'static>,
    pub(crate) shard: usize,
}

impl UserCode {
    /// Runs `work`, which calls the closure as often as it likes.
    pub(crate) fn call<R>(&self, work: impl FnOnce() -> Result<R>) -> Result<R> {
        match catch_unwind(AssertUnwindSafe(work)) {
            Ok(outcome) => outcome,
            Err(panic) => Err(self.panicked(panic.as_ref())),
        }
    }

    /// The error for a panic of the closure.
    pub(crate) fn panicked(&self, panic: &(dyn Any + Send)) -> DataFusionError {
        self.error(format!("panicked: {}", panic_text(panic)))
    }

    /// The error that the closure returned.
    pub(crate) fn failed(&self, error: impl fmt::Display) -> DataFusionError {
        self.error(error.to_string())
    }

    /// That the rows are not what the closure is for.
    pub(crate) fn mismatch(&self, mismatch: &Mismatch) -> DataFusionError {
        self.error(mismatch.to_string())
    }

    /// An error that another closure was taken for the cause of.
    pub(crate) fn of(&self, error: DataFusionError) -> DataFusionError {
        match error {
            DataFusionError::External(error) => match error.downcast() {
                Ok(error) => match *error {
                    Error::Function { message, .. } => self.error(message),
                    other => other.into(),
                },
                Err(other) => DataFusionError::External(other),
            },
            other => other,
        }
    }

    fn error(&self, message: String) -> DataFusionError {
        let Self { verb, place, shard } = self;
        Error::Function {
            verb: (*verb).to_owned(),
            call_site: place.to_string(),
            shard: *shard,
            message,
            source: None,
        }
        .into()
    }
}
