//! The 22 queries of TPC-H at two scales, on each system, in 1, 2 and 8 partitions, over Parquet
//! files and over generated tables. An independent engine made the answers from the same files: see
//! `testdata/tpch`.
//!
//! Decimals must be equal to the last digit, floats to nine digits, and rows must be in the order
//! of the query. On machines, every query must have been distributed.

use std::fmt::Write;
use std::path::Path;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use bigslice::SystemSpec;
use bigslice::tpch::{GenerateOptions, TableName, generate, query};
use tempfile::TempDir;

use crate::cells;
use crate::harness::{World, testdata};

/// Partitions of a task.
const PARTITIONS: [usize; 3] = [1, 2, 8];

/// Maximum relative difference of floats: sums of floats depend on the order of their terms.
const FLOAT_DIFFERENCE_MAX: f64 = 1e-9;

const HERE: SystemSpec = SystemSpec::Here;
const IN_PROCESS: SystemSpec = SystemSpec::InProcess { machines: 3 };
const LOCAL: SystemSpec = SystemSpec::Local { machines: 2 };

#[tokio::test(flavor = "multi_thread")]
async fn files_at_a_hundredth_in_this_process() {
    check_files(0.01, HERE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_at_a_hundredth_on_three_machines_in_process() {
    check_files(0.01, IN_PROCESS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_at_a_hundredth_on_two_processes() {
    check_files(0.01, LOCAL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_at_a_tenth_in_this_process() {
    check_files(0.1, HERE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_at_a_tenth_on_three_machines_in_process() {
    check_files(0.1, IN_PROCESS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_at_a_tenth_on_two_processes() {
    check_files(0.1, LOCAL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_tables_in_this_process() {
    check(0.01, HERE, 2, Tables::Generated).await;
    check(0.1, HERE, 8, Tables::Generated).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_tables_on_three_machines_in_process() {
    check(0.01, IN_PROCESS, 2, Tables::Generated).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_tables_on_two_processes() {
    check(0.01, LOCAL, 8, Tables::Generated).await;
    check(0.1, LOCAL, 2, Tables::Generated).await;
}

/// The location of the tables.
#[derive(Clone, Copy)]
enum Tables<'a> {
    Parquet(&'a Path),
    Generated,
}

/// Several files for some tables, one for the others: users have both.
async fn check_files(scale: f64, system: SystemSpec) {
    let folder = TempDir::new().unwrap();
    let parts = if system == LOCAL { 3 } else { 1 };
    let out = folder.path().join("tpch");
    let options = GenerateOptions { scale, out: out.clone(), parts };
    tokio::task::spawn_blocking(move || generate(&options)).await.unwrap().unwrap();
    for partitions in PARTITIONS {
        check(scale, system.clone(), partitions, Tables::Parquet(&out)).await;
    }
}

/// Runs the 22 queries and compares.
async fn check(scale: f64, system: SystemSpec, partitions: usize, tables: Tables<'_>) {
    let world = World::new(system.clone(), |builder| {
        let builder = builder.partitions(partitions);
        let builder = builder.set("datafusion.optimizer.repartition_file_min_size", "1");
        match system.machines() {
            0 => builder,
            // The tables are small: without this, one task would read each.
            _ => builder.set("distributed.file_scan_config_bytes_per_partition", "1"),
        }
    })
    .await;
    match tables {
        Tables::Generated => world.session.register_tpch(scale).unwrap(),
        Tables::Parquet(folder) => register(&world, folder).await,
    }
    let mut failures = String::new();
    for n in 1..=22 {
        let sql = query(n).unwrap();
        let answer = Answer::read(scale, n);
        let rows = match world.session.sql(sql).await {
            Ok(query) => query.collect().await,
            Err(error) => Err(error),
        };
        let verdict = match rows {
            Ok(rows) => answer.compare(&rows, sql),
            Err(error) => Err(error.to_string()),
        };
        let verdict = match verdict {
            Ok(()) if system.machines() > 0 => shared_out(&world, sql, system.machines()).await,
            verdict => verdict,
        };
        if let Err(difference) = verdict {
            writeln!(failures, "query {n}: {difference}").unwrap();
        }
    }
    let log = world.log().join("\n");
    world.close().await;
    assert!(failures.is_empty(), "sf {scale}, {system}, {partitions}:\n{failures}\n{log}");
}

async fn register(world: &World, folder: &Path) {
    for table in TableName::ALL {
        let place = folder.join(table.as_str());
        let place = place.display();
        let sql = format!("CREATE EXTERNAL TABLE {table} STORED AS PARQUET LOCATION '{place}/'");
        world.run(&sql).await;
    }
}

/// Whether the query's plan has a stage with a task on every machine.
async fn shared_out(world: &World, sql: &str, machines: usize) -> Result<(), String> {
    let stages = world.session.sql(&format!("EXPLAIN STAGES {sql}")).await;
    let stages = stages.map_err(|error| error.to_string())?.collect().await;
    let stages = cells::rows(&stages.map_err(|error| error.to_string())?);
    let tasks = stages.iter().filter_map(|stage| stage[1].parse::<usize>().ok()).max();
    if tasks == Some(machines) {
        Ok(())
    } else {
        Err(format!("no stage has {machines} tasks:\n{stages:#?}"))
    }
}

/// The type of a column in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Exact,
    Decimal,
    Float,
}

/// The answer to a query: the names and types of the columns, and the rows as text. `None` is null.
struct Answer {
    names: Vec<String>,
    kinds: Vec<Kind>,
    rows: Vec<Vec<Option<String>>>,
}

/// Our value: its text and, for a decimal, the digits after its point.
#[derive(Clone)]
struct Value {
    text: Option<String>,
    scale: Option<i8>,
}

impl Answer {
    fn read(scale: f64, n: usize) -> Self {
        let path = testdata().join(format!("tpch/sf{scale}/q{n:02}.csv"));
        let text = std::fs::read_to_string(&path).unwrap();
        let mut lines = text.lines().map(fields);
        let header = lines.next().unwrap();
        let header: Vec<_> = header.iter().map(|cell| cell.split_once(':').unwrap()).collect();
        let kind = |kind| match kind {
            "decimal" => Kind::Decimal,
            "float" => Kind::Float,
            "int" | "date" | "text" => Kind::Exact,
            other => panic!("{other} is no kind of column"),
        };
        let names = header.iter().map(|(name, _)| (*name).to_owned()).collect();
        let is_text: Vec<_> = header.iter().map(|(_, kind)| *kind == "text").collect();
        let kinds = header.iter().map(|(_, name)| kind(*name)).collect();
        let value = |(cell, is_text): (String, &bool)| {
            if cell.is_empty() && !is_text { None } else { Some(cell) }
        };
        let rows = lines.map(|row| row.into_iter().zip(&is_text).map(value).collect()).collect();
        Self { names, kinds, rows }
    }

    /// The first difference, if any.
    fn compare(&self, batches: &[RecordBatch], sql: &str) -> Result<(), String> {
        let mut found: Vec<Vec<Value>> = batches.iter().flat_map(values).collect();
        if found.len() != self.rows.len() {
            return Err(format!("{} rows, not {}", found.len(), self.rows.len()));
        }
        let mut expected = self.rows.clone();
        // Rows with equal sort keys may come in any order.
        let keys = self.ordered_by(sql);
        let mut start = 0;
        while start < expected.len() {
            let same =
                |row: &Vec<Option<String>>| keys.iter().all(|&k| row[k] == expected[start][k]);
            let end = start + expected[start..].iter().take_while(|row| same(row)).count();
            expected[start..end].sort_by_key(|row| self.identity(row, |cell| cell.clone()));
            found[start..end].sort_by_key(|row| self.identity(row, |value| value.text.clone()));
            start = end;
        }
        for (i, (expected, found)) in expected.iter().zip(&found).enumerate() {
            for (column, kind) in self.kinds.iter().enumerate() {
                if !same(*kind, expected[column].as_deref(), &found[column]) {
                    let (name, found) = (&self.names[column], &found[column].text);
                    let expected = &expected[column];
                    return Err(format!("row {i}: {name} is {found:?}, not {expected:?}"));
                }
            }
        }
        Ok(())
    }

    /// The columns of the query's ORDER BY.
    fn ordered_by(&self, sql: &str) -> Vec<usize> {
        let Some((_, keys)) = sql.rsplit_once("order by ") else { return vec![] };
        let keys = keys.lines().next().unwrap().split(", ");
        keys.map(|key| key.split(' ').next().unwrap())
            .map(|key| self.names.iter().position(|name| name == key).unwrap())
            .collect()
    }

    /// The part of a row that identifies it among rows with equal sort keys: every value with only
    /// one spelling.
    fn identity<C>(&self, row: &[C], text: impl Fn(&C) -> Option<String>) -> Vec<Option<String>> {
        let exact = row.iter().zip(&self.kinds).filter(|(_, kind)| **kind == Kind::Exact);
        exact.map(|(cell, _)| text(cell)).collect()
    }
}

/// The cells of a line of CSV. No cell contains a line break.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        let field = fields.last_mut().unwrap();
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            c => field.push(c),
        }
    }
    fields
}

fn values(batch: &RecordBatch) -> Vec<Vec<Value>> {
    let options = FormatOptions::default();
    let columns: Vec<_> = batch
        .columns()
        .iter()
        .map(|column| (column, ArrayFormatter::try_new(column, &options).unwrap()))
        .collect();
    let value = |row, (column, formatter): &(&_, ArrayFormatter<'_>)| {
        let column: &dyn Array = column;
        let text = column.is_valid(row).then(|| formatter.value(row).to_string());
        let scale = match column.data_type() {
            DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => Some(*scale),
            _ => None,
        };
        Value { text, scale }
    };
    let row = |row| columns.iter().map(|column| value(row, column)).collect();
    (0..batch.num_rows()).map(row).collect()
}

fn same(kind: Kind, expected: Option<&str>, found: &Value) -> bool {
    let (expected, text) = match (expected, found.text.as_deref()) {
        (Some(expected), Some(text)) => (expected, text),
        (expected, text) => return expected == text,
    };
    match kind {
        Kind::Exact => expected == text,
        Kind::Decimal => found.scale.is_some() && without_zeros(expected) == without_zeros(text),
        Kind::Float => {
            let (expected, number): (f64, f64) = (expected.parse().unwrap(), text.parse().unwrap());
            // An average or quotient of decimals is a decimal in our results, rounded to its last
            // digit.
            let digit = found.scale.map_or(0.0, |scale| 10f64.powi(-i32::from(scale)));
            (expected - number).abs() <= (expected.abs() * FLOAT_DIFFERENCE_MAX).max(digit)
        }
    }
}

fn without_zeros(decimal: &str) -> &str {
    match decimal.contains('.') {
        true => decimal.trim_end_matches('0').trim_end_matches('.'),
        false => decimal,
    }
}
