//! Sends one task, or one call of a function, to where it runs: this process or a machine.

use std::sync::{Arc, Weak};

use bigslice_flight::{Channels, TaskHost};
use bytes::Bytes;
use datafusion::error::DataFusionError;
use url::Url;

use crate::base::recovery::{self, Scope, TaskFailure};
use crate::base::task_error::TaskError;
use crate::base::wire::{decode, encode};
use crate::error::Error;
use crate::runs::job::TaskRunner;
use crate::runs::job::slots::Target;
use crate::runs::task::{HostService, Request, TaskReply, TaskRequest};

/// Most times that one task is sent again with what its machine has not cached: once, and more
/// often when the tasks of many other runs evict it meanwhile.
const RESENDS_MAX: usize = 4;

/// Runs one task. Does not hold the session meanwhile: a session that is dropped closes at once,
/// and its tasks end after it.
pub(super) async fn run(
    session: &Weak<TaskRunner>,
    target: &Target,
    request: TaskRequest,
) -> Result<TaskReply, TaskFailure> {
    let held = || session.upgrade().ok_or(TaskFailure::Failed(Error::Closed));
    let outcome = match target {
        Target::Driver => {
            let host = Arc::clone(&held()?.host);
            host.task(request).await
        }
        Target::Machine(_, url) => {
            let channels = held()?.channels.clone();
            on_machine(channels, url, request).await
        }
    };
    match outcome {
        Ok(reply) => Ok(reply),
        Err(error) => Err(judge(&*held()?, target, error).await),
    }
}

/// Sends a task without what its machine may have cached, and again with what it has not.
async fn on_machine(
    channels: Option<Channels>,
    url: &Url,
    mut request: TaskRequest,
) -> Result<TaskReply, DataFusionError> {
    let channels = channels.ok_or_else(no_fleet)?;
    let all = (request.spec.take(), request.inputs.take());
    let mut resends = 0;
    loop {
        let message = Request::Task(Box::new(request.clone()));
        let error = match channels.run_task(url, encode(&message)?).await {
            Ok(reply) => return Ok(decode(&reply)?),
            Err(error) => error,
        };
        match TaskError::of(&error) {
            Some(TaskError::NotCached { spec, inputs }) if resends < RESENDS_MAX => {
                resends += 1;
                request.spec = all.0.clone().filter(|_| spec);
                request.inputs = all.1.clone().filter(|_| inputs);
            }
            _ => return Err(error),
        }
    }
}

/// Calls a function for one item; `request` names both. An error of the function is in the reply:
/// an error here is one of the machine.
pub(super) async fn call(
    session: &Weak<TaskRunner>,
    target: &Target,
    request: Bytes,
) -> Result<Bytes, TaskFailure> {
    let held = || session.upgrade().ok_or(TaskFailure::Failed(Error::Closed));
    let outcome = match target {
        Target::Driver => HostService(Arc::clone(&held()?.host)).run(request).await,
        Target::Machine(_, url) => match held()?.channels.clone() {
            Some(channels) => channels.run_task(url, request).await,
            None => Err(no_fleet().into()),
        },
    };
    match outcome {
        Ok(reply) => Ok(reply),
        Err(error) => Err(judge(&*held()?, target, error).await),
    }
}

fn no_fleet() -> Error {
    Error::internal("a machine without a fleet")
}

async fn judge(session: &TaskRunner, target: &Target, error: DataFusionError) -> TaskFailure {
    let scope = match target {
        Target::Driver => Scope::Driver,
        Target::Machine(machine, _) => Scope::Task { machine },
    };
    recovery::judge(session.fleet.as_ref(), scope, error, "").await
}
