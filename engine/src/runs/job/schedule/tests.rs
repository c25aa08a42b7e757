//! The schedule by itself: what may start, and what a loss undoes.

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

/// Two stages of two tasks that a third of three tasks reads.
fn diamond() -> Schedule {
    diamond_of([Repeats::AsItsInputs; 3])
}

fn diamond_of([one, other, last]: [Repeats; 3]) -> Schedule {
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
    // The result is there: what it was made of may be gone.
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
    // The result is there already: what it was made of is not needed.
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
        // A first attempt is lost and counts for nothing.
        schedule.started(id);
        schedule.lost(id);
        let attempt = schedule.started(id);
        schedule.finished(id, at(id, attempt, "a"), StoredSize::default(), counted(1));
    }
    assert_eq!(schedule.metrics().counter("n"), 4);
    schedule.keep_only(&[]);
    // What was counted stands until something takes its place.
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

/// All of the first two stages done, and of the last stage one task done and one running.
fn half_way(repeats: [Repeats; 3]) -> Schedule {
    let mut schedule = diamond_of(repeats);
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
    use Repeats::{AsItsInputs, Differs, Same};
    let mut schedule = half_way([Differs, AsItsInputs, AsItsInputs]);
    schedule.output_lost(FIRST, 1);
    assert_eq!(schedule.settle(&[]), [last(1)], "a running task reads what is gone");
    assert_eq!(schedule.generation(), 1, "a shard of the result was there");
    assert!(schedule.settle(&[]).is_empty());
    assert_eq!(run_ready(&mut schedule, "a"), [FIRST], "the rest of the stage is still there");
    assert_eq!(run_ready(&mut schedule, "a"), [last(0), last(1), last(2)]);
    assert!(schedule.is_done() && schedule.generation() == 1);

    // The same where nothing differs, or where it does not matter.
    for repeats in [[AsItsInputs; 3], [Differs, AsItsInputs, Same]] {
        let mut schedule = half_way(repeats);
        schedule.output_lost(FIRST, 1);
        assert!(schedule.settle(&[]).is_empty());
        assert_eq!(run_ready(&mut schedule, "a"), [FIRST]);
        assert_eq!(schedule.ready(), [last(2)]);
        assert_eq!(schedule.generation(), 0);
    }
}

#[test]
fn a_result_that_is_there_needs_nothing() {
    let mut schedule = diamond_of([Repeats::Differs, Repeats::AsItsInputs, Repeats::AsItsInputs]);
    run_ready(&mut schedule, "a");
    run_ready(&mut schedule, "a");
    schedule.output_lost(FIRST, 1);
    assert!(schedule.settle(&[]).is_empty() && schedule.is_done());
    assert_eq!(schedule.generation(), 0);
    // Now it is needed, and no shard of the result may stay.
    schedule.output_lost(last(2), 1);
    assert!(schedule.settle(&[]).is_empty());
    assert_eq!(schedule.generation(), 1);
    assert_eq!(run_ready(&mut schedule, "a"), [FIRST]);
    assert_eq!(run_ready(&mut schedule, "a").len(), 3);
}

#[test]
fn a_source_that_changed_undoes_what_reads_it() {
    let mut schedule = half_way([Repeats::AsItsInputs; 3]);
    assert_eq!(schedule.settle(&[StageId(1)]), [last(1)]);
    let again = run_ready(&mut schedule, "a");
    assert_eq!(again.iter().map(|id| id.stage.0).collect::<Vec<_>>(), [1, 1]);
    assert_eq!(run_ready(&mut schedule, "a").len(), 3);
}

#[test]
fn a_shard_of_the_result_that_differs_is_another_result() {
    let mut schedule = diamond_of([Repeats::Same, Repeats::Same, Repeats::Differs]);
    run_ready(&mut schedule, "a");
    run_ready(&mut schedule, "a");
    schedule.output_lost(last(1), 1);
    assert!(schedule.settle(&[]).is_empty());
    assert_eq!((schedule.ready(), schedule.generation()), (vec![last(1)], 1));
}
