//! Verbs that write files: one for each shard, from the task that computes it. The node says where
//! and how ([`SinkSpec`]); opening and committing is [`sink`](bigslice_files::sink)'s.

use std::panic::Location;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::pipeline::slice::Slice;
use crate::pipeline::slice::tree::node::Op;
use crate::pipeline::slice::tree::typed;
use crate::row::Row;
use bigslice_files::sink::{Encoding, SinkSpec, WriteOptions};

/// A file that a slice was written to: a row for each shard.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Row, Serialize, Deserialize)]
pub struct WrittenFile {
    /// Where it is, as any reader takes it.
    pub path: String,
    /// How many rows it has.
    pub rows: u64,
    /// How many bytes.
    pub bytes: u64,
}

impl<T: Row> Slice<T> {
    /// Writes one Parquet file for each shard into a folder: a local path or `s3://bucket/folder`.
    /// The slice is a row about each file, in the order of shards.
    ///
    /// **All files appear, or none.** Tasks write where no reader looks; when all are done, and
    /// before [`Session::run`](crate::Session::run) returns, the driver makes the files exist. A
    /// run that fails, or is given up, leaves nothing, and neither do attempts on machines that
    /// were lost. A folder that was not there comes to exist in one step with all of its files;
    /// files in a folder that is there, and in buckets, appear one right after the other.
    ///
    /// The folder must be empty or not there; [`write_parquet_with`](Self::write_parquet_with) can
    /// say otherwise. Files are called `part-00000-of-00064.parquet` and so on; a shard without
    /// rows has a file too. Rows keep their order. Memory is needed for a row group of each file,
    /// 64 MiB at most, less where memory is short.
    ///
    /// Files are written once: when a part of the run's result is lost later, only the rows about
    /// files are made again. A local folder must be on a disk that all machines share, as local
    /// workers do.
    ///
    /// The error of a folder that cannot be written to comes before anything is computed. None of
    /// those that come later is tried again, except for a machine that was lost.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let folder = folder.path().join("squares").to_str().unwrap().to_owned();
    /// let session = Session::builder().build().await?;
    /// let squares = Slice::const_(2, (0..5i64).map(|n| (n, n * n)));
    /// let files = session.run(squares.write_parquet(&*folder)).await?.collect().await?;
    /// assert_eq!(files[1].path, format!("{folder}/part-00001-of-00002.parquet"));
    /// assert_eq!(files.iter().map(|file| file.rows).sum::<u64>(), 5);
    ///
    /// let read = Slice::<(i64, i64)>::read_parquet(folder)?;
    /// assert_eq!(session.run(read).await?.rows().await?, 5);
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn write_parquet(self, to: impl Into<String>) -> Slice<WrittenFile> {
        self.write_files("write_parquet", Location::caller(), to.into(), Encoding::Parquet, None)
    }

    /// [`write_parquet`](Self::write_parquet), as `options` say.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    /// use bigslice::{Existing, WriteOptions};
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let folder = folder.path().to_str().unwrap().to_owned();
    /// let session = Session::builder().build().await?;
    /// let options = WriteOptions::new().existing(Existing::Append);
    /// for day in 1..=3 {
    ///     let sales = Slice::const_(1, [(day, "pear".to_owned())]);
    ///     session.run(sales.write_parquet_with(&*folder, options.clone())).await?;
    /// }
    /// let read = Slice::<(i32, String)>::read_parquet(folder)?;
    /// assert_eq!(session.run(read).await?.rows().await?, 3);
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn write_parquet_with(
        self,
        to: impl Into<String>,
        options: WriteOptions,
    ) -> Slice<WrittenFile> {
        let (place, encoding) = (Location::caller(), Encoding::Parquet);
        self.write_files("write_parquet", place, to.into(), encoding, Some(options))
    }

