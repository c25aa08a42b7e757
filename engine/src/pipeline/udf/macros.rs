//! The documentation of `#[udf]`; it is here because its examples need this crate.

/// Makes a function available to SQL and expressions, in every session and on every machine.
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
/// **Arguments** are column values: `bool`, numbers, `&str`, `&[u8]`, slices of numbers, chrono's
/// dates and times, `Decimal`, `Vec`, `List`, types with `#[derive(Row)]`; at most twelve. If an
/// argument that is not an `Option` is null, the function is not called and the result is null. SQL
/// casts arguments to these types where that is lossless, and integers of all widths to each other;
/// a value that does not fit is an error.
///
/// **The return type** is a column value, `&str` or `&[u8]`, an `Option` of these (`None` is null),
/// or a `Result` whose error implements `Display`. An error or a panic ends the query with the
/// function's name, file and line; it is not retried. Neither the worker nor the session ends.
///
/// **Attributes**, in parentheses:
/// - `name = ".."`: the name in SQL; the default is the function's name. Two functions with the
///   same name, or one with the name of an SQL function, are an error when a session starts.
/// - `volatility = ".."`: `"immutable"`, the default, means that equal arguments always give equal
///   values: a call with constants is evaluated once, during planning. `"stable"` means so within
///   one query, and `"volatile"` not at all: the function is called for each row.
/// - `aggregate`: see below.
///
/// **In expressions** of DataFusion, `gc_share::expr(..)` is a call; the macro defines a type
/// `gc_share` beside the function.
///
/// # Aggregates
///
/// `#[udf(aggregate)]` goes on the `impl` block of a type that is the state of a group of rows:
/// `new`, or `Default`, creates an empty state; `add` adds a row; `merge` adds the rows of another
/// state, which another thread or machine has collected; `finish` returns the result. The state
/// must be a column value, by `#[derive(Row)]`, so that it can be sent between machines.
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
/// The function's name is the type's in snake case. Rows with a null argument that is not an
/// `Option` are skipped. `add`, `merge` and `finish` may return a `Result`. Rows and states arrive
/// in any order, so the result must not depend on it: an `ORDER BY` within the call has no effect.
/// A state that owns memory (`String`, `Vec`) needs a method `fn heap_bytes(&self) -> usize` that
/// returns its size, so that the query stays within its memory limit; it is called twice per row.
/// `DISTINCT` is supported if it is the only aggregate of its query; window frames must start at
/// `UNBOUNDED PRECEDING`.
///
/// # What is refused
///
/// Arguments that are not column values:
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
/// Aggregates whose memory is unknown:
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
