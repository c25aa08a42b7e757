//! The schedule by itself: which tasks may start, and what a loss undoes.

use super::*;
use crate::base::wire::RunId;
use crate::runs::task::StoredSize;

fn at(id: TaskId, attempt: u32, machine: &str) -> StoredAt {
    StoredAt {
        run: RunId(1),
        stage: id.stage.0 as u32,
        task: id.task as u32,
        attempt,
        machine: Some(machine.to_owned()),
    }
}

/// Two stages of two tasks each, and a third of three tasks that reads both.
fn diamond() -> Schedule {
    diamond_of([Determinism::AsInputs; 3])
}

fn diamond_of([one, other, last]: [Determinism; 3]) -> Schedule {
    let inputs = vec![StageId(0), StageId(1)];
    Schedule::new([(vec![], 2, one), (vec![], 2, other), (inputs, 3, last)])
}

fn run_ready(schedule: &mut Schedule, machine: &str) -> Vec<TaskId> {
    let ready = schedule.ready();
    for id in &ready {
        let attempt = schedule.started(*id);
        schedule.finished(
            *id,
            at(*id, attempt, machine),
            StoredSize::default(),
            Metrics::default(),
        );
    }
    ready
}

#[test]
fn stages_start_when_what_they_read_is_there() {
    let mut schedule = diamond();
    assert_eq!(run_ready(&mut schedule, "a").len(), 4);
    assert!(!schedule.is_done());
    let last = run_ready(&mut schedule, "a");
    assert!(last.iter().all(|id| id.stage == StageId(2)) && last.len() == 3);
    assert!(schedule.is_done() && schedule.ready().is_empty());
}

#[test]
fn only_what_is_needed_is_computed_again() {
    let mut schedule = diamond();
    for id in schedule.ready() {
        let attempt = schedule.started(id);
        let machine = if id.task == 0 { "a" } else { "b" };
        schedule.finished(id, at(id, attempt, machine), StoredSize::default(), Metrics::default());
    }
    schedule.keep_only(&["b".to_owned()]);
    let again = run_ready(&mut schedule, "b");
    assert_eq!(again.iter().map(|id| id.task).collect::<Vec<_>>(), [0, 0]);
    run_ready(&mut schedule, "c");
    assert!(schedule.is_done());
    // The result is stored: its inputs may be lost.
    schedule.keep_only(&["c".to_owned()]);
    assert!(schedule.is_done() && schedule.ready().is_empty());
    schedule.keep_only(&["d".to_owned()]);
    assert_eq!(run_ready(&mut schedule, "d").len(), 4);
    assert_eq!(run_ready(&mut schedule, "d").len(), 3);
    assert!(schedule.is_done());
}

#[test]
fn a_late_complaint_about_an_old_attempt_undoes_nothing() {
    let mut schedule = diamond();
    run_ready(&mut schedule, "a");
    run_ready(&mut schedule, "a");
    let id = TaskId { stage: StageId(0), task: 1 };
    // The result is stored: its inputs are not needed.
    schedule.output_lost(id, 1);
    assert!(schedule.ready().is_empty());
    let last = TaskId { stage: StageId(2), task: 1 };
    schedule.output_lost(last, 1);
    assert_eq!(run_ready(&mut schedule, "a"), [id]);
    assert_eq!(run_ready(&mut schedule, "a"), [last]);
    schedule.output_lost(last, 1);
    assert!(schedule.is_done());
    schedule.output_lost(last, 2);
    assert_eq!(schedule.ready(), [last]);
}

fn counted(n: u64) -> Metrics {
    let mut metrics = Metrics::default();
    metrics.add("n", n);
    metrics
}

#[test]
fn a_task_counts_once_however_often_it_was_done() {
    let mut schedule = diamond();
    for id in schedule.ready() {
        // A first attempt is lost and does not count.
        schedule.started(id);
        schedule.lost(id);
        let attempt = schedule.started(id);
        schedule.finished(id, at(id, attempt, "a"), StoredSize::default(), counted(1));
    }
    assert_eq!(schedule.metrics().counter("n"), 4);
    schedule.keep_only(&[]);
    // Metrics stay until those of another attempt replace them.
    assert_eq!(schedule.metrics().counter("n"), 4);
    for id in schedule.ready() {
        let attempt = schedule.started(id);
        schedule.finished(id, at(id, attempt, "b"), StoredSize::default(), counted(10));
    }
    assert_eq!(schedule.metrics().counter("n"), 40);
}

