//! `#[udf]`, documented here and not beside its code, since its examples need this crate.

/// Makes a function one that SQL and expressions can call, in every session and on every machine.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use bigslice::prelude::*;
///
/// /// The share of G and C.
/// #[bigslice::udf]
/// fn gc_share(seq: &str) -> f64 {
///     let n = seq.bytes().filter(|base| matches!(base, b'G' | b'C')).count();
///     n as f64 / seq.len() as f64
/// }
///
/// let session = Session::builder().build().await?;
/// let query = session.sql("select gc_share(seq) from (values ('GATTACA'), (null)) as reads(seq)");
/// let rows = query.await?.collect().await?;
/// assert_eq!(rows[0].column(0).null_count(), 1); // of null comes null
/// assert_eq!(gc_share("GATC"), 0.5); // it stays a function
/// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
/// ```
///
/// **Arguments** are what columns hold: `bool`, numbers, `&str`, `&[u8]`, slices of numbers, dates and
/// times of chrono, `Decimal`, `Vec`, `List`, types with `#[derive(Row)]`; at most twelve. Where one is
/// null the function is not called and the result is null, unless the argument is an `Option`. SQL
/// converts to their types what loses nothing by it, and integers of all widths into each other; a
/// value that does not fit is an error.
///
/// **It returns** a value of a column, `&str` or `&[u8]`, an `Option` of these (`None` is null), or a
/// `Result` whose error can be shown. An error or a panic ends the query with the function's name, file and
/// line; it is not tried again. Neither the worker nor the session ends with it.
///
/// **Attributes**, in brackets:
/// - `name = ".."`: how SQL calls it; the function's own name if there is none. Two functions of one
///   name, or one with a name that SQL has already, are an error when a session starts.
/// - `volatility = ".."`: `"immutable"`, which is the default, says that equal arguments give equal
///   values: a call with constants is made once, while the query is planned. `"stable"` says so for one
///   query, `"volatile"` not at all: it is called for each row.
/// - `aggregate`: see below.
///
/// **In expressions** of DataFusion `gc_share::expr(..)` is a call; the macro writes a type `gc_share` beside the function.
///
/// # Aggregates
///
/// `#[udf(aggregate)]` stands on the methods of a type, which is the state of a group of rows: it begins
/// with `new`, or with `Default`; `add` takes a row in; `merge` takes in the rows of another state, which
/// another thread or machine has collected; `finish` gives the value. The state is a value of a column (so
/// that it can travel), by `#[derive(Row)]`.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use bigslice::prelude::*;
///
/// #[derive(Default, Row)]
/// struct GeoMean {
///     logs: f64,
///     n: u64,
/// }
///
/// #[bigslice::udf(aggregate)]
/// impl GeoMean {
///     fn add(&mut self, x: f64) {
///         self.logs += x.ln();
///         self.n += 1;
///     }
///
///     fn merge(&mut self, other: Self) {
///         self.logs += other.logs;
///         self.n += other.n;
///     }
///
///     fn finish(self) -> Option<f64> {
///         (self.n > 0).then(|| (self.logs / self.n as f64).exp())
///     }
/// }
///
/// let session = Session::builder().build().await?;
/// let query = session.sql("select round(geo_mean(x)) from (values (1), (10), (100)) as t(x)");
/// let rows = query.await?.collect().await?;
/// assert_eq!(rows[0].column(0).to_data().buffer::<f64>(0)[0], 10.0);
/// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
/// ```
///
/// Its name is the type's in small letters. Rows where an argument is null that is not an `Option` are left out.
/// `add`, `merge` and `finish` may return a `Result`. Rows and states come in any order, so the value must
/// not depend on it: an `ORDER BY` within the call changes nothing. A state that owns memory (`String`, `Vec`)
/// needs a method `fn heap_bytes(&self) -> usize` that says how much, so that the query stays within its
/// memory; it is called twice for each row. `DISTINCT` works where it is the only aggregate of its query;
/// windows have to begin at `UNBOUNDED PRECEDING`.
///
/// # What is refused
///
/// Arguments that no column holds:
///
/// ```compile_fail
/// #[bigslice::udf]
/// fn named(thread: std::thread::Thread) -> i64 {
///     0
/// }
/// ```
///
/// Functions that are async or generic, or return nothing:
///
/// ```compile_fail
/// #[bigslice::udf]
/// async fn fetched(url: &str) -> String {
///     String::new()
/// }
/// ```
///
/// ```compile_fail
/// #[bigslice::udf]
/// fn largest<T: Ord>(a: T, b: T) -> T {
///     a.max(b)
/// }
/// ```
///
/// ```compile_fail
/// #[bigslice::udf]
/// fn nothing(x: i64) {}
/// ```
///
/// Names that SQL would not find:
///
/// ```compile_fail
/// #[bigslice::udf(name = "Share")]
/// fn share(x: f64) -> f64 {
///     x
/// }
/// ```
///
/// Aggregates whose memory nobody knows:
///
/// ```compile_fail
/// #[derive(Default, bigslice::Row)]
/// struct Longest(String);
///
/// #[bigslice::udf(aggregate)]
/// impl Longest {
///     fn add(&mut self, text: &str) {}
///     fn merge(&mut self, other: Self) {}
///     fn finish(self) -> String {
///         self.0
///     }
/// }
/// ```
pub use bigslice_macros::udf;
