//! Hand-built plans: what `check` reports for each kind of operator in a stage of several tasks.

use std::sync::Arc;

use bigslice_planner::{Trusted, check, check_with};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{JoinType, NullEquality};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::physical_expr::expressions::{Column, col};
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_optimizer::output_requirements::OutputRequirementExec;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode, PhysicalGroupBy};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, PartitionMode, SortMergeJoinExec,
};
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{
    Distribution, ExecutionPlan, ExecutionPlanProperties, Partitioning,
};
use datafusion_distributed::{
    BroadcastExec, DistributedExec, DistributedLeafExec, NetworkBoundary, NetworkBroadcastExec,
    NetworkCoalesceExec, NetworkShuffleExec, Stage,
};

type Plan = Arc<dyn ExecutionPlan>;

/// The number of tasks of the stage under test.
const TASKS: usize = 2;

fn schema() -> SchemaRef {
    let field = |name| Field::new(name, DataType::Int64, true);
    Arc::new(Schema::new(vec![field("a"), field("b")]))
}

/// A complete table in memory.
fn table(partitions: usize) -> Plan {
    MemorySourceConfig::try_new_exec(&vec![vec![]; partitions], schema(), None).expect("a table")
}

/// A table of which each task reads a part.
fn shared(partitions: usize) -> Plan {
    let parts = (0..TASKS).map(|_| table(partitions));
    Arc::new(DistributedLeafExec::try_new(table(partitions), parts).expect("a leaf"))
}

fn with_stage(boundary: &impl NetworkBoundary, plan: Plan) -> Plan {
    let Stage::Local(mut stage) = boundary.input_stage().clone() else { panic!("it is local") };
    stage.plan = plan;
    boundary.with_input_stage(Stage::Local(stage)).expect("the stage fits")
}

/// All rows of `input` in each task.
fn broadcast(input: Plan, producers: usize) -> Plan {
    let one = Arc::new(BroadcastExec::new(Arc::clone(&input), 1));
    let boundary = NetworkBroadcastExec::try_new(one, producers).expect("a broadcast");
    with_stage(&boundary, Arc::new(BroadcastExec::new(input, TASKS)))
}

/// A broadcast in one partition, as a join collects it.
fn collected(input: Plan) -> Plan {
    Arc::new(CoalescePartitionsExec::new(broadcast(input, TASKS)))
}

fn hashed(input: &Plan, key: &str, partitions: usize) -> Plan {
    let by = Partitioning::Hash(vec![column(key)], partitions);
    Arc::new(RepartitionExec::try_new(Arc::clone(input), by).expect("a repartition"))
}

/// The rows of `input`, hash-partitioned by a column, with `partitions` in each task.
fn shuffled(input: &Plan, key: &str, partitions: usize) -> Plan {
    let boundary = NetworkShuffleExec::try_new(hashed(input, key, partitions), TASKS);
    with_stage(&boundary.expect("a shuffle"), hashed(input, key, partitions * TASKS))
}

/// `plan` in a stage of `TASKS` tasks, gathered by the driver.
fn gathered(plan: Plan) -> Plan {
    driver(NetworkCoalesceExec::try_new(plan, TASKS, 1).expect("a gathering"), None)
}

fn driver(below: NetworkCoalesceExec, fetch: Option<usize>) -> Plan {
    let merged = CoalescePartitionsExec::new(Arc::new(below)).with_fetch(fetch);
    Arc::new(DistributedExec::new(Arc::new(merged)))
}

fn column(name: &str) -> Arc<dyn PhysicalExpr> {
    col(name, &schema()).expect("a column")
}

fn aggregated(mode: AggregateMode, key: Option<&str>, input: Plan) -> Plan {
    let keys = key.map(|key| (column(key), key.to_owned())).into_iter().collect();
    let by = PhysicalGroupBy::new_single(keys);
    let schema = input.schema();
    Arc::new(AggregateExec::try_new(mode, by, vec![], vec![], input, schema).expect("it fits"))
}