const FIRST: TaskId = TaskId { stage: StageId(0), task: 0 };

fn last(task: usize) -> TaskId {
    TaskId { stage: StageId(2), task }
}

/// The first two stages are done; of the last stage one task is done, and one runs.
fn half_way(determinism: [Determinism; 3]) -> Schedule {
    let mut schedule = diamond_of(determinism);
    run_ready(&mut schedule, "a");
    let attempt = schedule.started(last(0));
    schedule.finished(
        last(0),
        at(last(0), attempt, "a"),
        StoredSize::default(),
        Metrics::default(),
    );
    schedule.started(last(1));
    assert!(schedule.settle(&[]).is_empty());
    schedule
}

#[test]
fn what_was_computed_from_other_rows_is_computed_again() {
    use Determinism::{AsInputs, Deterministic, Nondeterministic};
    let mut schedule = half_way([Nondeterministic, AsInputs, AsInputs]);
    schedule.output_lost(FIRST, 1);
    assert_eq!(schedule.settle(&[]), [last(1)], "a running task reads a lost shard");
    assert_eq!(schedule.generation(), 1, "a shard of the result was stored");
    assert!(schedule.settle(&[]).is_empty());
    assert_eq!(run_ready(&mut schedule, "a"), [FIRST], "the rest of the stage is still stored");
    assert_eq!(run_ready(&mut schedule, "a"), [last(0), last(1), last(2)]);
    assert!(schedule.is_done() && schedule.generation() == 1);

    // Nothing is undone where all is deterministic, or where it does not matter.
    for determinism in [[AsInputs; 3], [Nondeterministic, AsInputs, Deterministic]] {
        let mut schedule = half_way(determinism);
        schedule.output_lost(FIRST, 1);
        assert!(schedule.settle(&[]).is_empty());
        assert_eq!(run_ready(&mut schedule, "a"), [FIRST]);
        assert_eq!(schedule.ready(), [last(2)]);
        assert_eq!(schedule.generation(), 0);
    }
}

#[test]
fn a_result_that_is_there_needs_nothing() {
    let mut schedule =
        diamond_of([Determinism::Nondeterministic, Determinism::AsInputs, Determinism::AsInputs]);
    run_ready(&mut schedule, "a");
    run_ready(&mut schedule, "a");
    schedule.output_lost(FIRST, 1);
    assert!(schedule.settle(&[]).is_empty() && schedule.is_done());
    assert_eq!(schedule.generation(), 0);
    // Now it is needed, and no shard of the result may be kept.
    schedule.output_lost(last(2), 1);
    assert!(schedule.settle(&[]).is_empty());
    assert_eq!(schedule.generation(), 1);
    assert_eq!(run_ready(&mut schedule, "a"), [FIRST]);
    assert_eq!(run_ready(&mut schedule, "a").len(), 3);
}

#[test]
fn a_source_that_changed_undoes_what_reads_it() {
    let mut schedule = half_way([Determinism::AsInputs; 3]);
    assert_eq!(schedule.settle(&[StageId(1)]), [last(1)]);
    let again = run_ready(&mut schedule, "a");
    assert_eq!(again.iter().map(|id| id.stage.0).collect::<Vec<_>>(), [1, 1]);
    assert_eq!(run_ready(&mut schedule, "a").len(), 3);
}

#[test]
fn a_shard_of_the_result_that_differs_is_another_result() {
    let mut schedule = diamond_of([
        Determinism::Deterministic,
        Determinism::Deterministic,
        Determinism::Nondeterministic,
    ]);
    run_ready(&mut schedule, "a");
    run_ready(&mut schedule, "a");
    schedule.output_lost(last(1), 1);
    assert!(schedule.settle(&[]).is_empty());
    assert_eq!((schedule.ready(), schedule.generation()), (vec![last(1)], 1));
}
