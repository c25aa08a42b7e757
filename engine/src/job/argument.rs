//! Runs as arguments of funcs. A run travels as its number and its number of shards, and only with a call
//! of a func, which holds the result for as long as it may be read: anywhere else the number would outlive
//! what it stands for, so that encoding and decoding are errors there.

use std::cell::RefCell;
use std::sync::Arc;

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::job::result::Job;
use crate::task::RunId;

/// What this thread does with the arguments of a func.
enum Doing {
    Nothing,
    /// Encodes them; so far it has met these runs.
    Encoding(Vec<Arc<Job>>),
    Decoding,
}

thread_local! {
    static DOING: RefCell<Doing> = const { RefCell::new(Doing::Nothing) };
}

/// Puts back what the thread did before, also when what it does panics.
struct Restore(Option<Doing>);

impl Restore {
    fn after(doing: Doing) -> Self {
        Self(Some(DOING.replace(doing)))
    }
}

impl Drop for Restore {
    fn drop(&mut self) {
        if let Some(before) = self.0.take() {
            DOING.set(before);
        }
    }
}

/// Runs `encode`; also gives the runs that it has encoded.
pub(crate) fn holding<R>(encode: impl FnOnce() -> R) -> (R, Vec<Arc<Job>>) {
    let restore = Restore::after(Doing::Encoding(Vec::new()));
    let encoded = encode();
    let held = match DOING.replace(Doing::Nothing) {
        Doing::Encoding(held) => held,
        Doing::Nothing | Doing::Decoding => Vec::new(),
    };
    drop(restore);
    (encoded, held)
}

/// Runs `decode`, which may meet runs.
pub(crate) fn receiving<R>(decode: impl FnOnce() -> R) -> R {
    let _restore = Restore::after(Doing::Decoding);
    decode()
}

/// A run as it travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Named {
    pub(super) id: RunId,
    pub(super) shards: u64,
}

impl Named {
    /// Encodes this; the call that is being made holds `job`.
    pub(super) fn encode<S: Serializer>(
        self,
        job: Option<&Arc<Job>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let holds = DOING.with_borrow_mut(|doing| {
            let Doing::Encoding(held) = doing else { return false };
            held.extend(job.map(Arc::clone));
            true
        });
        if !holds {
            return Err(S::Error::custom(
                "a run can be encoded only as an argument of a func: its result lies on the machines \
                 of its session; collect its rows, or write them to files",
            ));
        }
        self.serialize(serializer)
    }

    /// Decodes an argument of a func.
    pub(super) fn decode<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !DOING.with_borrow(|doing| matches!(doing, Doing::Decoding)) {
            return Err(D::Error::custom(
                "a run can be decoded only as an argument of a func, by the machine that runs it",
            ));
        }
        Self::deserialize(deserializer)
    }
}