    /// [`write_parquet`](Self::write_parquet), but CSV with a line of names in each file.
    ///
    /// Null is nothing between two commas, and so is an empty text. Lists and structs within rows
    /// are an error before anything is computed. Memory is needed for a batch.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// #[derive(Row)]
    /// struct Sale {
    ///     fruit: String,
    ///     n: i64,
    /// }
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let folder = folder.path().join("sales").to_str().unwrap().to_owned();
    /// let session = Session::builder().build().await?;
    /// let sales = Slice::const_(1, [Sale { fruit: "pear".to_owned(), n: 3 }]);
    /// let files = session.run(sales.write_csv(folder)).await?.collect().await?;
    /// assert_eq!(std::fs::read_to_string(&files[0].path).unwrap(), "fruit,n\npear,3\n");
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn write_csv(self, to: impl Into<String>) -> Slice<WrittenFile> {
        self.write_files("write_csv", Location::caller(), to.into(), Encoding::Csv, None)
    }

    /// [`write_csv`](Self::write_csv), as `options` say: without names, with tabs, compressed.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::WriteOptions;
    /// use bigslice::prelude::*;
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let folder = folder.path().join("sales").to_str().unwrap().to_owned();
    /// let session = Session::builder().build().await?;
    /// let options = WriteOptions::new().header(false).delimiter(b'\t');
    /// let sales = Slice::const_(1, [("pear".to_owned(), 3i64)]).write_csv_with(folder, options);
    /// let files = session.run(sales).await?.collect().await?;
    /// assert!(files[0].path.ends_with("/part-00000-of-00001.tsv"));
    /// assert_eq!(std::fs::read_to_string(&files[0].path).unwrap(), "pear\t3\n");
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn write_csv_with(
        self,
        to: impl Into<String>,
        options: WriteOptions,
    ) -> Slice<WrittenFile> {
        let (place, encoding) = (Location::caller(), Encoding::Csv);
        self.write_files("write_csv", place, to.into(), encoding, Some(options))
    }

    /// [`write_parquet`](Self::write_parquet), but lines of JSON, each an object; null is written.
    ///
    /// Memory is needed for a batch.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// #[derive(Row)]
    /// struct Point {
    ///     x: i64,
    ///     y: Option<i64>,
    /// }
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let folder = folder.path().join("points").to_str().unwrap().to_owned();
    /// let session = Session::builder().build().await?;
    /// let points = Slice::const_(1, [Point { x: 1, y: None }]);
    /// let files = session.run(points.write_json(folder)).await?.collect().await?;
    /// assert_eq!(std::fs::read_to_string(&files[0].path).unwrap(), "{\"x\":1,\"y\":null}\n");
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn write_json(self, to: impl Into<String>) -> Slice<WrittenFile> {
        self.write_files("write_json", Location::caller(), to.into(), Encoding::Json, None)
    }

    /// [`write_json`](Self::write_json), as `options` say.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    /// use bigslice::{Compression, WriteOptions};
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let folder = folder.path().join("numbers").to_str().unwrap().to_owned();
    /// let session = Session::builder().build().await?;
    /// let options = WriteOptions::new().compression(Compression::Gzip);
    /// let files = session.run(Slice::const_(1, 0..9i64).write_json_with(folder, options)).await?;
    /// assert!(files.collect().await?[0].path.ends_with("/part-00000-of-00001.json.gz"));
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn write_json_with(
        self,
        to: impl Into<String>,
        options: WriteOptions,
    ) -> Slice<WrittenFile> {
        let (place, encoding) = (Location::caller(), Encoding::Json);
        self.write_files("write_json", place, to.into(), encoding, Some(options))
    }

    fn write_files(
        self,
        verb: &'static str,
        place: &'static Location<'static>,
        to: String,
        encoding: Encoding,
        options: Option<WriteOptions>,
    ) -> Slice<WrittenFile> {
        let (options, schema) = (options.unwrap_or_default(), typed::schema::<T>());
        let spec = Arc::new(SinkSpec { verb, place, to, encoding, options, schema });
        Slice::new(verb, place, Op::Sink { input: self.into_node(), spec })
    }
}
