//! `#[map]`, documented here and not beside its code, since its examples need this crate.

/// Lets [`Session::map`](crate::Session::map) call a function on every machine.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use bigslice::prelude::*;
///
/// #[bigslice::map]
/// fn largest_factor(n: u64) -> Result<u64, String> {
///     (1..n).rev().find(|d| n % d == 0).ok_or_else(|| format!("{n} has none"))
/// }
///
/// let session = Session::builder().build().await?; // or .workers(4)
/// assert_eq!(session.map(largest_factor, 2..6).collect().await?, [1, 1, 2, 1]);
///
/// let outcomes = session.map(largest_factor, [9, 1]).outcomes().await;
/// assert!(outcomes[0].is_ok() && outcomes[1].as_ref().unwrap_err().to_string().ends_with("1 has none"));
/// assert_eq!(largest_factor(12), Ok(6)); // it can be called as before
/// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
/// ```
///
/// Its arguments must be owned and implement serde's traits; with several arguments, an item is a
/// tuple. It returns a value that implements serde's traits, or a `Result` of one, written by that
/// name, whose error implements `Display`. It may be async: it then shares a thread with others,
/// and should not compute for long.
///
/// Anything else it depends on, such as files, is that of the machine that calls it.
///
/// # Restrictions
///
/// Functions without an argument, or generic ones:
///
/// ```compile_fail
/// #[bigslice::map]
/// fn nothing() -> u64 {
///     0
/// }
/// ```
///
/// ```compile_fail
/// #[bigslice::map]
/// fn same<T>(x: T) -> T {
///     x
/// }
/// ```
///
/// Items that cannot be sent:
///
/// ```compile_fail
/// #[bigslice::map]
/// fn wait(thread: std::thread::JoinHandle<()>) -> u64 {
///     0
/// }
/// ```
///
/// Closures, which have no name to call them by:
///
/// ```compile_fail
/// fn map(session: bigslice::Session) {
///     session.map(|n: u64| n + 1, 0..10u64);
/// }
/// ```
pub use bigslice_macros::map;
