//! Lost or failed: what an error of work on machines means. Lost work is retried, failed work is
//! not. The only judge: queries ([`attempt`](crate::query)), tasks and reads of stored shards
//! ([`job`](crate::runs::job)) all ask it.
//!
//! ```text
//! error ─► a task said what it is?                  ─► ShardLost, FuncsDiffer
//!            │ no: ask the machines, if a connection broke or the work is a query
//!          a machine of this work was lost?         ─► Lost
//!          a connection broke, all machines answer? ─► Lost; the machine is put on probation
//!            │ no
//!          Failed
//! ```

use bigslice_cluster::Fleet;
use datafusion::error::DataFusionError;

use crate::base::diagnostics;
use crate::base::machines::{describe, suspect};
use crate::base::task_error::TaskError;
use crate::base::wire::StoredAt;
use crate::error::Error;

/// Why work on machines did not succeed.
#[derive(Debug)]
pub(crate) enum TaskFailure {
    /// It would fail again.
    Failed(Error),
    /// A machine or a connection was lost. The text says which.
    Lost(String),
    /// A stored shard could not be read: which, and why.
    ShardLost(StoredAt, String),
    /// The program of the machine has these funcs, not the driver's.
    FuncsDiffer(Vec<String>),
}

/// The work whose error is judged: it decides which losses explain the error.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scope<'a> {
    /// A task, or a call of a function, on the machine with this name.
    Task { machine: &'a str },
    /// Work in the driver, which may read from machines.
    Driver,
    /// A query on all machines, started when the fleet had lost `lost_before` machines. Its error
    /// may say anything when a machine is gone, so the machines are always asked.
    Query { lost_before: u64 },
}

/// Judges `error`, which `scope` got. `text` is the SQL text, for places in it.
pub(crate) async fn judge(
    fleet: Option<&Fleet>,
    scope: Scope<'_>,
    error: DataFusionError,
    text: &str,
) -> TaskFailure {
    match TaskError::of(&error) {
        Some(TaskError::ShardLost { at, reason }) => return TaskFailure::ShardLost(at, reason),
        Some(TaskError::FuncsDiffer { theirs }) => return TaskFailure::FuncsDiffer(theirs),
        Some(TaskError::Failed(_) | TaskError::NotCached { .. }) | None => {}
    }
    if let Some(fleet) = fleet {
        let broken = diagnostics::is_transport(&error);
        if broken || matches!(scope, Scope::Query { .. }) {
            fleet.verify().await;
        }
        let named = bigslice_flight::lost_machine(&error);
        let lost = match scope {
            Scope::Task { machine } => lost_machine(fleet, machine),
            Scope::Driver => named.and_then(|machine| lost_machine(fleet, machine)),
            Scope::Query { lost_before } => lost_since(fleet, lost_before),
        };
        if let Some(why) = lost {
            return TaskFailure::Lost(why);
        }
        if broken {
            let own = match scope {
                Scope::Task { machine } => Some(machine),
                Scope::Driver | Scope::Query { .. } => None,
            };
            if let Some(machine) = named.or(own) {
                suspect(fleet, machine, &diagnostics::describe(&error).0);
            }
            return TaskFailure::Lost(broken_connection(&error));
        }
    }
    TaskFailure::Failed(Error::in_statement(error, text))
}

/// Why `error` is a loss, as far as it says so itself. `None` if it is a failure, or if only the
/// machines know.
pub(crate) fn loss(error: &DataFusionError) -> Option<String> {
    if let Some(TaskError::ShardLost { reason, .. }) = TaskError::of(error) {
        return Some(unreadable(&reason));
    }
    if diagnostics::is_transport(error) {
        return Some(broken_connection(error));
    }
    Some(Error::peek(error)).filter(Error::is_retryable).map(|error| error.to_string())
}

/// The machines lost since the fleet had lost `lost_before`, in words. `None` if there are none.
pub(crate) fn lost_since(fleet: &Fleet, lost_before: u64) -> Option<String> {
    (fleet.lost_total() > lost_before).then(|| describe(&fleet.lost_since(lost_before)))
}

/// The last loss of the machine with this name, in words. `None` if it was not lost.
pub(crate) fn lost_machine(fleet: &Fleet, name: &str) -> Option<String> {
    let loss = fleet.lost().into_iter().rev().find(|loss| loss.machine.as_str() == name)?;
    Some(describe(&[loss]))
}

/// Says that a stored shard could not be read.
pub(crate) fn unreadable(reason: &str) -> String {
    format!("a stored shard could not be read: {reason}")
}

fn broken_connection(error: &DataFusionError) -> String {
    format!("a connection between machines broke: {}", diagnostics::describe(error).0)
}

impl From<TaskFailure> for Error {
    /// The error a user gets when the work is not retried.
    fn from(failure: TaskFailure) -> Self {
        match failure {
            TaskFailure::Failed(error) => error,
            TaskFailure::Lost(message) => Self::lost(message),
            TaskFailure::ShardLost(_, reason) => Self::lost(unreadable(&reason)),
            TaskFailure::FuncsDiffer(_) => {
                Self::internal("the funcs of this program are not those of the machine's")
            }
        }
    }
}
