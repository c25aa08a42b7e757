//! Figures that the user's code keeps while it runs: how many lines were bad, how long requests
//! took.
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! use bigslice::metrics::{Counter, Histogram};
//! use bigslice::prelude::*;
//!
//! static BAD_LINES: Counter = Counter::new("bad_lines");
//! static LENGTHS: Histogram = Histogram::new("line_bytes");
//!
//! #[bigslice::func]
//! fn numbers(lines: Vec<String>) -> Slice<i64> {
//!     Slice::const_(2, lines).flat_map(|line| {
//!         LENGTHS.record(line.len());
//!         let number = line.parse().ok();
//!         BAD_LINES.add(u64::from(number.is_none()));
//!         number
//!     })
//! }
//!
//! let session = Session::builder().build().await?; // or .workers(4)
//! let run = session.run(numbers(["1", "two", "3"].map(str::to_owned).to_vec())).await?;
//! let metrics = run.metrics().await;
//! assert_eq!(metrics.counter("bad_lines"), 1);
//! assert_eq!(metrics.histogram("line_bytes").unwrap().max(), Some(3.0));
//! # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
//! ```
//!
//! A figure belongs to the attempt of the task that it was bumped in, and travels in the task's
//! reply. The run counts, of each task, the attempt whose rows it uses: once, however often the
//! task was lost and tried again, and what was computed again takes the place of what it was
//! before.
//!
//! ```text
//! closure ─ add ─► the thread's own sums   [scope]   a few nanoseconds, no lock
//!                      │ when the task pauses
//!                      ▼
//!                  the task's sums ─ TaskReply ─► Schedule: one per task ─► Run::metrics  [totals]
//! ```
//!
//! * [`bump`]: what user code holds, one `static` for each figure;
//! * [`scope`]: whose task a thread is computing for at the moment;
//! * [`distribution`]: the buckets of a histogram;
//! * [`totals`]: figures of one task, and of a run.

mod bump;
mod distribution;
mod name;
mod scope;
mod totals;

pub use bump::{Counter, Gauge, Histogram, Measure};
pub use distribution::Distribution;
pub(crate) use scope::{Scope, carried, carried_future, carried_stream};
pub use totals::{Gauged, Metrics};
