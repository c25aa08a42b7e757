//! Why a task, or a read of a shard, did not end well, as it travels to whoever asked. A user sees none
//! of it but [`Refusal::Failed`]: the others say what the driver has to do.

use bigslice_flight::APP_PAYLOAD_BYTES_MAX;
use datafusion::error::DataFusionError;
use serde::{Deserialize, Serialize};

use crate::base::diagnostics;
use crate::base::wire::{StoredAt, encode};
use crate::error::Error;

/// What became of what was asked.
#[derive(Debug, Clone, thiserror::Error, Serialize, Deserialize)]
pub(crate) enum Refusal {
    /// It would fail again.
    #[error(transparent)]
    Failed(Error),
    /// A shard that a task had stored cannot be read: it is to be computed again.
    #[error("shard {} of stage {} of {:?} cannot be read: {reason}", at.task, at.stage, at.run)]
    ShardLost { at: StoredAt, reason: String },
    /// The machine does not know, or not any more, what the request refers to: it is to be sent
    /// along.
    #[error("this machine was not told about a run")]
    NotTold { brief: bool, inputs: bool },
    /// The funcs of the machine's program are not those of the driver's.
    #[error("this machine's program has other funcs")]
    FuncsDiffer { theirs: Vec<String> },
}

impl Refusal {
    /// The refusal that an error is, on this machine or on another.
    pub(crate) fn of(error: &DataFusionError) -> Option<Self> {
        if let Some(refusal) = diagnostics::find::<Self>(error) {
            return Some(refusal.clone());
        }
        match diagnostics::find(error) {
            Some(bigslice_flight::Error::App { payload, .. }) => postcard::from_bytes(payload).ok(),
            _ => None,
        }
    }

    /// An error in the form that keeps its kind on the way.
    pub(crate) fn travelling(error: DataFusionError) -> DataFusionError {
        let own = diagnostics::find::<Self>(&error).cloned();
        let refusal = own.or_else(|| diagnostics::find::<Error>(&error).cloned().map(Self::Failed));
        let Some(refusal) = refusal else { return error };
        let text = refusal.to_string();
        match encode(&refusal) {
            Ok(payload) if payload.len() <= APP_PAYLOAD_BYTES_MAX => {
                bigslice_flight::Error::App { text, payload }.into()
            }
            _ => DataFusionError::Execution(text),
        }
    }
}

impl From<Refusal> for DataFusionError {
    fn from(refusal: Refusal) -> Self {
        Self::External(Box::new(refusal))
    }
}

impl From<Refusal> for Error {
    /// What a user reads when nobody has acted on it.
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Failed(error) => error,
            Refusal::ShardLost { .. } => Self::Lost { message: refusal.to_string(), hint: None },
            Refusal::NotTold { .. } | Refusal::FuncsDiffer { .. } => {
                Self::internal(refusal.to_string())
            }
        }
    }
}
