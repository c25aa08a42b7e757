//! Rows in files: the tables that SQL reads too, pruned to the columns of the row and cast to its
//! types where nothing can be lost by it. The driver lists the files and plans the scan; a task
//! gets the scan of its own shard.

use std::panic::Location;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::{Column, Result as PlanResult, TableReference};
use datafusion::dataframe::DataFrame;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlanProperties;

use crate::error::{Error, Result};
use crate::pipeline::slice::Slice;
use crate::pipeline::slice::expr::can_travel;
use crate::pipeline::slice::io::source::columns::columns_of;
use crate::pipeline::slice::io::source::scan;
use crate::pipeline::slice::tree::node::{Op, Resolving, Source, TaskCx};
use crate::pipeline::slice::tree::typed;
use crate::row::Row;

/// Places of files: paths, folders, patterns, addresses.
pub trait Paths {
    /// As texts.
    fn into_paths(self) -> Vec<String>;
}

impl Paths for &str {
    fn into_paths(self) -> Vec<String> {
        vec![self.to_owned()]
    }
}

impl Paths for String {
    fn into_paths(self) -> Vec<String> {
        vec![self]
    }
}

impl<S: Into<String>> Paths for Vec<S> {
    fn into_paths(self) -> Vec<String> {
        self.into_iter().map(Into::into).collect()
    }
}

impl<S: Into<String>, const N: usize> Paths for [S; N] {
    fn into_paths(self) -> Vec<String> {
        self.into_iter().map(Into::into).collect()
    }
}

impl<T: Row> Slice<T> {
    /// The rows of files of any format that SQL reads too: by the end of their names Parquet, CSV
    /// and TSV, JSON lines, Arrow IPC or Avro, also compressed; a path, a folder, a pattern,
    /// `s3://...`, `https://...`, or several of these.
    ///
    /// Columns are found by the names of the row's fields; others are not read. A column of another
    /// type is an error when the slice is run that names the column, both types and the place;
    /// types that hold all values of the file's are converted to. A null where the field is no
    /// `Option` is an error when the row is read.
    ///
    /// Each place has as many shards as there are cores, at most, or more where one would have
    /// above 128 MiB of files: large files are read in several. The shards of the first place come
    /// first. The order of rows is that of the files within a shard.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// #[derive(Row, Debug, PartialEq)]
    /// struct Sale {
    ///     n: i64,
    ///     fruit: String,
    /// }
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let folder = folder.path();
    /// std::fs::write(folder.join("1.csv"), "fruit,shop,n\npear,east,3\n").unwrap();
    /// std::fs::write(folder.join("2.json"), "{\"n\": 5, \"fruit\": \"plum\"}\n").unwrap();
    /// let session = Session::builder().build().await?;
    /// let paths = ["1.csv", "2.json"].map(|name| folder.join(name).to_str().unwrap().to_owned());
    /// let sales = session.run(Slice::<Sale>::read(paths)?).await?.collect().await?;
    /// assert_eq!(sales[0], Sale { n: 3, fruit: "pear".to_owned() });
    /// assert_eq!(sales[1], Sale { n: 5, fruit: "plum".to_owned() });
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// When no place is given.
    #[track_caller]
    pub fn read(paths: impl Paths) -> Result<Self> {
        Self::files("read", Location::caller(), None, paths.into_paths())
    }

    /// [`read`](Self::read), of Parquet files. Of each file only the columns of the row are read.
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
    /// #[derive(Row)]
    /// struct Sold {
    ///     n: i64, // the column "fruit" is not read
    /// }
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let folder = folder.path().join("sales").to_str().unwrap().to_owned();
    /// let session = Session::builder().build().await?;
    /// let sale = |fruit: &str, n| Sale { fruit: fruit.to_owned(), n };
    /// let sales = Slice::const_(2, [sale("pear", 3), sale("plum", 5)]);
    /// session.run(sales.write_parquet(&*folder)).await?;
    ///
    /// let sold = Slice::<Sold>::read_parquet(folder)?.map(|sold| sold.n);
    /// assert_eq!(session.run(sold).await?.collect().await?.iter().sum::<i64>(), 8);
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// When no place is given, or one has the ending of another format.
    #[track_caller]
    pub fn read_parquet(paths: impl Paths) -> Result<Self> {
        Self::files("read_parquet", Location::caller(), Some(&["parquet"]), paths.into_paths())
    }

