//! How the rows of one operator are distributed, given how those of its inputs are. The check of
//! SQL plans and the expression verbs of slices each had a derivation of their own; there is a test
//! here for each point on which the two disagreed, and the stricter answer is the one that holds.

use std::sync::Arc;

use bigslice_planner::TaskDistribution::{Arbitrary, Broadcast, Hashed, Single};
use bigslice_planner::{
    Parts, RowProperties, TaskDistribution, Undistributable, collects_build_side,
    needs_whole_probe_side, row_properties,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::{JoinType, NullEquality};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{Column, col};
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode, PhysicalGroupBy};
use datafusion::physical_plan::async_func::AsyncFuncExec;
use datafusion::physical_plan::buffer::BufferExec;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, PartitionMode, PiecewiseMergeJoinExec,
    SortMergeJoinExec, StreamJoinPartitionMode, SymmetricHashJoinExec,
};
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::partitioned_topk::{PartitionedTopKExec, WindowFnKind};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::union::{InterleaveExec, UnionExec};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, Partitioning};

type Plan = Arc<dyn ExecutionPlan>;

/// Both kinds of parts that a plan is cut into.
const BOTH: [Parts; 2] = [Parts::Tasks(2), Parts::Shards];

fn table(partitions: usize) -> Plan {
    let field = |name| Field::new(name, DataType::Int64, true);
    let schema = Arc::new(Schema::new(vec![field("a"), field("b")]));
    MemorySourceConfig::try_new_exec(&vec![vec![]; partitions], schema, None).expect("a table")
}

fn column(name: &str) -> Arc<dyn PhysicalExpr> {
    col(name, &table(1).schema()).expect("a column")
}

fn hashed(partitions: usize) -> Plan {
    let by = Partitioning::Hash(vec![column("a")], partitions);
    Arc::new(RepartitionExec::try_new(table(2), by).expect("a repartition"))
}

fn order(names: &[&str]) -> LexOrdering {
    let exprs = names.iter().map(|name| PhysicalSortExpr::new_default(column(name)));
    LexOrdering::new(exprs).expect("an order")
}

fn hash_join(input: &Plan, kind: JoinType, mode: PartitionMode, null_aware: bool) -> Plan {
    let on = vec![(column("a"), column("a"))];
    let (left, right) = (Arc::clone(input), Arc::clone(input));
    let nulls = NullEquality::NullEqualsNothing;
    let join = HashJoinExec::try_new(left, right, on, None, &kind, None, mode, nulls, null_aware);
    Arc::new(join.expect("a join"))
}

fn aggregated(mode: AggregateMode, keys: &[&str], input: Plan) -> Plan {
    let keys = keys.iter().map(|key| (column(key), (*key).to_owned())).collect();
    let by = PhysicalGroupBy::new_single(keys);
    let schema = input.schema();
    Arc::new(AggregateExec::try_new(mode, by, vec![], vec![], input, schema).expect("it fits"))
}

fn rows(distribution: TaskDistribution) -> RowProperties {
    RowProperties::new(distribution)
}

/// What is derived, or why nothing is.
fn derived(plan: &Plan, inputs: &[RowProperties], parts: Parts) -> Result<RowProperties, String> {
    let trusted = ["PiecewiseMergeJoinExec".to_owned()];
    row_properties(plan, inputs, parts, &trusted).map_err(|refused| match refused {
        Undistributable::Unsafe(reason) => reason,
        Undistributable::Failed(error) => panic!("{error}"),
    })
}

/// Expects one answer for tasks and for shards.
fn becomes(plan: &Plan, inputs: &[TaskDistribution], expected: TaskDistribution) {
    let inputs: Vec<_> = inputs.iter().copied().map(rows).collect();
    for parts in BOTH {
        let found = derived(plan, &inputs, parts);
        assert_eq!(found, Ok(rows(expected)), "{} in {parts}", plan.name());
    }
}

/// Expects that operator to be refused, in tasks and in shards.
fn refused(plan: &Plan, inputs: &[TaskDistribution], reason: &str) {
    let inputs: Vec<_> = inputs.iter().copied().map(rows).collect();
    for parts in BOTH {
        let why = derived(plan, &inputs, parts).expect_err(&format!("{} in {parts}", plan.name()));
        assert!(why.contains(reason), "{} in {parts}: {why}", plan.name());
    }
}

