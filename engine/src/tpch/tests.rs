//! Each row once and none missing, however a table is cut; the rows are those of the reference
//! generator; and a scan survives the wire.

use std::{collections::HashMap, sync::Arc};

use arrow::{array::RecordBatch, compute::concat_batches, record_batch::RecordBatchReader};
use datafusion::{physical_plan::ExecutionPlan, prelude::SessionContext};
use futures::TryStreamExt;
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator,
    PartSuppGenerator, RegionGenerator, SupplierGenerator,
};
use tpchgen_arrow::{
    CustomerArrow, LineItemArrow, NationArrow, OrderArrow, PartArrow, PartSuppArrow, RegionArrow,
    SupplierArrow,
};

use super::{GenerateOptions, Scan, TableName, generate, query, table_provider};

/// 15,000 orders: enough for three parts and a remainder.
const SCALE: f64 = 0.0101;

#[tokio::test]
async fn scans_give_the_rows_of_the_reference_generator() {
    for table in TableName::ALL {
        for (partitions, tasks) in [(1, 1), (3, 1), (2, 2), (1, 3), (7, 5)] {
            let columns: Vec<_> = (0..table.schema().fields().len()).collect();
            let scan = scan_of(table, partitions, columns.clone(), None);
            let mut rows = vec![];
            for share in scan.split(tasks).unwrap().unwrap() {
                rows.extend(collect(&share).await);
            }
            assert_eq!(
                sorted(&concat(table, &rows)),
                sorted(&reference(table)),
                "{table} in {partitions} partitions of {tasks} tasks"
            );
        }
    }
}

#[tokio::test]
async fn a_projection_has_the_same_values_and_counts_the_same_rows() {
    for table in TableName::ALL {
        let whole = reference(table);
        for column in 0..table.schema().fields().len() {
            let batches = collect(&scan_of(table, 2, vec![column], None)).await;
            let found = concat_batches(&batches[0].schema(), &batches).unwrap();
            assert_eq!(found, whole.project(&[column]).unwrap(), "{table} column {column}");
        }
        for (partitions, tasks) in [(1, 1), (3, 2)] {
            let shares = scan_of(table, partitions, vec![], None).split(tasks).unwrap().unwrap();
            let mut rows = 0;
            for share in shares {
                rows += collect(&share).await.iter().map(RecordBatch::num_rows).sum::<usize>();
            }
            assert_eq!(rows, whole.num_rows(), "{table}");
        }
    }
}

#[tokio::test]
async fn a_limit_stops_every_partition_early() {
    let scan = scan_of(TableName::LineItem, 3, vec![0], Some(10));
    let rows: usize = collect(&scan).await.iter().map(RecordBatch::num_rows).sum();
    assert_eq!(rows, 30);
}

#[tokio::test]
async fn tables_answer_sql() {
    let ctx = SessionContext::new();
    for table in TableName::ALL {
        ctx.register_table(table.as_str(), table_provider(table, SCALE)).unwrap();
    }
    let lines = i64::try_from(reference(TableName::LineItem).num_rows()).unwrap();
    for (sql, answer) in [
        ("select count(*) from orders", 15_150),
        ("select count(*) from lineitem where l_orderkey > 0", lines),
        ("select count(*) from lineitem", lines),
        ("select count(*) from (select * from lineitem limit 12345)", 12_345),
        (
            "select count(distinct n_regionkey) from nation, region where n_regionkey = r_regionkey",
            5,
        ),
    ] {
        let batches = ctx.sql(sql).await.unwrap().collect().await.unwrap();
        let counts = batches[0].column(0);
        let counts = counts.as_any().downcast_ref::<arrow::array::Int64Array>().unwrap();
        assert_eq!(counts.value(0), answer, "{sql}");
    }
}

#[test]
fn a_scan_survives_the_wire_and_nonsense_does_not_pass() {
    let scan = scan_of(TableName::PartSupp, 3, vec![0, 2], Some(7));
    let scan = scan.split(2).unwrap().unwrap().remove(1);
    let mut bytes = vec![];
    scan.encode(&mut bytes);
    let decoded = Scan::decode(&bytes).unwrap();
    assert_eq!(format!("{:?}", decoded.properties()), format!("{:?}", scan.properties()));
    assert_eq!((&decoded.parts, decoded.part_count), (&scan.parts, scan.part_count));
    assert_eq!((decoded.limit, &decoded.columns), (scan.limit, &scan.columns));
    for end in 0..bytes.len() {
        assert!(Scan::decode(&bytes[..end]).is_err(), "{end} bytes of {}", bytes.len());
    }
    for i in 0..bytes.len() {
        let mut wrong = bytes.clone();
        wrong[i] ^= 0xff;
        // Another valid scan or an error; never a panic, never a list longer than can be.
        let _ = Scan::decode(&wrong);
    }
}