    /// [`read`](Self::read), of CSV or TSV files with a line of names at the top.
    ///
    /// The types of columns are those that the first MiB of a file suggests, or its first 20,000
    /// rows: whole numbers are `i64`, others `f64`. Nothing between two commas is null, which wants
    /// a field that is an `Option`. A value further down that is not of the type of its column is
    /// an error.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// #[derive(Row)]
    /// struct Flight {
    ///     carrier: String,
    ///     delay: Option<i64>,
    /// }
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("flights.csv").to_str().unwrap().to_owned();
    /// std::fs::write(&path, "carrier,origin,delay\nAA,JFK,12\nUA,LGA,\n").unwrap();
    /// let session = Session::builder().build().await?;
    /// let flights = Slice::<Flight>::read_csv(path)?.map(|f| (f.carrier.to_owned(), f.delay));
    /// let flights = session.run(flights).await?.collect().await?;
    /// assert_eq!(flights, [("AA".to_owned(), Some(12)), ("UA".to_owned(), None)]);
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// When no place is given, or one has the ending of another format.
    #[track_caller]
    pub fn read_csv(paths: impl Paths) -> Result<Self> {
        Self::files("read_csv", Location::caller(), Some(&["csv", "tsv"]), paths.into_paths())
    }

    /// [`read`](Self::read), of JSON lines.
    ///
    /// The types of columns are those that the first MiB of a file suggests, or its first 20,000
    /// rows: whole numbers are `i64`, others `f64`. What is missing in an object is null.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// #[derive(Row)]
    /// struct Visit {
    ///     url: String,
    ///     ms: Option<i64>,
    /// }
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("visits.jsonl").to_str().unwrap().to_owned();
    /// std::fs::write(&path, "{\"url\": \"/a\", \"ms\": 7}\n{\"url\": \"/b\"}\n").unwrap();
    /// let session = Session::builder().build().await?;
    /// let visits = Slice::<Visit>::read_json(path)?.map(|v| (v.url.to_owned(), v.ms));
    /// let visits = session.run(visits).await?.collect().await?;
    /// assert_eq!(visits, [("/a".to_owned(), Some(7)), ("/b".to_owned(), None)]);
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// When no place is given, or one has the ending of another format.
    #[track_caller]
    pub fn read_json(paths: impl Paths) -> Result<Self> {
        let endings = Some(&["json", "jsonl", "ndjson"][..]);
        Self::files("read_json", Location::caller(), endings, paths.into_paths())
    }

    /// [`read`](Self::read), of Arrow IPC files.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use arrow::array::{Int32Array, RecordBatch};
    /// use arrow::ipc::writer::FileWriter;
    /// use bigslice::prelude::*;
    ///
    /// #[derive(Row, Debug, PartialEq)]
    /// struct Reading {
    ///     celsius: i64, // an Int32 in the file, all of which an i64 holds
    /// }
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("readings.arrow").to_str().unwrap().to_owned();
    /// let column = std::sync::Arc::new(Int32Array::from(vec![12, 31]));
    /// let batch = RecordBatch::try_from_iter([("celsius", column as _)]).unwrap();
    /// let file = std::fs::File::create(&path).unwrap();
    /// let mut file = FileWriter::try_new(file, &batch.schema()).unwrap();
    /// file.write(&batch).and_then(|()| file.finish()).unwrap();
    ///
    /// let session = Session::builder().build().await?;
    /// let readings = session.run(Slice::<Reading>::read_arrow(path)?).await?.collect().await?;
    /// assert_eq!(readings, [12, 31].map(|celsius| Reading { celsius }));
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// When no place is given, or one has the ending of another format.
    #[track_caller]
    pub fn read_arrow(paths: impl Paths) -> Result<Self> {
        let endings = Some(&["arrow", "ipc", "feather"][..]);
        Self::files("read_arrow", Location::caller(), endings, paths.into_paths())
    }

