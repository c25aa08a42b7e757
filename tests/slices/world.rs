//! A session of each kind, shared by all cases, and assertions about results.

use std::fmt::Debug;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use bigslice::{Error, Run, Runnable, Session, SystemSpec};
use tokio::runtime::Runtime;

/// The systems that every case runs on.
pub(crate) const SYSTEMS: &[SystemSpec] =
    &[SystemSpec::Here, SystemSpec::InProcess { machines: 3 }, SystemSpec::Local { machines: 2 }];

/// The body of a case.
pub(crate) type Work = for<'a> fn(&'a World) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// A case: its name and its body.
pub(crate) type Case = (&'static str, Work);

/// A case from an async function of the same name.
#[macro_export]
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        pub(crate) const CASES: &[$crate::world::Case] =
            &[$((stringify!($name), |world| Box::pin($name(world)))),*];
    };
}

/// A session and a folder.
pub(crate) struct World {
    pub(crate) session: Session,
    pub(crate) system: SystemSpec,
    pub(crate) folder: tempfile::TempDir,
}

impl World {
    /// Runs a case in its own session.
    pub(crate) fn run(system: SystemSpec, case: Work) {
        block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let temp_root = folder.path().join("temp");
            let session = Session::builder()
                .system(system.clone())
                .temp_root(&temp_root)
                .build()
                .await
                .unwrap();
            let world = Self { session, system, folder };
            case(&world).await;
            world.session.shutdown().await;
            drop(world.session);
            let left: Vec<_> = std::fs::read_dir(&temp_root).into_iter().flatten().collect();
            assert!(left.is_empty(), "left behind: {left:?}");
        });
    }

    /// Runs a func to its end.
    pub(crate) async fn done<R: Runnable>(&self, work: R) -> Run<R::Row> {
        self.session.run(work).await.unwrap()
    }

    /// All rows of a func's slice, shard after shard.
    pub(crate) async fn rows<R: Runnable>(&self, work: R) -> Vec<R::Row> {
        self.done(work).await.collect().await.unwrap()
    }

    /// The rows of each shard.
    pub(crate) async fn shards<R: Runnable>(&self, work: R) -> Vec<Vec<R::Row>> {
        let run = self.done(work).await;
        let mut shards = Vec::new();
        for shard in 0..run.shards() {
            shards.push(run.shard(shard).await.unwrap());
        }
        shards
    }

    /// All rows in order.
    pub(crate) async fn sorted<R: Runnable>(&self, work: R) -> Vec<R::Row>
    where
        R::Row: Ord,
    {
        let mut rows = self.rows(work).await;
        rows.sort();
        rows
    }

    /// The error of a func's slice.
    pub(crate) async fn error<R: Runnable>(&self, work: R) -> Error
    where
        R::Row: Debug,
    {
        match self.session.run(work).await {
            Ok(run) => panic!("no error, but {:?}", run.collect().await),
            Err(error) => error,
        }
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// The stored files of a run's tasks with names that begin with this prefix (`STAGE-TASK-`), as
    /// in [`Self::files`].
    pub(crate) fn files_of<T>(&self, run: &Run<T>, tasks: &str) -> Vec<PathBuf> {
        let run = format!("{run:?}").replace(' ', "-");
        self.files(&format!("{run}-{tasks}"))
    }

    /// The stored shard files with names that begin with this prefix (`run-RUN-STAGE-TASK-`), in
    /// order, on all machines.
    pub(crate) fn files(&self, name: &str) -> Vec<PathBuf> {
        fn find(folder: &Path, name: &str, found: &mut Vec<PathBuf>) {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    find(&path, name, found);
                } else if path.extension().is_some_and(|end| end == "arrows")
                    && path.file_name().and_then(|file| file.to_str()?.strip_prefix(name)).is_some()
                {
                    found.push(path);
                }
            }
        }
        let mut found = Vec::new();
        find(self.folder.path(), name, &mut found);
        found.sort_by_key(|path| path.file_name().map(ToOwned::to_owned));
        found
    }

    /// Runs a statement.
    pub(crate) async fn sql(&self, sql: &str) -> String {
        Self::sql_in(&self.session, sql).await
    }

    /// Runs a statement in a session.
    pub(crate) async fn sql_in(session: &Session, sql: &str) -> String {
        let batches = session.sql(sql).await.unwrap().collect().await.unwrap();
        arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string()
    }
}

/// Runs on its own runtime.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    Runtime::new().unwrap().block_on(future)
}

/// Removes the files of all shards, which is like the loss of their machine for readers.
pub(crate) fn remove_shards(folder: &std::path::Path) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        match entry.path() {
            path if path.is_dir() => remove_shards(&path),
            path if path.extension().is_some_and(|e| e == "arrows") => {
                std::fs::remove_file(path).unwrap();
            }
            _ => {}
        }
    }
}
