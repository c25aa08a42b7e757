//! A [`Udf`]: a user function as `#[udf]` describes it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use bigslice_diagnostics::panic_text;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{self as theirs, AggregateUDF};

use crate::pipeline::udf::fault::Fault;

/// A function as it registers itself.
#[derive(Debug, Clone, Copy)]
pub struct Udf {
    /// How SQL calls it.
    pub name: &'static str,
    /// The file it is in.
    pub file: &'static str,
    /// The line it begins at.
    pub line: u32,
    /// What it gives for equal arguments.
    pub volatility: Volatility,
    /// What it computes.
    pub kind: Kind,
}

/// What a function computes.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A value for each row.
    Scalar(ScalarParts),
    /// A value for each group of rows.
    Aggregate(AggregateParts),
}

/// When a function gives the same value for the same arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Volatility {
    /// Always: a call with constants is made once, while the query is planned.
    Immutable,
    /// Within one query.
    Stable,
    /// Never: it is called for each row.
    Volatile,
}

impl From<Volatility> for theirs::Volatility {
    fn from(volatility: Volatility) -> Self {
        match volatility {
            Volatility::Immutable => Self::Immutable,
            Volatility::Stable => Self::Stable,
            Volatility::Volatile => Self::Volatile,
        }
    }
}

/// The parts of a scalar function that `#[udf]` provides.
#[derive(Debug, Clone, Copy)]
pub struct ScalarParts {
    /// The types of its arguments.
    pub arguments: fn() -> Vec<DataType>,
    /// The type of its result.
    pub returns: fn() -> DataType,
    /// Calls it for the given number of rows.
    pub evaluate: fn(&[ArrayRef], usize) -> Result<ArrayRef, Fault>,
}

/// The parts of an aggregate function that `#[udf(aggregate)]` provides.
#[derive(Debug, Clone, Copy)]
pub struct AggregateParts {
    pub(super) function: fn(&'static Udf) -> AggregateUDF,
}

impl Udf {
    /// Two with one name and place are the same function.
    pub(super) fn is(&self, other: &Self) -> bool {
        (self.name, self.file, self.line) == (other.name, other.file, other.line)
    }

    /// Runs `work`, which calls the function for the rows of a batch. The message of an error has
    /// the function's name, its source location and its own error; so has that of a panic.
    pub(super) fn guarded<T>(
        &self,
        work: impl FnOnce() -> Result<T, Fault>,
    ) -> Result<T, DataFusionError> {
        let what = match catch_unwind(AssertUnwindSafe(work)) {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(fault)) => fault.to_string(),
            Err(panic) => format!("panicked: {}", panic_text(panic.as_ref())),
        };
        let Self { name, file, line, .. } = self;
        // The error kind whose message is passed between machines unchanged.
        Err(DataFusionError::Execution(format!("{name} at {file}:{line}: {what}")))
    }
}
