//! The stage graph, as shown by EXPLAIN STAGES.

use bigslice_planner::{DRIVER_STAGE, Exchange, StageGraph};

use crate::cluster::{Cluster, Shape, plan};
use crate::data::Tables;

async fn graph(sql: &str, workers: usize) -> StageGraph {
    let tables = Tables::write().await;
    let cluster = Cluster::start();
    let context = cluster.session(Shape::guarded(workers, 2));
    tables.register(&context).await;
    StageGraph::of(&plan(&context, sql).await.expect("it can be planned"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_aggregation_has_three_stages() {
    let graph = graph("SELECT k, sum(x) FROM facts GROUP BY k", 3).await;
    let [driver, reduce, scan] = graph.stages.as_slice() else { panic!("{graph}") };
    assert_eq!((driver.id, driver.tasks), (DRIVER_STAGE, 1));
    assert_eq!(driver.inputs[0].exchange, Exchange::Coalesce);
    assert_eq!((reduce.tasks, reduce.partitions), (3, 2));
    let [input] = reduce.inputs.as_slice() else { panic!("{graph}") };
    assert_eq!(input.stage, scan.id);
    assert_eq!(input.exchange, Exchange::Shuffle { by: vec!["k@0".to_owned()] });
    // Each of the three tasks above reads two of the six partitions.
    assert_eq!((scan.tasks, scan.partitions), (3, 6));
    assert!(scan.inputs.is_empty() && scan.machines.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_broadcasts_its_small_side() {
    let graph = graph("SELECT f.id, d.name FROM facts f JOIN dims d ON f.k = d.k", 2).await;
    let exchanges: Vec<_> =
        graph.stages.iter().flat_map(|stage| &stage.inputs).map(|input| &input.exchange).collect();
    assert_eq!(exchanges, [&Exchange::Coalesce, &Exchange::Broadcast], "{graph}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_that_is_not_cut_has_one_stage() {
    let graph = graph("SELECT 1", 2).await;
    assert_eq!(graph.stages.len(), 1);
    assert!(graph.to_string().starts_with("stage 0 (driver)\n  ProjectionExec"), "{graph}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_printed_graph_fits_a_terminal() {
    let graph = graph("SELECT g, k, sum(x), max(y), min(id) FROM facts GROUP BY g, k", 3).await;
    let printed = graph.to_string();
    assert!(printed.lines().all(|line| line.chars().count() <= 100), "{printed}");
    assert!(!printed.contains("parquet:") && !printed.contains("file_groups"), "{printed}");
    assert!(printed.contains("stage 1: 3 tasks, 6 partitions each"), "{printed}");
    assert!(printed.contains("<- stage 1: shuffle by g@0, k@1"), "{printed}");
}
