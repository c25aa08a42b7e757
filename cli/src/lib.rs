//! bigsql: SQL at a prompt and in scripts, over a [`bigslice::Session`]. As a library, it gives the
//! same to a program that embeds bigslice, with the program's own tables and functions:
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
//! 1. [`args`] parses the command line, [`environment`] reads the environment, and [`config`]
//!    combines both. The engine reads a session's flags and settings file
//!    ([`bigslice::SessionArgs`]).
//! 2. [`start`] builds the session and passes it to a [`Shell`].
//! 3. [`repl`] reads statements at a prompt, or [`shell`] reads a script. [`bigslice::ScriptPiece`]
//!    splits the input into statements and shell commands ([`command`]).
//! 4. [`run`] runs a statement in the engine and sends each batch of its result through a
//!    [`mod@format`] to the [`output`], without collecting them.
//! 5. Everything else goes to the [`console`]: errors (worded by [`report`]), lines of the
//!    machines, progress, times. [`signals`] stop a running statement.

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
