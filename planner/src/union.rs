//! Reads which children a distributed union runs in which task.
//!
//! datafusion-distributed keeps the type and its map private and shows them only in its display
//! text: `DistributedUnionExec: t0:[c0, c1(0/2)] t1:[c1(1/2)]`. Its version is pinned, and a text
//! that does not parse as expected makes `check` fail rather than guess.

use std::sync::Arc;

use datafusion::physical_plan::{ExecutionPlan, displayable};

const NAME: &str = "ChildrenIsolatorUnionExec";
const PREFIX: &str = "DistributedUnionExec:";

/// True if `plan` is a union that runs its children in separate tasks.
pub(crate) fn is_isolating_union(plan: &dyn ExecutionPlan) -> bool {
    plan.name() == NAME
}

/// The number of tasks of each child, if every task of every child runs exactly once in one of the
/// `tasks` tasks of the union's stage.
pub(crate) fn child_tasks(plan: &Arc<dyn ExecutionPlan>, tasks: usize) -> Option<Vec<usize>> {
    let text = displayable(plan.as_ref()).one_line().to_string();
    let slots = parse(text.trim().strip_prefix(PREFIX)?)?;
    if slots.len() != tasks {
        return None;
    }
    let children = plan.children().len();
    let mut seen: Vec<Vec<usize>> = vec![Vec::new(); children];
    let mut counts: Vec<Option<usize>> = vec![None; children];
    for run in slots.into_iter().flatten() {
        let count = counts.get_mut(run.child)?;
        if *count.get_or_insert(run.count) != run.count {
            return None;
        }
        seen[run.child].push(run.index);
    }
    for (indices, count) in seen.iter_mut().zip(&counts) {
        indices.sort_unstable();
        if !indices.iter().copied().eq(0..(*count)?) {
            return None;
        }
    }
    counts.into_iter().collect()
}

/// One task of one child.
struct Run {
    child: usize,
    index: usize,
    count: usize,
}

fn parse(mut text: &str) -> Option<Vec<Vec<Run>>> {
    let mut slots = Vec::new();
    loop {
        text = text.trim_start();
        if text.is_empty() {
            return Some(slots);
        }
        let (head, rest) = text.split_once('[')?;
        if head != format!("t{}:", slots.len()) {
            return None;
        }
        let (inside, rest) = rest.split_once(']')?;
        let runs = inside.split(", ").filter(|run| !run.is_empty()).map(parse_run);
        slots.push(runs.collect::<Option<Vec<_>>>()?);
        text = rest;
    }
}

/// Parses `c3` or `c3(0/2)`.
fn parse_run(text: &str) -> Option<Run> {
    let text = text.strip_prefix('c')?;
    let Some((child, share)) = text.split_once('(') else {
        return Some(Run { child: text.parse().ok()?, index: 0, count: 1 });
    };
    let (index, count) = share.strip_suffix(')')?.split_once('/')?;
    Some(Run { child: child.parse().ok()?, index: index.parse().ok()?, count: count.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn reads_the_map_of_a_union() {
        let slots = parse(" t0:[c0, c1(0/2)] t1:[c1(1/2)] t2:[]").expect("it is well formed");
        let read: Vec<Vec<_>> = slots
            .iter()
            .map(|runs| runs.iter().map(|run| (run.child, run.index, run.count)).collect())
            .collect();
        assert_eq!(read, vec![vec![(0, 0, 1), (1, 0, 2)], vec![(1, 1, 2)], vec![]]);
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for text in ["t1:[c0]", "t0:[x0]", "t0:[c0(1)]", "t0:[c0", "tasks=2"] {
            assert!(parse(text).is_none(), "{text}");
        }
    }
}
