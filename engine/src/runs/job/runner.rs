//! The [`Runner`] of a session: its [`TaskRunner`], and the runs whose results are held.

use std::ops::Deref;
use std::sync::Arc;

use crate::error::Result;
use crate::pipeline::func::Call;
use crate::runs::job::Runs;
use crate::runs::job::TaskRunner;
use crate::runs::job::job::Job;
use crate::runs::task::Plan;

/// What runs slices, and what statements run with.
pub(crate) struct Runner {
    /// The jobs of the session use only this: they may be held by a table of the session.
    pub(crate) tasks: Arc<TaskRunner>,
    pub(crate) runs: Runs,
}

impl Runner {
    /// A job that computes `plan`, and the runs that it reads, for the caller to hold until the job
    /// is computed: otherwise they would be computed again for it. Nothing runs yet.
    ///
    /// # Errors
    /// When a run that it reads is not held any more, or the shards of a source cannot be found.
    pub(crate) async fn job(
        &self,
        plan: Plan,
        call: Option<Call>,
    ) -> Result<(Arc<Job>, Vec<Arc<Job>>)> {
        let runs = plan.sources.iter().filter_map(|source| source.run());
        let read = runs.map(|run| self.runs.find(run)).collect::<Result<Vec<_>>>()?;
        let job = Job::new(&self.tasks, plan, call, &read).await?;
        self.runs.enter(&job);
        Ok((job, read))
    }
}

impl Deref for Runner {
    type Target = TaskRunner;

    fn deref(&self) -> &TaskRunner {
        &self.tasks
    }
}