fn hash_joined(left: Plan, right: Plan, kind: JoinType, mode: PartitionMode) -> Plan {
    let null_aware = false;
    hash_join(left, right, kind, mode, null_aware)
}

fn hash_join(left: Plan, right: Plan, kind: JoinType, mode: PartitionMode, aware: bool) -> Plan {
    let on = vec![(column("a"), column("a"))];
    let nulls = NullEquality::NullEqualsNothing;
    let join = HashJoinExec::try_new(left, right, on, None, &kind, None, mode, nulls, aware);
    Arc::new(join.expect("a join"))
}

fn looped(left: Plan, right: Plan, kind: JoinType) -> Plan {
    Arc::new(NestedLoopJoinExec::try_new(left, right, None, &kind, None).expect("a join"))
}

fn merged(left: Plan, right: Plan) -> Plan {
    let sort = |input| -> Plan {
        let order = LexOrdering::new([PhysicalSortExpr::new_default(column("a"))]).expect("order");
        Arc::new(SortExec::new(order, input).with_preserve_partitioning(true))
    };
    let on = vec![(column("a"), column("a"))];
    let nulls = NullEquality::NullEqualsNothing;
    let options = vec![Default::default()];
    let (left, right) = (sort(left), sort(right));
    let join = SortMergeJoinExec::try_new(left, right, on, None, JoinType::Inner, options, nulls);
    Arc::new(join.expect("a join"))
}

fn unknown(input: Plan) -> Plan {
    Arc::new(OutputRequirementExec::new(input, None, Distribution::UnspecifiedDistribution, None))
}

/// Asserts that `check` refuses `plan` with the `expected` text; `None` if the plan is safe.
fn verdict(name: &str, plan: &Plan, expected: Option<&str>) {
    match (check(plan).map_err(|refused| refused.to_string()), expected) {
        (Ok(()), None) => {}
        (Ok(()), Some(_)) => panic!("{name}: was let through"),
        (Err(refused), None) => panic!("{name}: {refused}"),
        (Err(refused), Some(part)) => {
            assert!(refused.contains(part), "{name}: {refused}");
            assert!(refused.contains("stage"), "{name}: {refused}");
        }
    }
}

#[test]
fn joins_with_a_broadcast_side() {
    let emits_left = Some("unmatched rows of its left input again in each of 2 tasks");
    for (kind, expected) in [
        (JoinType::Inner, None),
        (JoinType::Right, None),
        (JoinType::RightSemi, None),
        (JoinType::RightAnti, None),
        (JoinType::RightMark, None),
        (JoinType::Left, emits_left),
        (JoinType::Full, emits_left),
        (JoinType::LeftSemi, emits_left),
        (JoinType::LeftAnti, emits_left),
        (JoinType::LeftMark, emits_left),
    ] {
        let mode = PartitionMode::CollectLeft;
        let join = hash_joined(collected(shared(2)), shared(2), kind, mode);
        verdict(&format!("hash join {kind}"), &gathered(join), expected);
        let join = looped(collected(shared(2)), shared(2), kind);
        verdict(&format!("nested loop join {kind}"), &gathered(join), expected);
    }
    let cross = Arc::new(CrossJoinExec::new(collected(shared(2)), shared(2)));
    verdict("cross join", &gathered(cross), None);
    let partial = Arc::new(CoalescePartitionsExec::new(shared(2)));
    let cross = Arc::new(CrossJoinExec::new(partial, shared(2)));
    verdict("a part on the left", &gathered(cross), Some("all rows of its left input"));
    let cross = Arc::new(CrossJoinExec::new(collected(shared(2)), broadcast(shared(2), TASKS)));
    verdict(
        "all on the right",
        &gathered(cross),
        Some("the rows of its right input again in each of 2 tasks"),
    );
    let kind = JoinType::LeftAnti;
    let left = collected(shared(2));
    let aware = hash_join(left, shared(2), kind, PartitionMode::CollectLeft, true);
    verdict("null-aware", &gathered(aware), Some("whether any row at all has a null key"));
}

