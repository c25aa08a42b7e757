//! CPU profiles: the functions in which the threads of all machines are, a hundred times a second.
//!
//! ```text
//!   driver: Inspector::start_profile            each process: Sampler
//!     profiling -- Control: profile ------------>  interrupted by its own CPU clock, notes stacks
//!     finish  ---- Control: end_profile -------->  finds the functions' names, answers
//!     Profile <--------------------- Stacks -----
//!       to_pprof, to_flame_graph
//! ```
//!
//! Machines that are tasks of the driver's process are part of the driver's samples. A machine that
//! fails or dies is left out and named in [`Profile::missing`].

mod flame;
mod merged;
mod pprof;
mod sampler;
mod stacks;

pub use merged::{Grouping, Profile};
pub use stacks::Hertz;

pub(crate) use sampler::Sampler;
pub(crate) use stacks::Stacks;
