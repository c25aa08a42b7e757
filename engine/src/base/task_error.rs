//! The error of a task, or of a read of a shard, as it is sent to the driver or the reader. The
//! user sees only [`TaskError::Failed`]; the driver acts on the others
//! ([`recovery`](crate::base::recovery)).

use bigslice_flight::APP_PAYLOAD_BYTES_MAX;
use datafusion::error::DataFusionError;
use serde::{Deserialize, Serialize};

use crate::base::diagnostics;
use crate::base::wire::{self, StoredAt, encode};
use crate::error::Error;

/// Why a task or a read of a shard did not succeed.
#[derive(Debug, Clone, thiserror::Error, Serialize, Deserialize)]
pub(crate) enum TaskError {
    /// It would fail again.
    #[error("{0}")]
    Failed(
        #[source]
        #[serde(with = "wire::error")]
        Error,
    ),
    /// A stored shard cannot be read: its task has to run again.
    #[error("shard {} of stage {} of {:?} cannot be read: {reason}", at.task, at.stage, at.run)]
    ShardLost { at: StoredAt, reason: String },
    /// The machine has not cached what the request refers to: the driver sends it again, with the
    /// run's spec, the stage's inputs, or both.
    #[error("this machine has not cached the plan of a run")]
    NotCached { spec: bool, inputs: bool },
    /// The funcs of the machine's program are not those of the driver's.
    #[error("the funcs of this machine's program are not those of the driver's")]
    FuncsDiffer { theirs: Vec<String> },
}

impl TaskError {
    /// The task error in the chain of `error`, of this machine or another.
    pub(crate) fn of(error: &DataFusionError) -> Option<Self> {
        if let Some(found) = diagnostics::find::<Self>(error) {
            return Some(found.clone());
        }
        match diagnostics::find(error) {
            Some(bigslice_flight::Error::App { payload, .. }) => postcard::from_bytes(payload).ok(),
            _ => None,
        }
    }

    /// Converts an error to a form that keeps its kind when it is sent.
    pub(crate) fn travelling(error: DataFusionError) -> DataFusionError {
        let own = diagnostics::find::<Self>(&error).cloned();
        let found = own.or_else(|| diagnostics::find::<Error>(&error).cloned().map(Self::Failed));
        let Some(found) = found else { return error };
        let text = found.to_string();
        match encode(&found) {
            Ok(payload) if payload.len() <= APP_PAYLOAD_BYTES_MAX => {
                bigslice_flight::Error::App { text, payload }.into()
            }
            _ => DataFusionError::Execution(text),
        }
    }
}

impl From<TaskError> for DataFusionError {
    fn from(error: TaskError) -> Self {
        Self::External(Box::new(error))
    }
}

impl From<TaskError> for Error {
    /// The error that a user sees if the driver has not acted on it.
    fn from(error: TaskError) -> Self {
        match error {
            TaskError::Failed(error) => error,
            TaskError::ShardLost { .. } => Self::lost(error.to_string()),
            TaskError::NotCached { .. } | TaskError::FuncsDiffer { .. } => {
                Self::internal(error.to_string())
            }
        }
    }
}