#[test]
fn joins_side_by_side() {
    let mode = PartitionMode::Partitioned;
    for (name, left, right, expected) in [
        ("by key", shuffled(&shared(2), "a", 3), shuffled(&shared(2), "a", 3), None),
        ("as they lie", shared(2), shared(2), Some("all rows of a key")),
        (
            "by another key",
            shuffled(&shared(2), "b", 3),
            shuffled(&shared(2), "a", 3),
            Some("all rows of a key"),
        ),
        (
            "by another key, one partition",
            shuffled(&shared(2), "b", 1),
            shuffled(&shared(2), "a", 1),
            Some("all rows of a key"),
        ),
        ("hashed in the task", hashed(&shared(2), "a", 3), hashed(&shared(2), "a", 3), Some("key")),
    ] {
        let kind = JoinType::Full;
        let join = hash_joined(Arc::clone(&left), Arc::clone(&right), kind, mode);
        verdict(&format!("hash join {name}"), &gathered(join), expected);
        verdict(&format!("merge join {name}"), &gathered(merged(left, right)), expected);
    }
    let left = shuffled(&shared(2), "a", 3);
    let join = hash_joined(left, shuffled(&shared(2), "a", 2), JoinType::Inner, mode);
    verdict("cut differently", &gathered(join), Some("partitioned differently"));
}

#[test]
fn aggregations() {
    let all = Some("needs all rows in one place");
    let key = Some("needs all rows of a key (a@0)");
    for (mode, by, input, expected) in [
        (AggregateMode::Partial, None, shared(2), None),
        (AggregateMode::Single, None, shared(1), all),
        (AggregateMode::Single, Some("a"), shared(1), all),
        (
            AggregateMode::Final,
            Some("a"),
            Arc::new(CoalescePartitionsExec::new(shared(2))) as _,
            all,
        ),
        (AggregateMode::FinalPartitioned, Some("a"), shared(2), key),
        (AggregateMode::SinglePartitioned, Some("a"), shared(1), key),
        (AggregateMode::SinglePartitioned, Some("a"), shuffled(&shared(2), "a", 2), None),
        (AggregateMode::SinglePartitioned, Some("a"), shuffled(&shared(2), "a", 1), None),
        (AggregateMode::SinglePartitioned, Some("a"), shuffled(&shared(2), "b", 1), key),
    ] {
        let name = format!("{mode:?} by {by:?}");
        verdict(&name, &gathered(aggregated(mode, by, input)), expected);
    }
    // Only a projection that keeps the keys keeps the partitioning.
    let kept = |position, name: &str| -> Plan {
        let keep = (Arc::new(Column::new(name, position)) as Arc<dyn PhysicalExpr>, "a".to_owned());
        let input = shuffled(&shared(2), "a", 2);
        let other = (column("b"), "b".to_owned());
        Arc::new(ProjectionExec::try_new(vec![keep, other], input).expect("a projection"))
    };
    let mode = AggregateMode::SinglePartitioned;
    verdict("kept key", &gathered(aggregated(mode, Some("a"), kept(0, "a"))), None);
    verdict("lost key", &gathered(aggregated(mode, Some("a"), kept(1, "b"))), key);
}

#[test]
fn leaves() {
    let whole = Some("would read all of its rows in each of 2 tasks");
    verdict("a table", &gathered(table(2)), whole);
    verdict("a row", &gathered(Arc::new(PlaceholderRowExec::new(schema()))), whole);
    verdict("no row", &gathered(Arc::new(EmptyExec::new(schema()))), None);
    verdict("shared", &gathered(shared(2)), None);
    let three = (0..3).map(|_| table(2));
    let three = Arc::new(DistributedLeafExec::try_new(table(2), three).expect("a leaf"));
    verdict("for three", &gathered(three), Some("divided among 3 tasks, but 2 run it"));
    let trusted = Trusted { leaves: vec!["DataSourceExec".to_owned()], ..Trusted::default() };
    assert!(check_with(&gathered(table(2)), &trusted).is_ok());
}

