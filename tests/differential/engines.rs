//! The engines under comparison: our sessions with different settings, and other engines through a
//! Python process.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use bigslice::{Session, SystemSpec};
use futures::StreamExt;
use serde::Deserialize;
use serde_json::json;

use crate::rows::{Answer, rows_of};
use crate::tree::Dialect;

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// The Python script that runs the other engines.
const ORACLE: &str = include_str!("oracle.py");

/// One of our sessions.
pub(crate) struct Ours {
    pub(crate) name: &'static str,
    session: Session,
    /// Time limit of a query.
    patience: Duration,
}

/// Settings that change how a query is computed, and must not change its rows.
const OTHERWISE: [(&str, &str); 12] = [
    ("datafusion.execution.perfect_hash_join_min_key_density", "0.0"),
    ("datafusion.optimizer.prefer_hash_join", "false"),
    ("datafusion.optimizer.enable_dynamic_filter_pushdown", "false"),
    ("datafusion.optimizer.enable_topk_aggregation", "false"),
    ("datafusion.optimizer.filter_null_join_keys", "true"),
    ("datafusion.optimizer.repartition_joins", "false"),
    ("datafusion.optimizer.enable_round_robin_repartition", "false"),
    ("datafusion.optimizer.enable_leaf_expression_pushdown", "false"),
    ("datafusion.execution.parquet.pruning", "false"),
    ("datafusion.execution.parquet.bloom_filter_on_read", "false"),
    ("datafusion.execution.parquet.enable_page_index", "false"),
    ("datafusion.execution.collect_statistics", "false"),
];

/// Small batches, and exchanges wherever possible.
const TINY: [(&str, &str); 7] = [
    ("planner.collect_build_bytes", "0"),
    ("datafusion.execution.batch_size", "3"),
    ("datafusion.optimizer.repartition_file_min_size", "1"),
    ("datafusion.optimizer.hash_join_single_partition_threshold", "0"),
    ("datafusion.optimizer.hash_join_single_partition_threshold_rows", "0"),
    ("datafusion.execution.parquet.pushdown_filters", "true"),
    ("datafusion.execution.parquet.reorder_filters", "true"),
];

/// The memory limit of the session with little memory, in bytes.
const LITTLE: u64 = 256 << 20;

/// The error of a query that takes longer.
pub(crate) const TOO_LATE: &str = "no answer within";

/// The error of a query that needs more memory than a tester has.
pub(crate) const TOO_LARGE: &str = "no answer of a size that can be compared";

/// Maximum rows of an answer.
const ROWS_MAX: usize = 100_000;

/// Maximum bytes that a query may add to this process.
const BYTES_MAX: usize = 3 << 30;

/// Interval between measurements of this process.
const LOOK: Duration = Duration::from_millis(100);

/// All our sessions. The others are compared with the first.
pub(crate) async fn ours(patience: Duration) -> Result<Vec<Ours>, Failed> {
    let mut all = Vec::new();
    for name in ["in one process", "otherwise", "tiny batches", "little memory", "machines"] {
        let mut builder = Session::builder().partitions(2);
        match name {
            "otherwise" => builder = set(builder, &OTHERWISE),
            "tiny batches" => builder = set(builder.partitions(3), &TINY),
            "little memory" => builder = builder.memory_limit(LITTLE),
            "machines" => {
                builder = builder
                    .system(SystemSpec::InProcess { machines: 2 })
                    .set("distributed.file_scan_config_bytes_per_partition", "1");
            }
            _ => {}
        }
        all.push(Ours { name, session: builder.build().await?, patience });
    }
    Ok(all)
}

fn set(builder: bigslice::SessionBuilder, settings: &[(&str, &str)]) -> bigslice::SessionBuilder {
    settings.iter().fold(builder, |builder, (key, value)| builder.set(*key, *value))
}

