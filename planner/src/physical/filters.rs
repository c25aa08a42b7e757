//! Pushes filters down a plan by the position of their columns, not by name.
//!
//! DataFusion 55.2: when a filter moves below an operator, its columns are looked up in the input
//! *by name* (`FilterRemapper` in datafusion-physical-plan). If an input has another column of that
//! name, the filter applies to that: `ORDER BY payments.amount LIMIT 2` over a join drops rows of
//! `orders.amount`, and so do the dynamic filters of joins and aggregates. The same happens to a
//! filter that is absorbed by an operator with a projection.
//!
//! [`FilterPushdown`] replaces DataFusion's rule of that name. The operators still decide which
//! filters may pass; the origin of a filter's columns is found here by position ([`moved`]). A
//! filter whose origin is unknown stays where it is. Two more kinds stay:
//!
//! - filters that would pass an operator which stops after n rows, and change which rows those are;
//! - the dynamic filter of an aggregation for `min(a)` if it computes another aggregate as well,
//!   such as `max(a + b)`: DataFusion 55.2 ignores arguments that are not columns, and drops rows
//!   that decide their result.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::config::ConfigOptions;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr_common::physical_expr::is_volatile;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::filter_pushdown::{
    ChildFilterPushdownResult, ChildPushdownResult, FilterPushdownPhase, FilterPushdownPropagation,
    PushedDown, PushedDownPredicate,
};

use super::columns::{can_take, moved};

/// The physical rule; see the [module](self).
#[derive(Debug)]
pub(super) struct FilterPushdown {
    phase: FilterPushdownPhase,
}

impl FilterPushdown {
    /// The rule for filters of the query.
    pub(super) fn written() -> Self {
        Self { phase: FilterPushdownPhase::Pre }
    }

    /// The rule for dynamic filters, which operators update while they run. It comes last, because
    /// these refer to the operators of the plan.
    pub(super) fn learned() -> Self {
        Self { phase: FilterPushdownPhase::Post }
    }
}

impl PhysicalOptimizerRule for FilterPushdown {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let pass = Pass { phase: self.phase, config };
        Ok(pass.visit(&plan, &[])?.updated_node.unwrap_or(plan))
    }

    fn name(&self) -> &'static str {
        match self.phase {
            FilterPushdownPhase::Pre => "FilterPushdown",
            FilterPushdownPhase::Post => "FilterPushdown(Post)",
        }
    }

    fn schema_check(&self) -> bool {
        true
    }
}

type Filter = Arc<dyn PhysicalExpr>;
type Answer = FilterPushdownPropagation<Arc<dyn ExecutionPlan>>;

struct Pass<'a> {
    phase: FilterPushdownPhase,
    config: &'a ConfigOptions,
}

impl Pass<'_> {
    /// Offers `filters`, over the columns of `node`, to it and its inputs.
    fn visit(&self, node: &Arc<dyn ExecutionPlan>, filters: &[Filter]) -> Result<Answer> {
        let mut given = Vec::with_capacity(filters.len());
        for (index, filter) in filters.iter().enumerate() {
            if !is_volatile(filter) && can_take(node.as_ref(), filter, self.phase)? {
                given.push(index);
            }
        }
        let parents: Vec<Filter> = given.iter().map(|index| Arc::clone(&filters[*index])).collect();
        let answer = self.offer(node, parents)?;
        let mut supported = vec![PushedDown::No; filters.len()];
        for (index, support) in given.into_iter().zip(answer.filters) {
            supported[index] = support;
        }
        Ok(Answer { filters: supported, updated_node: answer.updated_node })
    }

    fn offer(&self, node: &Arc<dyn ExecutionPlan>, parents: Vec<Filter>) -> Result<Answer> {
        let description =
            node.gather_filters_for_pushdown(self.phase, parents.clone(), self.config)?;
        let (allowed, own) = (description.parent_filters(), description.self_filters());
        let mut supports = vec![Vec::with_capacity(own.len()); parents.len()];
        let mut own_supports = Vec::with_capacity(own.len());
        let mut children = Vec::with_capacity(own.len());
        for (index, ((child, allowed), own)) in
            node.children().into_iter().zip(allowed).zip(own).enumerate()
        {
            let mut sent = Sent::default();
            for (at, filter) in own.iter().enumerate() {
                if !is_volatile(filter) && is_complete(node.as_ref()) {
                    sent.add(at, Arc::clone(filter));
                }
            }
            let own_sent = sent.filters.len();
            for (at, (parent, allowed)) in parents.iter().zip(allowed).enumerate() {
                if matches!(allowed.discriminant, PushedDown::Yes)
                    && let Some(filter) = moved(node.as_ref(), index, parent)?
                {
                    sent.add(at, filter);
                }
            }
            let answer = self.visit(child, &sent.filters)?;
            children.push(answer.updated_node.unwrap_or_else(|| Arc::clone(child)));
            let (own_answers, parent_answers) = answer.filters.split_at(own_sent);
            let own_support = sent.from[..own_sent].iter().copied().zip(own_answers);
            own_supports.push(with_filters(own, own_support));
            for support in &mut supports {
                support.push(PushedDown::No);
            }
            for (at, answer) in sent.from[own_sent..].iter().zip(parent_answers) {
                supports[*at][index] = *answer;
            }
        }
        let updated = replace_children_if_necessary(Arc::clone(node), children)?;
        let parent_filters = parents.into_iter().zip(supports);
        let result = ChildPushdownResult {
            parent_filters: parent_filters
                .map(|(filter, child_results)| ChildFilterPushdownResult { filter, child_results })
                .collect(),
            self_filters: own_supports,
        };
        let mut answer = updated.handle_child_pushdown_result(self.phase, result, self.config)?;
        if answer.updated_node.is_none() && !Arc::ptr_eq(&updated, node) {
            answer.updated_node = Some(updated);
        }
        Ok(answer)
    }
}

/// The filters sent to one input, each with its index among the originals.
#[derive(Default)]
struct Sent {
    filters: Vec<Filter>,
    from: Vec<usize>,
}

impl Sent {
    fn add(&mut self, from: usize, filter: Filter) {
        self.filters.push(filter);
        self.from.push(from);
    }
}

/// The operator's own filters, each with the outcome of its pushdown.
fn with_filters<'a>(
    own: Vec<Filter>,
    answers: impl Iterator<Item = (usize, &'a PushedDown)>,
) -> Vec<PushedDownPredicate> {
    let mut supports: Vec<_> = own.into_iter().map(PushedDownPredicate::unsupported).collect();
    for (at, answer) in answers {
        supports[at].discriminant = *answer;
    }
    supports
}

/// False for an aggregation whose dynamic filter does not cover all of its aggregates.
fn is_complete(node: &dyn ExecutionPlan) -> bool {
    let Some(aggregate) = node.downcast_ref::<AggregateExec>() else { return true };
    aggregate.aggr_expr().iter().all(|function| {
        let arguments = function.expressions();
        arguments.len() == 1 && arguments[0].is::<Column>()
    })
}