#[test]
fn rows_that_every_task_has() {
    let twice = Some("would give every row 2 times");
    verdict("gathered", &gathered(broadcast(shared(2), TASKS)), twice);
    let worked_on = Some("would work on all rows in each of 2 tasks");
    verdict("shuffled", &gathered(shuffled(&collected(shared(2)), "a", 2)), worked_on);
    let union = UnionExec::try_new(vec![collected(shared(2)), shared(2)]).expect("a union");
    verdict("in a union", &gathered(union), Some("rows of an input again in each of 2 tasks"));
    let partial = aggregated(AggregateMode::Partial, None, collected(shared(2)));
    verdict("aggregated", &gathered(partial), worked_on);
}

#[test]
fn limits() {
    let limited =
        |partitions, fetch| -> Plan { Arc::new(LocalLimitExec::new(shared(partitions), fetch)) };
    let coalesce = |plan| NetworkCoalesceExec::try_new(plan, TASKS, 1).expect("a gathering");
    let owed = Some("would see up to 5 rows of each part where the query asks for 5 in all");
    verdict("counted again", &driver(coalesce(limited(1, 5)), Some(5)), None);
    verdict("counted lower", &driver(coalesce(limited(1, 5)), Some(3)), None);
    verdict("counted higher", &driver(coalesce(limited(1, 5)), Some(6)), owed);
    verdict("not counted", &gathered(limited(1, 5)), owed);
    verdict("per partition", &gathered(limited(2, 5)), owed);
    verdict("per partition, counted", &driver(coalesce(limited(2, 5)), Some(5)), None);
    let summed = aggregated(AggregateMode::Partial, None, limited(1, 5));
    verdict("aggregated", &gathered(summed), owed);
    let skipped: Plan = Arc::new(GlobalLimitExec::new(shared(1), 1, Some(4)));
    verdict("global", &gathered(skipped), Some("needs all rows in one place"));
    let join = Arc::new(CrossJoinExec::new(collected(limited(1, 5)), shared(2)));
    verdict("broadcast", &gathered(join), Some("would broadcast 5 rows of each part"));
    let build: Plan =
        Arc::new(CoalescePartitionsExec::new(broadcast(shared(2), TASKS)).with_fetch(Some(5)));
    let join = Arc::new(CrossJoinExec::new(build, shared(2)));
    verdict("above a broadcast", &gathered(join), Some("work on all rows in each of 2 tasks"));
}

#[test]
fn exchanges() {
    let input = shared(2);
    let boundary = NetworkShuffleExec::try_new(hashed(&input, "a", 3), TASKS).expect("a shuffle");
    let short = with_stage(&boundary, hashed(&input, "a", 3));
    verdict("half is read", &gathered(short), Some("reads 6 of 3 partitions"));
    let raw = with_stage(&boundary, Arc::clone(&input));
    verdict("not hashed", &gathered(raw), Some("shuffles rows that were not hashed"));
    let once = Arc::new(BroadcastExec::new(Arc::clone(&input), 1));
    let boundary = NetworkBroadcastExec::try_new(Arc::clone(&once) as _, TASKS).expect("it fits");
    let join = Arc::new(CrossJoinExec::new(
        Arc::new(CoalescePartitionsExec::new(with_stage(&boundary, once))),
        shared(2),
    ));
    verdict("for one only", &gathered(join), Some("is broadcast to"));
}

#[test]
fn unknown_operators() {
    let plan = gathered(unknown(shared(2)));
    verdict("unknown", &plan, Some("is not known to be right when it runs in 2 tasks"));
    let name = "OutputRequirementExec".to_owned();
    let trusted = Trusted { row_wise: vec![name], ..Trusted::default() };
    assert!(check_with(&plan, &trusted).is_ok());
    // In the driver's stage anything may run.
    let below = NetworkCoalesceExec::try_new(shared(2), TASKS, 1).expect("a gathering");
    let merged: Plan = Arc::new(CoalescePartitionsExec::new(Arc::new(below)));
    assert_eq!(merged.output_partitioning().partition_count(), 1);
    verdict("in the driver", &(Arc::new(DistributedExec::new(unknown(merged))) as _), None);
    verdict("not cut", &unknown(table(2)), None);
}
