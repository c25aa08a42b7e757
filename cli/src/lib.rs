//! bigsql: SQL at a prompt and in scripts, over a [`bigslice::Session`]. As a library it gives a
//! tool that embeds bigslice all of it, with the tool's own tables and functions:
//!
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     bigsql::embed("flights", async |session| {
//!         session.sql("create view one as select 1 as one").await?.collect().await?;
//!         Ok(()) // or session.context().register_table(...), .register_udf(...), ...
//!     })
//! }
//! ```
//!
//! From the command line to the screen:
//!
//! 1. [`args`] is what the user typed, [`environment`] what the surroundings say, [`config`] what
//!    the program makes of both. The flags and the file of a session are the engine's
//!    ([`bigslice::SessionArgs`]).
//! 2. [`start`] builds the session and hands it to a [`Shell`].
//! 3. [`repl`] reads statements at a prompt, or [`shell`] reads a script; [`bigslice::ScriptPiece`]
//!    finds where each ends, and which are commands of the shell ([`command`]).
//! 4. [`run`] has the engine run a statement and sends each batch of its result through a
//!    [`mod@format`] to the [`output`]. Nothing is collected on the way.
//! 5. What is not a result goes to the [`console`]: errors as [`report`] words them, the lines of
//!    the machines, progress, times. [`signals`] stop what runs.

mod args;
mod cluster;
mod command;
mod complete;
mod config;
mod console;
mod crash;
mod environment;
mod error;
mod format;
mod highlight;
mod history;
mod inspect;
mod output;
mod repl;
mod report;
mod run;
mod shell;
mod signals;
mod start;
mod tpch;
mod vocabulary;

use bigslice::render::{cell, types};

pub use console::Console;
pub use error::{Error, Result};
pub use format::Format;
pub use shell::{Options, Shell, Status};
pub use signals::Signal;
pub use start::{embed, main};
