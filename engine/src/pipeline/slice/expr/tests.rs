//! How plans are cut that DataFusion does not make of the queries in `tests/slices/expr.rs`, and
//! what only the shape of a cut plan shows.

use std::panic::Location;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::{JoinType, NullEquality};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::col;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode, PhysicalGroupBy};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, PartitionMode};
use datafusion::physical_plan::limit::LocalLimitExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{ExecutionPlan, Partitioning};

use super::Call;
use super::cut::{Stop, cut};
use super::fragment::Values;
use super::leaf::scan_of;
use crate::pipeline::slice::tree::node::{Node, Op, Split};

type Plan = Arc<dyn ExecutionPlan>;

fn call() -> Call {
    Call { verb: "sql", place: Location::caller() }
}

/// A slice of several shards.
fn scan() -> Plan {
    let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
    let plan = Arc::new(EmptyExec::new(Arc::clone(&schema)));
    let source = Values { plan, schema: Arc::clone(&schema) };
    let node = Node::new("const_", Location::caller(), schema, Op::Source(Arc::new(source)));
    Arc::new(scan_of(Arc::new(node), 2))
}

fn column() -> Arc<dyn PhysicalExpr> {
    col("a", &scan().schema()).expect("a column")
}

fn hashed() -> Plan {
    let by = Partitioning::Hash(vec![column()], 2);
    Arc::new(RepartitionExec::try_new(scan(), by).expect("a repartition"))
}

fn cut_of(plan: &Plan) -> Result<Op, Stop> {
    cut(plan, call(), &plan.schema(), Arc::new(|_, _| Ok(())))
}

fn refused(plan: &Plan, reason: &str) {
    match cut_of(plan) {
        Err(Stop::Unproven(why)) => assert!(why.contains(reason), "{why}"),
        Err(Stop::Failed(error)) => panic!("{error}"),
        Ok(_) => panic!("it was cut"),
    }
}

#[test]
fn a_limit_that_only_shards_apply_is_not_cut() {
    let limited: Plan = Arc::new(LocalLimitExec::new(scan(), 5));
    refused(&limited, "limit of 5 rows");
    let gathered =
        |fetch| CoalescePartitionsExec::new(Arc::clone(&limited)).with_fetch(Some(fetch));
    refused(&(Arc::new(gathered(6)) as _), "limit of 5 rows");
    assert!(cut_of(&(Arc::new(gathered(5)) as _)).is_ok());
    let by = PhysicalGroupBy::new_single(vec![(column(), "a".to_owned())]);
    let schema = limited.schema();
    let mode = AggregateMode::Partial;
    let groups = AggregateExec::try_new(mode, by, vec![], vec![], limited, schema);
    refused(&(Arc::new(groups.expect("it fits")) as _), "up to 5 rows of each part");
}

#[test]
fn a_null_aware_join_of_shards_is_not_cut() {
    let join = |null_aware| -> Plan {
        let on = vec![(column(), column())];
        let mode = PartitionMode::Partitioned;
        let nulls = NullEquality::NullEqualsNothing;
        let (left, right, kind) = (hashed(), hashed(), JoinType::LeftAnti);
        let join =
            HashJoinExec::try_new(left, right, on, None, &kind, None, mode, nulls, null_aware);
        Arc::new(join.expect("a join"))
    };
    refused(&join(true), "whether any row at all has a null key");
    assert!(cut_of(&join(false)).is_ok());
}

#[test]
fn the_left_side_of_a_join_is_computed_once() {
    let limited: Plan = Arc::new(CoalescePartitionsExec::new(scan()).with_fetch(Some(3)));
    let join: Plan = Arc::new(CrossJoinExec::new(limited, scan()));
    let Ok(Op::Wide { inputs, work, .. }) = cut_of(&join) else { panic!("it is cut") };
    let operators = work.describe().expect("it has operators");
    assert!(!operators.contains("GlobalLimitExec"), "in each shard: {operators}");
    let left = &inputs[0];
    assert!(matches!(left.split, Split::One));
    let Op::Wide { work, .. } = &left.input.op else { panic!("it is gathered before") };
    let operators = work.describe().expect("it has operators");
    assert!(operators.contains("GlobalLimitExec"), "{operators}");
}
