//! `#[map]`, documented here and not beside its code, since its examples need this crate.

/// Makes a function one that [`Session::map`](crate::Session::map) can call on every machine.
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
/// Its arguments own what they hold, and serde can encode them; with several, an item is a tuple of
/// them. It returns any value that serde can encode, or a `Result` of one, by that name, whose error can
/// be shown. It may be async: it then shares a thread with others, and should not compute for long.
///
/// What it depends on beside its arguments is looked up on the machine that calls it.
///
/// # What is refused
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
/// Closures, which cannot be called by a name:
///
/// ```compile_fail
/// fn map(session: bigslice::Session) {
///     session.map(|n: u64| n + 1, 0..10u64);
/// }
/// ```
pub use bigslice_macros::map;
