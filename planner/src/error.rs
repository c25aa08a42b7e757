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
        /// The setting that allows more, behind `bigslice.`.
        setting: &'static str,
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

    /// The statement says what has no meaning, or what would be passed over.
    #[error("{message}")]
    Statement {
        /// What is wrong.
        message: String,
        /// What to write instead.
        hint: Option<String>,
    },

    /// DataFusion could not rebuild a plan around a guard.
    #[error(transparent)]
    DataFusion(#[from] DataFusionError),
}

impl Error {
    /// A statement that has `clause`, which has no effect in any statement of ours.
    pub(crate) fn unsupported(clause: impl AsRef<str>) -> Self {
        Self::Statement { message: format!("{} is not supported", clause.as_ref()), hint: None }
    }

    /// A statement that is wrong.
    pub(crate) fn statement(message: impl Into<String>) -> Self {
        Self::Statement { message: message.into(), hint: None }
    }

    /// The same error with what to write instead.
    pub(crate) fn with_hint(self, text: impl Into<String>) -> Self {
        match self {
            Self::Statement { message, .. } => Self::Statement { message, hint: Some(text.into()) },
            other => other,
        }
    }

    /// What to do about it, if the error says.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Statement { hint, .. } => hint.clone(),
            Self::TooLarge { found, setting, .. } => Some(format!(
                "SET bigslice.{setting} = {} allows it, at the price of time and memory",
                found.next_power_of_two()
            )),
            _ => None,
        }
    }

    /// Whether planning again with one task per stage can help.
    pub fn is_unsafe_cut(&self) -> bool {
        matches!(self, Self::Unsafe { .. })
    }
}