    fn files(
        verb: &'static str,
        place: &'static Location<'static>,
        endings: Option<&[&str]>,
        paths: Vec<String>,
    ) -> Result<Self> {
        if paths.is_empty() {
            return Err(Error::query(format!("{verb} at {place}: there is no path to read")));
        }
        let known = ["parquet", "csv", "tsv", "json", "jsonl", "ndjson", "arrow", "ipc", "avro"];
        for path in &paths {
            let name = path.rsplit('/').next().unwrap_or(path);
            let wrong = |end: &str| name.split('.').skip(1).any(|part| part == end);
            let other = known.iter().filter(|end| !endings.is_none_or(|own| own.contains(end)));
            if let Some(end) = other.copied().find(|end| wrong(end)) {
                return Err(Error::query(format!(
                    "{verb} at {place}: the name of \"{path}\" says that it is {end}"
                )));
            }
        }
        let row = typed::schema::<T>();
        let files = Files { paths, schema: Arc::clone(&row), row, filters: Vec::new() };
        Ok(Self::new(verb, place, Op::Source(Arc::new(files))))
    }
}

struct Files {
    paths: Vec<String>,
    /// Of the row.
    row: SchemaRef,
    /// Of those of its columns that are read.
    schema: SchemaRef,
    /// What all rows fulfil that are read, in columns of the row.
    filters: Vec<Expr>,
}

#[async_trait]
impl Source for Files {
    async fn shards(&self, resolving: &Resolving) -> Result<Vec<Arc<[u8]>>> {
        let mut shards = Vec::new();
        for path in &self.paths {
            shards.extend(self.shards_of(path, resolving).await?);
        }
        Ok(shards)
    }

    fn open(&self, spec: &[u8], cx: &TaskCx) -> PlanResult<SendableRecordBatchStream> {
        scan::open(spec, &self.schema, cx)
    }

    fn takes(&self, filter: &Expr) -> bool {
        can_travel(filter)
    }

    fn pruned(&self, columns: &[usize], filters: &[Expr]) -> Option<Arc<dyn Source>> {
        Some(Arc::new(Self {
            paths: self.paths.clone(),
            row: Arc::clone(&self.row),
            schema: Arc::new(self.schema.project(columns).ok()?),
            filters: [self.filters.as_slice(), filters].concat(),
        }))
    }

    fn describe(&self) -> Option<String> {
        let columns: Vec<&str> = self.schema.fields().iter().map(|f| f.name().as_str()).collect();
        let mut text = format!("columns=[{}]", columns.join(", "));
        if !self.filters.is_empty() {
            let filters: Vec<String> = self.filters.iter().map(ToString::to_string).collect();
            text.push_str(&format!(", filters=[{}]", filters.join(", ")));
        }
        Some(text)
    }
}

impl Files {
    async fn shards_of(&self, path: &str, resolving: &Resolving) -> Result<Vec<Arc<[u8]>>> {
        let context = &resolving.driver.context;
        let provider = context.table_provider(TableReference::bare(path)).await?;
        let table = context.read_table(provider)?;
        let rows = self.columns(path, table)?;
        let plan = scan::sized(&rows, resolving).await?;
        (0..plan.output_partitioning().partition_count())
            .map(|partition| scan::spec(&plan, partition))
            .collect()
    }

    /// The columns of the row that are wanted, of the rows that are.
    fn columns(&self, path: &str, table: DataFrame) -> Result<DataFrame> {
        let mut rows = columns_of(&self.row, &format!("\"{path}\""), table)?;
        for filter in &self.filters {
            rows = rows.filter(filter.clone())?;
        }
        let kept = self.schema.fields().iter().map(|f| Expr::Column(Column::from_name(f.name())));
        rows.select(kept.collect::<Vec<_>>()).map_err(Error::from)
    }
}
