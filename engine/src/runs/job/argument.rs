//! Runs as arguments of funcs. A run is encoded as its number and its number of shards, and only as
//! an argument of a func call, which holds the result while it may be read. Anywhere else the
//! number would outlive the result, so encoding and decoding are errors there.

use std::sync::Arc;

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::base::wire::RunId;
use crate::pipeline::func::{Held, hold, is_receiving};
use crate::runs::job::job::Job;

/// A reference to a run, as it is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RunRef {
    pub(super) id: RunId,
    pub(super) shards: u64,
}

impl RunRef {
    /// Encodes this as an argument; the call holds `job`.
    pub(super) fn encode<S: Serializer>(
        self,
        job: Option<&Arc<Job>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        if !hold(job.map(|job| Arc::clone(job) as Held)) {
            return Err(S::Error::custom(
                "a run can be encoded only as an argument of a func: its result is stored on the \
                 machines of its session; collect its rows, or write them to files",
            ));
        }
        self.serialize(serializer)
    }

    /// Decodes an argument of a func.
    pub(super) fn decode<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !is_receiving() {
            return Err(D::Error::custom(
                "a run can be decoded only as an argument of a func, on the machine that runs it",
            ));
        }
        Self::deserialize(deserializer)
    }
}
