//! The error type of this crate. The engine shows it to the user or uses it to decide to plan
//! again.

use datafusion::error::DataFusionError;

/// The result type of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a statement or a plan was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The statement exceeds a limit that protects the planner's stack and running time.
    #[error("the statement is too large to plan: it has {found} {what}, the limit is {limit}")]
    TooLarge {
        /// What was counted, in the plural.
        what: &'static str,
        /// The number found; counting stops soon after the limit.
        found: usize,
        /// The limit.
        limit: usize,
        /// The setting that raises the limit, without its prefix `bigslice.`.
        setting: &'static str,
    },

    /// The result of a distributed plan could depend on how it is split into tasks.
    #[error("the plan cannot be distributed: in stage {stage}, \"{operator}\" {reason}")]
    Unsafe {
        /// The number of the stage; 0 is the driver's.
        stage: usize,
        /// The operator as EXPLAIN prints it, shortened.
        operator: String,
        /// What the operator would get wrong; completes the sentence of the message.
        reason: String,
    },

    /// The statement has no meaning, or contains a clause that would be ignored.
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
    /// An error for a statement with `clause`, which no statement supports.
    pub(crate) fn unsupported(clause: impl AsRef<str>) -> Self {
        Self::Statement { message: format!("{} is not supported", clause.as_ref()), hint: None }
    }

    /// An error for an invalid statement.
    pub(crate) fn statement(message: impl Into<String>) -> Self {
        Self::Statement { message: message.into(), hint: None }
    }

    /// The same error with a hint: what to write instead.
    pub(crate) fn with_hint(self, text: impl Into<String>) -> Self {
        match self {
            Self::Statement { message, .. } => Self::Statement { message, hint: Some(text.into()) },
            other => other,
        }
    }

    /// What the user can do about the error, if known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Statement { hint, .. } => hint.clone(),
            Self::TooLarge { found, setting, .. } => Some(format!(
                "SET bigslice.{setting} = {} to allow it, at a cost in time and memory",
                found.next_power_of_two()
            )),
            _ => None,
        }
    }

    /// True if planning again with one task per stage can help.
    pub fn is_unsafe_distribution(&self) -> bool {
        matches!(self, Self::Unsafe { .. })
    }
}
