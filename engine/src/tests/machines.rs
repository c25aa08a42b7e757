//! Queries on machines that are tasks of this process: the same rows as without machines, and how
//! EXPLAIN shows the stages.

use super::*;

/// Queries over the TPC-H tables, each with one right answer in one order.
const QUERIES: &[&str] = &[
    "select l_returnflag, l_linestatus, count(*) as n, sum(l_quantity) as q from lineitem \
     group by l_returnflag, l_linestatus order by 1, 2",
    "select n_name, count(*) as n from customer join nation on c_nationkey = n_nationkey \
     group by n_name order by n_name",
    "select o_orderpriority, count(*) as n from orders where exists \
     (select 1 from lineitem where l_orderkey = o_orderkey and l_commitdate < l_receiptdate) \
     group by o_orderpriority order by 1",
    "select l_orderkey, sum(l_extendedprice) as s from lineitem group by l_orderkey \
     order by s desc, l_orderkey limit 7",
    "select count(*) as n, min(o_orderdate) as d from orders",
    "select sum(ps_supplycost * ps_availqty) > (select avg(l_extendedprice) from lineitem) as b \
     from partsupp",
    "select c_custkey, o_orderkey from customer left join orders on c_custkey = o_custkey \
     order by 1, 2 limit 20",
    "select r_name, rank() over (order by r_name) as k from region order by 1",
];

#[tokio::test]
async fn machines_give_the_rows_that_one_process_gives() {
    let alone = here().await;
    alone.register_tpch(0.05).unwrap();
    let session = on_machines(3).await;
    session.register_tpch(0.05).unwrap();
    assert_eq!(session.machines().len(), 3);
    for sql in QUERIES {
        assert_eq!(table(&session, sql).await, table(&alone, sql).await, "{sql}");
    }
    session.shutdown().await;
}

#[tokio::test]
async fn explain_shows_the_cut() {
    let session = on_machines(2).await;
    session.register_tpch(0.05).unwrap();
    let sql = QUERIES[0];
    let shown = table(&session, &format!("explain {sql}")).await;
    assert!(shown.contains("logical_plan") && shown.contains("NetworkShuffleExec"), "{shown}");
    let stages = table(&session, &format!("explain stages {sql}")).await;
    assert!(stages.contains("shuffle") && stages.contains("m0, m1"), "{stages}");
    let done = table(&session, &format!("explain analyze {sql}")).await;
    assert!(done.contains("NetworkShuffleExec") && done.contains("output_rows"), "{done}");
    session.shutdown().await;
}

#[tokio::test]
async fn settings_hold_on_the_machines_too() {
    let session = on_machines(2).await;
    session.register_tpch(0.05).unwrap();
    rows(&session, "set datafusion.execution.time_zone = '+02:00'").await;
    rows(&session, "set datafusion.execution.batch_size = 100").await;
    rows(&session, "set datafusion.execution.target_partitions = 1").await;
    let sql = "select count(*) as n from (select l_orderkey from lineitem group by l_orderkey)";
    assert!(table(&session, sql).await.contains("75000"));
    session.shutdown().await;
}

#[tokio::test]
async fn tables_of_the_driver_join_those_on_machines() {
    let session = on_machines(2).await;
    session.register_tpch(0.05).unwrap();
    rows(&session, "create table few as select * from (values (1), (2), (3)) as v(k)").await;
    let sql = "select count(distinct o_orderkey) as n from orders join few on o_orderkey = k";
    assert!(table(&session, sql).await.contains("| 3 |"));
    session.shutdown().await;
}

#[tokio::test]
async fn an_error_on_a_machine_is_the_users_and_is_not_retried() {
    let session = on_machines(2).await;
    session.register_tpch(0.05).unwrap();
    let sql = "select sum(l_orderkey / (l_linenumber - 1)) from lineitem group by l_partkey";
    let failed = error(&session, sql).await;
    assert!(failed.is_user_error(), "{failed:?}");
    assert!(failed.to_string().contains("zero"), "{failed}");
    assert_eq!(session.machines().len(), 2);
    session.shutdown().await;
}

#[tokio::test]
async fn a_large_table_of_the_driver_is_not_sent_around() {
    let session = on_machines(2).await;
    session.register_tpch(0.05).unwrap();
    let many = "create table many as select value as k, repeat('x', 50) as t from range(600000)";
    rows(&session, many).await;
    let sql = "select count(*) as n from orders join many on o_orderkey = k";
    let counted = table(&session, sql).await;
    assert!(counted.contains("75000"), "{counted}");
    session.shutdown().await;
}
