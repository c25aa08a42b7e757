//! Small tables in a temporary folder, in several formats and layouts.

use std::path::Path;

use datafusion::prelude::{SessionConfig, SessionContext};
use tempfile::TempDir;

/// The tables of one test.
pub(crate) struct Tables {
    folder: TempDir,
}

/// Rows of the main table.
pub(crate) const FACTS: usize = 3_000;

impl Tables {
    /// Writes all tables.
    pub(crate) async fn write() -> Self {
        let tables = Self { folder: TempDir::new().expect("a folder for test data") };
        let config = SessionConfig::new().with_target_partitions(1);
        let writer = SessionContext::new_with_config(config);
        for part in 0..3 {
            // Three files of different sizes; keys are skewed, some values are null.
            let (first, last) = [(0, 499), (500, 1999), (2000, FACTS - 1)][part];
            tables.copy(&writer, &facts(first, last), &format!("facts/{part}.parquet")).await;
            tables.copy(&writer, &facts(first, last), &format!("facts_csv/{part}.csv")).await;
            tables.copy(&writer, &facts(first, last), &format!("facts_json/{part}.json")).await;
        }
        tables.copy(&writer, &facts(0, FACTS - 1), "one_file/0.parquet").await;
        tables.copy(&writer, &facts(0, FACTS - 1), "facts_arrow/0.arrow").await;
        let zipped = format!("{} ", facts(0, FACTS - 1));
        tables.copy_options(&writer, &zipped, "facts_gz/0.csv.gz", ZIPPED).await;
        tables.copy(&writer, QUOTED, "quoted/0.csv").await;
        let sorted = format!("{} ORDER BY k, id", facts(0, FACTS - 1));
        tables.copy(&writer, &sorted, "sorted/0.parquet").await;
        for part in 0..2 {
            let sorted = format!(
                "SELECT * FROM ({}) WHERE id % 2 = {part} ORDER BY k, id",
                facts(0, FACTS - 1)
            );
            tables.copy(&writer, &sorted, &format!("sorted2/{part}.parquet")).await;
        }
        for part in 0..6 {
            let sorted = format!("{} ORDER BY id", facts(part * 500, part * 500 + 499));
            tables.copy(&writer, &sorted, &format!("sorted6/{part}.parquet")).await;
        }
        tables.copy(&writer, DIMENSION, "dims/0.parquet").await;
        tables.copy(&writer, OTHER, "others/0.parquet").await;
        tables.copy(&writer, OTHER, "others/1.parquet").await;
        tables
            .copy(&writer, &format!("SELECT * FROM ({DIMENSION}) WHERE false"), "empty/0.parquet")
            .await;
        tables
            .copy(&writer, &format!("SELECT * FROM ({DIMENSION}) LIMIT 1"), "single/0.parquet")
            .await;
        tables
    }

    async fn copy(&self, writer: &SessionContext, query: &str, file: &str) {
        // Many row groups, so that a file can be shared among tasks.
        let options =
            if file.ends_with("parquet") { "OPTIONS (format.max_row_group_size 100)" } else { "" };
        self.copy_options(writer, query, file, options).await;
    }

    async fn copy_options(&self, writer: &SessionContext, query: &str, file: &str, options: &str) {
        let path = self.folder.path().join(file);
        std::fs::create_dir_all(path.parent().expect("it has a folder")).expect("can be made");
        let format = if file.contains(".csv") {
            "STORED AS CSV"
        } else if file.ends_with("json") {
            "STORED AS JSON"
        } else if file.ends_with("arrow") {
            "STORED AS ARROW"
        } else {
            "STORED AS PARQUET"
        };
        let sql = format!("COPY ({query}) TO '{}' {format} {options}", path.display());
        let copied = writer.sql(&sql).await.expect("the copy can be planned").collect().await;
        copied.expect("the copy can be written");
    }

    /// Registers all tables with a session.
    pub(crate) async fn register(&self, context: &SessionContext) {
        for (name, format, options) in [
            ("facts", "PARQUET", ""),
            ("one_file", "PARQUET", ""),
            ("facts_csv", "CSV", "OPTIONS (format.has_header true)"),
            ("facts_gz", "CSV", "OPTIONS (format.has_header true, format.compression gzip)"),
            ("quoted", "CSV", "OPTIONS (format.has_header true, format.newlines_in_values true)"),
            ("facts_json", "JSON", ""),
            ("facts_arrow", "ARROW", ""),
            ("sorted", "PARQUET", "WITH ORDER (k ASC, id ASC)"),
            ("sorted2", "PARQUET", "WITH ORDER (k ASC, id ASC)"),
            ("sorted6", "PARQUET", "WITH ORDER (id ASC)"),
            ("dims", "PARQUET", ""),
            ("others", "PARQUET", ""),
            ("empty", "PARQUET", ""),
            ("single", "PARQUET", ""),
        ] {
            let columns = if name == "facts_gz" || name == "facts_csv" { FACT_COLUMNS } else { "" };
            // An order can only be declared on named columns.
            let columns = if options.starts_with("WITH ORDER") { FACT_COLUMNS } else { columns };
            let (order, options) =
                if options.starts_with("WITH") { (options, "") } else { ("", options) };
            let sql = format!(
                "CREATE EXTERNAL TABLE {name} {columns} STORED AS {format} {order} LOCATION '{}' {options}",
                location(self.folder.path(), name)
            );
            let created = context.sql(&sql).await;
            created.unwrap_or_else(|err| panic!("{name}: {err}"));
        }
    }
}

fn location(folder: &Path, name: &str) -> String {
    format!("{}/", folder.join(name).display())
}

const ZIPPED: &str = "OPTIONS (format.compression gzip, format.has_header true)";
const FACT_COLUMNS: &str = "(id BIGINT, k BIGINT, g VARCHAR, x BIGINT, y BIGINT, m DECIMAL(12, 2))";
/// Text in which every value looks like many rows.
const QUOTED: &str = "SELECT value AS x, repeat(concat('\n1,', value), 200) AS t \
     FROM generate_series(1, 60)";
const DIMENSION: &str = "SELECT value AS k, concat('name ', value) AS name, value % 3 AS c \
     FROM generate_series(0, 39)";
const OTHER: &str =
    "SELECT value AS id, value % 17 AS k, value * 2 AS z FROM generate_series(0, 299)";

/// Facts `first..=last`: `k` is skewed (half of the rows have key 7), `y` is often null.
fn facts(first: usize, last: usize) -> String {
    format!(
        "SELECT value AS id, CASE WHEN value % 2 = 0 THEN 7 ELSE value % 53 END AS k, \
         concat('g', value % 5) AS g, (value * 7919) % 1009 AS x, \
         CASE WHEN value % 3 = 0 THEN NULL ELSE value % 11 END AS y, \
         CAST(value AS DECIMAL(12, 2)) / 100 AS m FROM generate_series({first}, {last})"
    )
}
