//! Why a task or a read of a shard failed, as it travels to the driver or to another worker. A user
//! sees [`Refusal::Failed`] only: the others tell the driver what to do.

use bigslice_flight::APP_PAYLOAD_BYTES_MAX;
use datafusion::error::DataFusionError;
use serde::{Deserialize, Serialize};

use crate::base::diagnostics;
use crate::base::wire::{self, StoredAt, encode};
use crate::error::Error;

/// Why a request was refused.
#[derive(Debug, Clone, thiserror::Error, Serialize, Deserialize)]
pub(crate) enum Refusal {
    /// It failed, and would fail again.
    #[error("{0}")]
    Failed(
        #[source]
        #[serde(with = "wire::error")]
        Error,
    ),
    /// A stored shard cannot be read and must be computed again.
    #[error("shard {} of stage {} of {:?} cannot be read: {reason}", at.task, at.stage, at.run)]
    ShardLost { at: StoredAt, reason: String },
    /// The machine does not know what the request refers to, or has forgotten it: the driver must
    /// send it again.
    #[error("this machine was not told about a run")]
    NotTold { brief: bool, inputs: bool },
    /// The funcs of the machine's program differ from those of the driver's.
    #[error("this machine's program has other funcs")]
    FuncsDiffer { theirs: Vec<String> },
}

impl Refusal {
    /// The refusal in an error of this machine or of another.
    pub(crate) fn of(error: &DataFusionError) -> Option<Self> {
        if let Some(refusal) = diagnostics::find::<Self>(error) {
            return Some(refusal.clone());
        }
        match diagnostics::find(error) {
            Some(bigslice_flight::Error::App { payload, .. }) => postcard::from_bytes(payload).ok(),
            _ => None,
        }
    }

    /// The error in a form that keeps its kind on the way.
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
    /// What a user reads if the driver did not act on it.
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Failed(error) => error,
            Refusal::ShardLost { .. } => Self::lost(refusal.to_string()),
            Refusal::NotTold { .. } | Refusal::FuncsDiffer { .. } => {
                Self::internal(refusal.to_string())
            }
        }
    }
}