#[test]
fn a_null_aware_join_is_refused_in_every_mode() {
    let null = "whether any row at all has a null key";
    let build = hash_join(&table(1), JoinType::LeftAnti, PartitionMode::CollectLeft, true);
    refused(&build, &[Broadcast, Arbitrary], null);
    assert!(collects_build_side(build.as_ref()) && needs_whole_probe_side(build.as_ref()));
    // Slices let it through: DataFusion plans none, and nothing else kept it out.
    let partitioned = hash_join(&hashed(2), JoinType::LeftAnti, PartitionMode::Partitioned, true);
    refused(&partitioned, &[Hashed, Hashed], null);
    let partitioned = hash_join(&hashed(2), JoinType::LeftAnti, PartitionMode::Partitioned, false);
    becomes(&partitioned, &[Hashed, Hashed], Hashed);
    becomes(&build, &[Single, Single], Single);
}

#[test]
fn joins_that_emit_build_rows_need_the_whole_probe_side() {
    for (kind, whole) in [
        (JoinType::Inner, false),
        (JoinType::Right, false),
        (JoinType::RightSemi, false),
        (JoinType::RightAnti, false),
        (JoinType::RightMark, false),
        (JoinType::Left, true),
        (JoinType::Full, true),
        (JoinType::LeftSemi, true),
        (JoinType::LeftAnti, true),
        (JoinType::LeftMark, true),
    ] {
        let nested = NestedLoopJoinExec::try_new(table(1), table(2), None, &kind, None);
        let nested: Plan = Arc::new(nested.expect("a join"));
        let hash = hash_join(&table(1), kind, PartitionMode::CollectLeft, false);
        for join in [nested, hash] {
            assert!(collects_build_side(join.as_ref()), "{kind}");
            assert_eq!(needs_whole_probe_side(join.as_ref()), whole, "{kind}");
            match whole {
                true => refused(&join, &[Broadcast, Arbitrary], "unmatched rows of its left input"),
                false => becomes(&join, &[Broadcast, Arbitrary], Arbitrary),
            }
        }
    }
    let partitioned = hash_join(&hashed(2), JoinType::Full, PartitionMode::Partitioned, false);
    assert!(!collects_build_side(partitioned.as_ref()));
    let cross: Plan = Arc::new(CrossJoinExec::new(table(1), table(2)));
    assert!(collects_build_side(cross.as_ref()) && !needs_whole_probe_side(cross.as_ref()));
}

#[test]
fn a_limit_of_each_part_is_pending_until_one_sees_all_rows() {
    let arbitrary = RowProperties { pending_limit: Some(5), ..rows(Arbitrary) };
    let single = RowProperties { pending_limit: Some(5), ..rows(Single) };
    let limit: Plan = Arc::new(LocalLimitExec::new(table(2), 5));
    let partial = aggregated(AggregateMode::Partial, &["a"], Arc::clone(&limit));
    let merge =
        |fetch| -> Plan { Arc::new(CoalescePartitionsExec::new(table(2)).with_fetch(Some(fetch))) };
    let skip: Plan = Arc::new(GlobalLimitExec::new(table(1), 2, Some(4)));
    let sort = |fetch| -> Plan {
        let sort = SortExec::new(order(&["a"]), table(2)).with_preserve_partitioning(true);
        Arc::new(sort.with_fetch(fetch))
    };
    for parts in BOTH {
        // Slices did not know of it.
        assert_eq!(derived(&limit, &[rows(Arbitrary)], parts), Ok(arbitrary));
        let why = derived(&partial, &[arbitrary], parts).expect_err("it sees more rows");
        assert!(why.contains("up to 5 rows of each part where the query asks for 5 in all"));
        assert_eq!(derived(&sort(Some(5)), &[arbitrary], parts), Ok(arbitrary));
        assert!(derived(&sort(None), &[arbitrary], parts).is_err());
        let union: Plan = UnionExec::try_new(vec![table(2), table(2)]).expect("a union");
        assert_eq!(derived(&union, &[arbitrary, rows(Arbitrary)], parts), Ok(arbitrary));
        let join: Plan = Arc::new(CrossJoinExec::new(table(1), table(2)));
        let broadcast = RowProperties { distribution: Broadcast, ..arbitrary };
        assert!(derived(&join, &[broadcast, rows(Arbitrary)], parts).is_err());
    }
    for parts in [Parts::Tasks(1), Parts::Shards] {
        assert_eq!(derived(&merge(5), &[single], parts), Ok(rows(Single)));
        assert!(derived(&merge(6), &[single], parts).is_ok_and(|rows| rows == single));
        assert!(derived(&skip, &[single], parts).is_err(), "2 + 4 rows of 5");
        assert!(derived(&partial, &[single], parts).is_err());
    }
    // A task runs all partitions of an operator, and each applies the limit.
    assert_eq!(derived(&limit, &[rows(Single)], Parts::Tasks(1)), Ok(single));
    assert_eq!(derived(&limit, &[rows(Single)], Parts::Shards), Ok(rows(Single)));
}