#[test]
fn statistics_are_exact_but_for_lines() {
    for table in TableName::ALL {
        let rows = table.row_count(SCALE);
        let exact = reference(table).num_rows();
        if table == TableName::LineItem {
            let estimate = *rows.get_value().unwrap();
            assert!(rows.is_exact() == Some(false) && estimate.abs_diff(exact) < exact / 50);
        } else {
            assert_eq!((rows.is_exact(), rows.get_value()), (Some(true), Some(&exact)), "{table}");
        }
    }
}

#[tokio::test]
async fn generated_files_hold_the_tables() {
    for parts in [1, 3] {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("data");
        let options = GenerateOptions { scale: SCALE, out: out.clone(), parts };
        let generated = generate(&options).unwrap();
        assert_eq!(generated.files, 2 + 6 * parts);
        let mut rows = 0;
        let ctx = SessionContext::new();
        for table in TableName::ALL {
            let path = out.join(table.as_str()).join("");
            let data = ctx.read_parquet(path.to_str().unwrap(), Default::default()).await.unwrap();
            assert_eq!(data.schema().as_arrow().fields(), table.schema().fields());
            let batches = data.collect().await.unwrap();
            let found = concat(table, &batches);
            rows += found.num_rows() as u64;
            assert_eq!(sorted(&found), sorted(&reference(table)), "{table}");
        }
        assert_eq!(generated.rows, rows);
        let error = generate(&options).unwrap_err().to_string();
        assert!(error.contains("is not empty"), "{error}");
    }
}

#[test]
fn a_failed_generation_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("data");
    let options = GenerateOptions { scale: SCALE, out: out.clone(), parts: 1 };
    let stop = std::sync::atomic::AtomicBool::new(true);
    super::generate_until(&options, &stop).unwrap_err();
    assert!(!out.exists());
    // A table's folder with files of the user is left as it was.
    std::fs::create_dir_all(out.join("orders")).unwrap();
    std::fs::write(out.join("orders/mine"), "x").unwrap();
    generate(&options).unwrap_err();
    let left: Vec<_> = std::fs::read_dir(&out).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["orders"]);
    assert!(out.join("orders/mine").exists());
    for scale in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let options = GenerateOptions { scale, out: out.clone(), parts: 1 };
        generate(&options).unwrap_err();
    }
}

#[test]
fn there_are_22_queries() {
    assert!(query(0).is_none() && query(23).is_none());
    for n in 1..=22 {
        let text = query(n).unwrap();
        assert!(text.starts_with("/* ") && text.contains("select") && !text.contains(';'), "{n}");
    }
}

fn scan_of(table: TableName, partitions: u32, columns: Vec<usize>, limit: Option<usize>) -> Scan {
    let partitions = if super::part::divisible(table) { partitions } else { 1 };
    Scan::try_new(table, SCALE, (1..=partitions).collect(), columns, limit).unwrap()
}

async fn collect(scan: &Scan) -> Vec<RecordBatch> {
    let ctx = SessionContext::new().task_ctx();
    let mut batches = vec![];
    for partition in 0..scan.properties().partitioning.partition_count() {
        let stream = scan.execute(partition, Arc::clone(&ctx)).unwrap();
        batches.extend(stream.try_collect::<Vec<_>>().await.unwrap());
    }
    batches
}

fn concat(table: TableName, batches: &[RecordBatch]) -> RecordBatch {
    concat_batches(&table.schema(), batches).unwrap()
}

/// How often each row is there, as text.
fn sorted(batch: &RecordBatch) -> HashMap<String, usize> {
    let columns: Vec<_> = batch
        .columns()
        .iter()
        .map(|column| {
            arrow::util::display::ArrayFormatter::try_new(column, &Default::default()).unwrap()
        })
        .collect();
    let mut rows = HashMap::new();
    for i in 0..batch.num_rows() {
        let row: Vec<_> = columns.iter().map(|column| column.value(i).to_string()).collect();
        *rows.entry(row.join("|")).or_default() += 1;
    }
    rows
}

/// The table as the crate that we take the rows from makes it.
fn reference(table: TableName) -> RecordBatch {
    fn all(reader: impl RecordBatchReader) -> RecordBatch {
        let schema = reader.schema();
        concat_batches(&schema, &reader.collect::<Result<Vec<_>, _>>().unwrap()).unwrap()
    }
    match table {
        TableName::Nation => all(NationArrow::new(NationGenerator::new(SCALE, 1, 1))),
        TableName::Region => all(RegionArrow::new(RegionGenerator::new(SCALE, 1, 1))),
        TableName::Part => all(PartArrow::new(PartGenerator::new(SCALE, 1, 1))),
        TableName::Supplier => all(SupplierArrow::new(SupplierGenerator::new(SCALE, 1, 1))),
        TableName::PartSupp => all(PartSuppArrow::new(PartSuppGenerator::new(SCALE, 1, 1))),
        TableName::Customer => all(CustomerArrow::new(CustomerGenerator::new(SCALE, 1, 1))),
        TableName::Orders => all(OrderArrow::new(OrderGenerator::new(SCALE, 1, 1))),
        TableName::LineItem => all(LineItemArrow::new(LineItemGenerator::new(SCALE, 1, 1))),
    }
}
