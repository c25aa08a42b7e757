//! The one error type of this crate. The engine shows it to the user or plans again with it.

use datafusion::error::DataFusionError;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a statement or a plan was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The statement exceeds a limit that keeps the planner from running out of stack or time.
    #[error("the statement is too large to plan: it has {found} {what}, the limit is {limit}")]
    TooLarge {
        /// What was counted, in the plural.
        what: &'static str,
        /// How many were found; counting stops soon after the limit.
        found: usize,
        /// How many are allowed.
        limit: usize,
    },

    /// The answer of a distributed plan could depend on how it was cut.
    #[error("the plan cannot be spread over machines: in stage {stage}, \"{operator}\" {reason}")]
    Unsafe {
        /// The stage's number; 0 is the stage of the driver.
        stage: usize,
        /// The operator, as EXPLAIN prints it, shortened.
        operator: String,
        /// What the operator would get wrong, as the rest of a sentence.
        reason: String,
    },

    /// DataFusion could not rebuild a plan around a guard.
    #[error(transparent)]
    DataFusion(#[from] DataFusionError),
}

impl Error {
    /// Whether planning again with one task per stage can help.
    pub fn is_unsafe_cut(&self) -> bool {
        matches!(self, Self::Unsafe { .. })
    }
}
