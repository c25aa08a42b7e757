//! The ground of a session: its settings, memory, threads, machines and catalog, and what errors
//! say. Nothing here knows what is run.

pub(crate) mod catalog;
pub(crate) mod codec;
pub(crate) mod config;
pub(crate) mod cpu;
pub(crate) mod diagnostics;
pub(crate) mod driver;
pub(crate) mod history;
pub(crate) mod limits;
pub(crate) mod machines;
pub(crate) mod memory;
pub(crate) mod recovery;
pub(crate) mod redact;
pub(crate) mod script;
pub(crate) mod set;
pub(crate) mod settings;
pub(crate) mod system;
pub(crate) mod task_error;
pub(crate) mod translate;
pub(crate) mod wire;