impl Ours {
    /// Registers every folder of Parquet files in `folder` as a table of the same name.
    pub(crate) async fn tables(&self, folder: &Path, names: &[String]) -> Result<(), Failed> {
        for name in names {
            let place = folder.join(name);
            self.session.sql(&format!("drop table if exists {name}")).await?.collect().await?;
            let create = format!(
                "create external table {name} stored as parquet location '{}/'",
                place.display()
            );
            self.session.sql(&create).await?.collect().await?;
        }
        Ok(())
    }

    /// The answer to a query, within `patience` if that is below the session's own limit.
    pub(crate) async fn ask(&self, sql: &str, patience: Option<Duration>) -> Answer {
        let patience = patience.map_or(self.patience, |most| most.min(self.patience));
        let answer = async {
            let mut stream = self.session.sql(sql).await?.stream().await?;
            let (mut batches, mut rows) = (Vec::new(), 0);
            while let Some(batch) = stream.next().await.transpose()? {
                rows += batch.num_rows();
                if rows > ROWS_MAX {
                    return Ok(None);
                }
                batches.push(batch);
            }
            Ok::<_, bigslice::Error>(Some(batches))
        };
        tokio::select! {
            answer = answer => match answer.map_err(|e| e.to_string())? {
                Some(batches) => rows_of(&batches),
                None => Err(TOO_LARGE.to_owned()),
            },
            () = tokio::time::sleep(patience) => {
                Err(format!("{TOO_LATE} {} s", patience.as_secs()))
            }
            () = grown() => Err(TOO_LARGE.to_owned()),
        }
    }

    pub(crate) async fn shutdown(self) {
        self.session.shutdown().await;
    }
}

/// Waits until this process has grown by [`BYTES_MAX`].
async fn grown() {
    let before = resident();
    while resident() < before.saturating_add(BYTES_MAX) {
        tokio::time::sleep(LOOK).await;
    }
}

/// The resident bytes of this process; `None` if the system does not report them.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok());
    kilobytes.map_or(0, |kilobytes: usize| kilobytes << 10)
}

/// The other engines.
pub(crate) struct Oracle {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Reply {
    Rows { rows: Vec<Vec<Option<String>>> },
    Error { error: String },
}

impl Oracle {
    /// Starts `python`, which must have the package duckdb.
    pub(crate) fn start(python: &str) -> Result<Self, Failed> {
        #[expect(clippy::disallowed_methods, reason = "no machine: an engine to compare with")]
        let mut child = Command::new(python)
            .args(["-c", ORACLE])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("cannot start \"{python}\": {e}"))?;
        let (Some(questions), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("no pipes to the other engines".into());
        };
        Ok(Self { child, questions, answers: BufReader::new(answers) })
    }

    /// Registers the tables in `folder`.
    pub(crate) fn tables(&mut self, folder: &Path) -> Result<(), Failed> {
        self.exchange(&json!({ "tables": folder }))?.map_err(|e| {
            format!("the other engines cannot read the tables (they need the package duckdb): {e}")
        })?;
        Ok(())
    }

    /// The answer to a query.
    pub(crate) fn ask(&mut self, sql: &str, dialect: Dialect) -> Result<Answer, Failed> {
        let engine = if dialect == Dialect::Sqlite { "sqlite" } else { "duckdb" };
        self.exchange(&json!({ "sql": sql, "engine": engine }))
    }

    fn exchange(&mut self, question: &serde_json::Value) -> Result<Answer, Failed> {
        writeln!(self.questions, "{question}")?;
        self.questions.flush()?;
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            return Err("the other engines ended (is the package duckdb installed?)".into());
        }
        let reply = serde_json::from_str(&line).map_err(|e| format!("{e}: {line:.300}"))?;
        Ok(match reply {
            Reply::Rows { rows } => Ok(rows),
            Reply::Error { error } => Err(error),
        })
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        // It ends at the end of its input; it is killed in case it is in the middle of a query.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