#[test]
fn a_requirement_on_no_keys_is_one_on_all_rows() {
    let by_nothing = aggregated(AggregateMode::FinalPartitioned, &[], hashed(2));
    refused(&by_nothing, &[Hashed], "needs all rows in one place");
    becomes(&aggregated(AggregateMode::FinalPartitioned, &["a"], hashed(2)), &[Hashed], Hashed);
}

#[test]
fn one_partition_in_each_part_has_no_keys_of_its_own() {
    let by_b = aggregated(AggregateMode::SinglePartitioned, &["b"], hashed(1));
    refused(&by_b, &[Hashed], "needs all rows of a key (b@1)");
    let by_a = aggregated(AggregateMode::SinglePartitioned, &["a"], hashed(1));
    becomes(&by_a, &[Hashed], Hashed);
    refused(&by_a, &[Arbitrary], "needs all rows of a key (a@0) in one place");
}

#[test]
fn inputs_side_by_side_are_both_partitioned_by_the_key() {
    let join = hash_join(&hashed(2), JoinType::Inner, PartitionMode::Partitioned, false);
    for other in [Single, Arbitrary, Broadcast] {
        refused(&join, &[Hashed, other], "needs all rows of a key");
        refused(&join, &[other, Hashed], "needs all rows of a key");
    }
    let auto = hash_join(&hashed(2), JoinType::Inner, PartitionMode::Auto, false);
    refused(&auto, &[Hashed, Hashed], "has not decided");
    let cross: Plan = Arc::new(CrossJoinExec::new(table(1), table(2)));
    refused(&cross, &[Single, Arbitrary], "needs all rows of its left input");
}

#[test]
fn an_operator_that_is_trusted_row_by_row_has_one_input() {
    let on = (column("a"), column("a"));
    let kind = JoinType::Inner;
    let sorted: Plan = Arc::new(SortExec::new(order(&["a"]), table(1)));
    let join = PiecewiseMergeJoinExec::try_new(sorted, table(2), on, Operator::Lt, kind, 2);
    // Only its first input was looked at.
    refused(&(Arc::new(join.expect("a join")) as _), &[Arbitrary, Arbitrary], "has 2 inputs");
}

#[test]
fn nothing_works_on_rows_that_every_part_has() {
    let twice = "would work on all rows in each of";
    let limit: Plan = Arc::new(GlobalLimitExec::new(table(1), 0, Some(3)));
    // Each shard computed the left side of a join for itself.
    refused(&limit, &[Broadcast], twice);
    refused(&aggregated(AggregateMode::Final, &[], table(1)), &[Broadcast], twice);
    let keep = vec![(column("a"), "a".to_owned())];
    let projected: Plan = Arc::new(ProjectionExec::try_new(keep, table(1)).expect("it fits"));
    refused(&projected, &[Broadcast], twice);
    let union: Plan = UnionExec::try_new(vec![table(1), table(1)]).expect("a union");
    refused(&union, &[Broadcast, Arbitrary], "would give the rows of an input again");
}

#[test]
fn a_buffer_changes_nothing() {
    let buffer = |input| -> Plan { Arc::new(BufferExec::new(input, 1024)) };
    becomes(&buffer(hashed(2)), &[Hashed], Hashed);
    becomes(&buffer(table(2)), &[Arbitrary], Arbitrary);
    refused(&buffer(table(2)), &[Broadcast], "would work on all rows in each of");
}

