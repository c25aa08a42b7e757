//! The walk over the stages of a distributed plan, from the driver's stage down to the leaves and
//! back up.

use std::sync::Arc;

use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::recursive_query::RecursiveQueryExec;
use datafusion::physical_plan::scalar_subquery::ScalarSubqueryExec;
use datafusion_distributed::NetworkBoundaryExt;

use super::place::Place;
use super::{Trusted, boundary, leaf, order};
use crate::distribution::{
    self, RowProperties, TaskDistribution, Undistributable, limit_is_pending, row_properties,
};
use crate::error::Result;
use crate::stage_graph::DRIVER_STAGE;
use crate::union::{child_tasks, is_isolating_union};

/// The check of one plan.
pub(super) struct Walk<'a> {
    trusted: &'a Trusted,
}

impl<'a> Walk<'a> {
    pub(super) fn new(trusted: &'a Trusted) -> Self {
        Self { trusted }
    }

    /// Checks a plan whose rows leave the query: no limit may be pending at its top.
    pub(super) fn whole(&self, plan: &Arc<dyn ExecutionPlan>, place: Place) -> Result<()> {
        let rows = self.visit(plan, place)?;
        match rows.pending_limit {
            Some(limit) => Err(place.refuse(plan.as_ref(), limit_is_pending(limit))),
            None => Ok(()),
        }
    }

    fn visit(&self, plan: &Arc<dyn ExecutionPlan>, place: Place) -> Result<RowProperties> {
        if plan.is_network_boundary() {
            return self.enter_stage(plan, place);
        }
        let inputs = self.visit_children(plan, place)?;
        order::check(plan, place)?;
        not_repeated(plan, place)?;
        if !plan.children().is_empty() {
            let derived = row_properties(plan, &inputs, place.parts(), &self.trusted.row_wise);
            return derived.map_err(|refused| match refused {
                Undistributable::Unsafe(reason) => place.refuse(plan.as_ref(), reason),
                Undistributable::Failed(error) => error.into(),
            });
        }
        if place.stage != DRIVER_STAGE {
            leaf::travels(plan, place)?;
        }
        let distribution = leaf::distribution(plan, place, &self.trusted.leaves)?;
        let limit = leaf::original(plan).fetch();
        Ok(distribution::leaf(plan, limit, distribution, place.parts()))
    }

    fn visit_children(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        place: Place,
    ) -> Result<Vec<RowProperties>> {
        if !is_isolating_union(plan.as_ref()) {
            return plan.children().into_iter().map(|child| self.visit(child, place)).collect();
        }
        let Some(counts) = child_tasks(plan, place.tasks) else {
            return Err(place.refuse(
                plan.as_ref(),
                format!(
                    "does not run each of its inputs exactly once in its {} tasks",
                    place.tasks
                ),
            ));
        };
        let children = plan.children().into_iter().zip(counts);
        children.map(|(child, tasks)| self.visit(child, Place { tasks, ..place })).collect()
    }

    fn enter_stage(&self, plan: &Arc<dyn ExecutionPlan>, place: Place) -> Result<RowProperties> {
        let Some(below) = plan.as_network_boundary() else {
            return Err(place.refuse(plan.as_ref(), "is not an exchange"));
        };
        let stage = below.input_stage();
        let Some(input) = stage.local_plan() else {
            return Err(place.refuse(plan.as_ref(), "reads a stage that was already sent"));
        };
        boundary::check(plan, input, stage.task_count(), place)?;
        let from = Place { stage: stage.num(), tasks: stage.task_count() };
        let rows = self.visit(input, from)?;
        if rows.distribution == TaskDistribution::Broadcast {
            return Err(from.refuse(
                input.as_ref(),
                format!("would give every row {} times, once in each task", from.tasks),
            ));
        }
        boundary::rows(plan, rows, place)
    }
}

/// Refuses an exchange below an operator that reads it repeatedly, since it can be read only once,
/// and a subquery whose value would be needed in another stage.
fn not_repeated(plan: &Arc<dyn ExecutionPlan>, place: Place) -> Result<()> {
    if plan.is::<RecursiveQueryExec>() && plan.children().into_iter().skip(1).any(contains_boundary)
    {
        return Err(place.refuse(
            plan.as_ref(),
            "runs its recursive part many times, but an exchange inside it can be read only once",
        ));
    }
    if let Some(subquery) = plan.downcast_ref::<ScalarSubqueryExec>()
        && contains_boundary(subquery.input())
    {
        return Err(place.refuse(
            plan.as_ref(),
            "hands the value of a subquery to operators of other stages, which cannot see it",
        ));
    }
    Ok(())
}

/// Whether a plan contains an exchange.
pub(super) fn contains_boundary(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is_network_boundary() || plan.children().into_iter().any(contains_boundary)
}
