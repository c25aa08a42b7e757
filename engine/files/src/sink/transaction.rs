//! The files of one statement: all of them exist at its end, or none does.

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use futures::StreamExt;
use object_store::ObjectStoreExt;

use super::stage::{Closed, Stage, Staged, remove_folders};
use super::staged::StagedStores;
use super::target;
use crate::cleanup::Cleanup;

/// How many files are completed at once.
const COMPLETED_AT_ONCE: usize = 8;

/// The files that one attempt at a statement writes.
#[derive(Debug)]
pub struct Transaction {
    stage: Arc<Stage>,
}

impl Transaction {
    /// Checks where `plan` writes, and begins. One for each attempt: what a failed attempt has
    /// written goes with its transaction.
    pub async fn begin(
        plan: LogicalPlan,
        session: &SessionState,
        cleanup: Cleanup,
    ) -> Result<(Self, LogicalPlan)> {
        let plan = target::check(plan, session).await?;
        Ok((Self { stage: Arc::new(Stage::new(cleanup)) }, plan))
    }

    /// The session to plan and run the statement with.
    pub fn session(&self, session: &SessionState) -> SessionState {
        let runtime = self.runtime(session.runtime_env());
        SessionStateBuilder::new_from_existing(session.clone()).with_runtime_env(runtime).build()
    }

    fn runtime(&self, runtime: &RuntimeEnv) -> Arc<RuntimeEnv> {
        let inner = Arc::clone(&runtime.object_store_registry);
        let stores = StagedStores::new(inner, Arc::clone(&self.stage));
        Arc::new(RuntimeEnv { object_store_registry: Arc::new(stores), ..runtime.clone() })
    }

    /// Makes all files exist, after the plan has succeeded. When one of them cannot, those that
    /// came to exist before it are removed again, except where they replaced a file.
    pub async fn commit(self) -> Result<()> {
        let Closed { files, abandoned, folders, failure } = self.stage.close();
        if let Some(failure) = failure {
            let rest = Closed { files, abandoned, folders, failure: None };
            discard(rest).await;
            return Err(failure.into_error().into());
        }
        let failure = complete(files).await;
        discard_uploads(abandoned).await;
        match failure {
            None => {
                self.stage.keep_folders();
                Ok(())
            }
            Some(error) => {
                remove_folders(folders);
                Err(error.into())
            }
        }
    }

    /// Takes everything back, and waits for it.
    pub async fn rollback(self) {
        discard(self.stage.close()).await;
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        let closed = self.stage.close();
        if closed.files.is_empty() && closed.abandoned.is_empty() && closed.folders.is_empty() {
            return;
        }
        self.stage.afterwards(discard(closed));
    }
}

/// Completes files. When one cannot be, those that were completed before it are removed again,
/// except where they replaced one, and the others are discarded.
pub(super) async fn complete(files: Vec<Staged>) -> Option<object_store::Error> {
    let alone = files.len() == 1;
    let mut outcomes = futures::stream::iter(files)
        .map(|mut file| async move {
            let replaces = alone || file.is_there().await;
            let done = file.complete().await;
            (file, replaces, done)
        })
        .buffer_unordered(COMPLETED_AT_ONCE);
    let mut completed = Vec::new();
    let mut failure = None;
    while let Some((file, replaces, done)) = outcomes.next().await {
        match done {
            Ok(()) => completed.push((file, replaces)),
            Err(error) => {
                discard_file(file).await;
                failure = failure.or(Some(error));
            }
        }
    }
    drop(outcomes);
    if failure.is_some() {
        for (file, replaces) in completed {
            if !replaces && let Err(error) = file.store.delete(&file.path).await {
                tracing::warn!("\"{}\" could not be removed again: {error}", file.path);
            }
        }
    }
    failure
}

async fn discard(closed: Closed) {
    for file in closed.files {
        discard_file(file).await;
    }
    discard_uploads(closed.abandoned).await;
    remove_folders(closed.folders);
}

pub(super) async fn discard_file(file: Staged) {
    let path = file.path.clone();
    if let Err(error) = file.discard().await {
        tracing::debug!("\"{path}\" could not be taken back: {error}");
    }
}

async fn discard_uploads(uploads: Vec<Box<dyn object_store::MultipartUpload>>) {
    for mut upload in uploads {
        if let Err(error) = upload.abort().await {
            tracing::debug!("an upload could not be taken back: {error}");
        }
    }
}