#[test]
fn the_top_rows_of_each_key_need_the_rows_of_the_key() {
    let top = |input| -> Plan {
        let kind = WindowFnKind::RowNumber;
        Arc::new(PartitionedTopKExec::try_new(input, order(&["a", "b"]), 1, 3, kind).expect("top"))
    };
    becomes(&top(hashed(2)), &[Hashed], Hashed);
    refused(&top(table(2)), &[Arbitrary], "needs all rows of a key (a@0)");
}

#[test]
fn a_symmetric_hash_join_needs_the_rows_of_the_key() {
    let join = |input: Plan, mode| -> Plan {
        let on = vec![(column("a"), column("a"))];
        let nulls = NullEquality::NullEqualsNothing;
        let (left, right) = (Arc::clone(&input), input);
        let kind = JoinType::Full;
        let join =
            SymmetricHashJoinExec::try_new(left, right, on, None, &kind, nulls, None, None, mode);
        Arc::new(join.expect("a join"))
    };
    let keyed = join(hashed(2), StreamJoinPartitionMode::Partitioned);
    becomes(&keyed, &[Hashed, Hashed], derived_hash(&keyed));
    refused(&keyed, &[Hashed, Arbitrary], "needs all rows of a key");
    let single = join(table(1), StreamJoinPartitionMode::SinglePartition);
    refused(&single, &[Arbitrary, Arbitrary], "needs all rows in one place");
}

#[test]
fn a_sort_merge_join_needs_the_rows_of_the_key() {
    let sorted: Plan =
        Arc::new(SortExec::new(order(&["a"]), hashed(2)).with_preserve_partitioning(true));
    let on = vec![(column("a"), column("a"))];
    let options = vec![Default::default()];
    let nulls = NullEquality::NullEqualsNothing;
    let (left, right, kind) = (Arc::clone(&sorted), sorted, JoinType::Inner);
    let join = SortMergeJoinExec::try_new(left, right, on, None, kind, options, nulls);
    let join: Plan = Arc::new(join.expect("a join"));
    becomes(&join, &[Hashed, Hashed], Hashed);
    refused(&join, &[Hashed, Arbitrary], "needs all rows of a key");
}

/// What a join of hashed inputs says itself about its rows.
fn derived_hash(plan: &Plan) -> TaskDistribution {
    match plan.output_partitioning() {
        Partitioning::Hash(..) => Hashed,
        _ => Arbitrary,
    }
}

#[test]
fn asynchronous_functions_are_row_by_row() {
    let call: Plan = Arc::new(AsyncFuncExec::try_new(vec![], table(2)).expect("it fits"));
    becomes(&call, &[Arbitrary], Arbitrary);
    refused(&call, &[Broadcast], "would work on all rows in each of");
}

#[test]
fn inputs_of_a_union_stay_apart() {
    let union: Plan = UnionExec::try_new(vec![hashed(2), hashed(2)]).expect("a union");
    becomes(&union, &[Single, Single], Arbitrary);
    becomes(&union, &[Hashed, Hashed], Arbitrary);
    let one = [rows(Single), rows(Single)];
    assert_eq!(derived(&union, &one, Parts::Tasks(1)), Ok(rows(Single)));
}

#[test]
fn a_shard_is_one_partition() {
    let interleaved: Plan =
        Arc::new(InterleaveExec::try_new(vec![hashed(2), hashed(2)]).expect("a union"));
    let inputs = [rows(Hashed), rows(Hashed)];
    assert_eq!(derived(&interleaved, &inputs, Parts::Tasks(2)), Ok(rows(Hashed)));
    assert!(derived(&interleaved, &inputs, Parts::Shards).is_err());
    let moved = hashed(2);
    assert_eq!(derived(&moved, &[rows(Arbitrary)], Parts::Tasks(2)), Ok(rows(Arbitrary)));
    assert!(derived(&moved, &[rows(Arbitrary)], Parts::Shards).is_err());
}

#[test]
fn what_is_not_known_runs_in_one_task() {
    refused(&table(2), &[], "is not known to be right");
    let renamed = Arc::new(Column::new("a", 0)) as Arc<dyn PhysicalExpr>;
    let keep = vec![(renamed, "c".to_owned())];
    let projected: Plan = Arc::new(ProjectionExec::try_new(keep, hashed(2)).expect("it fits"));
    becomes(&projected, &[Hashed], Hashed);
    assert_eq!(projected.output_partitioning().partition_count(), 2);
}
