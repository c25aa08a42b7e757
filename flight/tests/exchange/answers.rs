//! Correct rows over machines: ordinary queries, wide rows, and merges that once could hang.

use bigslice_flight::{Compression, ExchangeOptions};

use crate::harness::{Cluster, Data, options, plan_text, text};

#[tokio::test(flavor = "multi_thread")]
async fn three_machines_answer_like_one_process() {
    let cluster = Cluster::start(3, Data::small()).await;
    let plain = cluster.plain().await;
    let queries = [
        "select count(*), sum(id), min(s), max(s) from t",
        "select k, count(*) n, sum(id) from t group by k order by k",
        "select u.name, count(*) n from t join u on t.k = u.k group by u.name order by u.name",
        "select t.id, u.name from t left join u on t.k = u.k and u.k > 50 order by t.id limit 100",
        "select id, s from t order by s desc, id limit 50",
        "select a.k, count(*) from t a join t b on a.id = b.id + 1 group by a.k order by a.k",
        "select id, sum(id) over (partition by k order by id) x from t order by id limit 200",
        "select distinct k from t where k in (select k from u where k < 40) order by k",
        "select k, id from t where id < 0 order by id",
        "select arrow_cast(s, 'Dictionary(Int32, Utf8)') d, count(*) from t group by 1 order by 1 limit 5",
    ];
    let mut answers = Vec::new();
    for sql in queries {
        answers.push(text(&plain, sql).await);
    }
    let settings = [
        (1, Compression::None),
        (2, Compression::Lz4),
        (3, Compression::Zstd),
        (8, Compression::None),
    ];
    for (partitions, compression) in settings {
        let session =
            cluster.session(partitions, ExchangeOptions { compression, ..options() }).await;
        for (sql, answer) in queries.iter().zip(&answers) {
            assert_eq!(&text(&session, sql).await, answer, "{sql}, {partitions} partitions");
        }
        let plan = plan_text(&session, queries[1]).await;
        assert!(plan.contains("NetworkShuffleExec"), "not distributed: {plan}");
    }
    cluster.fleet.shutdown().await;
}

/// Each machine has 8 sorted partitions that the driver merges one after the other: the rows of
/// partitions that must wait must not block those that are read.
#[tokio::test(flavor = "multi_thread")]
async fn a_merge_of_partitions_one_after_the_other_does_not_hang() {
    let cluster = Cluster::start(2, Data::new(16, 40_000, 200)).await;
    let small_buffers = ExchangeOptions { stream_buffer_bytes: 64 * 1024, ..options() };
    let session = cluster.session(8, small_buffers).await;
    // The text is sent, but only its length comes out of the head stage.
    let sql = "select sum(length(s)), max(r) from \
               (select s, row_number() over (order by id) r from t)";
    let plan = plan_text(&session, sql).await;
    for operator in ["SortPreservingMergeExec", "NetworkCoalesceExec"] {
        assert!(plan.contains(operator), "no {operator}: {plan}");
    }
    assert!(text(&session, sql).await.contains("| 128000000 "));
    cluster.fleet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wide_rows_arrive_whole_even_if_one_of_them_is_larger_than_a_message_should_be() {
    let cluster = Cluster::start(2, Data::small()).await;
    let session = cluster.session(2, options()).await;
    // About 150 MB of text in one batch of 1,500 rows, through a shuffle and into the driver.
    let wide = "select id, wide(100000) s from t where id < 1500";
    let sql = format!("select count(*), sum(length(s)) from ({wide} order by id)");
    assert!(text(&session, &sql).await.contains("150000000"));
    let sql = format!("select count(*) from (select s, count(*) from ({wide}) group by s)");
    assert!(text(&session, &sql).await.contains(" 1 "), "one text, many times");

    // One row of 100 MB, which is sent because the rows are numbered in one place.
    let one = "select id, wide(id + 100000000) s from t where id = 7";
    let sql = format!(
        "select sum(length(s)), max(r) from (select s, row_number() over (order by id) r from ({one}))"
    );
    assert!(text(&session, &sql).await.contains("| 100000007 "));
    assert!(text(&session, "select count(*) from t").await.contains("16000"));
    cluster.fleet.shutdown().await;
}
