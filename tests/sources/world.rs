//! A session with a temporary folder.

use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use bigslice::{Environment, Error, Session, SessionBuilder, SystemSpec};
use tempfile::TempDir;

/// A session and its folder; both end when it is dropped.
pub(crate) struct World {
    folder: TempDir,
    pub(crate) session: Session,
}

impl World {
    /// A session in this process.
    pub(crate) async fn here() -> Self {
        Self::with(|builder| builder).await
    }

    /// A session on machines, with scans split as finely as possible.
    pub(crate) async fn on_machines() -> Self {
        Self::with(|builder| {
            builder
                .system(SystemSpec::InProcess { machines: 3 })
                .partitions(2)
                .set("distributed.file_scan_config_bytes_per_partition", "64")
        })
        .await
    }

    /// A session with these environment variables.
    pub(crate) async fn in_environment(variables: &[(&str, &str)]) -> Self {
        Self::on_system(SystemSpec::Here, variables).await
    }

    /// A session of a kind with these environment variables.
    pub(crate) async fn on_system(system: SystemSpec, variables: &[(&str, &str)]) -> Self {
        let environment: Environment = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Self::with(|builder| builder.environment(environment).system(system)).await
    }

    async fn with(change: impl FnOnce(SessionBuilder) -> SessionBuilder) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let session = change(Session::builder()).build().await.expect("a session");
        Self { folder, session }
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A path in the folder, quoted for SQL.
    pub(crate) fn at(&self, name: &str) -> String {
        self.path(name).to_str().expect("a path in UTF-8").to_owned()
    }

    /// Writes a file, and creates its parent folders.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, content).expect("a file");
    }

    /// Everything in a folder, by name.
    pub(crate) fn files(&self, name: &str) -> Vec<String> {
        let mut names = Vec::new();
        collect(&self.path(name), &mut names);
        names.sort();
        names
    }

    /// The rows of a statement, in which `@` is the folder.
    pub(crate) async fn rows(&self, sql: &str) -> Vec<RecordBatch> {
        match self.attempt(sql).await {
            Ok(rows) => rows,
            Err(error) => panic!("{sql}: {error} ({:?})", error.hint()),
        }
    }

    /// The rows of a statement as lines of text with `|` between values.
    pub(crate) async fn text(&self, sql: &str) -> String {
        lines(&self.rows(sql).await)
    }

    /// The error of a statement, with its hint.
    pub(crate) async fn error(&self, sql: &str) -> String {
        match self.attempt(sql).await {
            Ok(_) => panic!("{sql}: no error"),
            Err(error) => format!("{error}\n{}", error.hint().unwrap_or_default()),
        }
    }

    pub(crate) async fn attempt(&self, sql: &str) -> Result<Vec<RecordBatch>, Error> {
        self.session.sql(&sql.replace('@', &self.at(""))).await?.collect().await
    }
}

/// Rows as lines of text with `|` between values.
pub(crate) fn lines(rows: &[RecordBatch]) -> String {
    let table = pretty_format_batches(rows).expect("a table").to_string();
    let lines: Vec<String> = table
        .lines()
        .filter(|line| line.starts_with('|'))
        .skip(1)
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join("|"))
        .collect();
    lines.join("\n")
}

fn collect(folder: &Path, names: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("an entry").path();
        names.push(path.file_name().expect("a name").to_string_lossy().into_owned());
        if path.is_dir() {
            collect(&path, names);
        }
    }
}
