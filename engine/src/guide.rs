//! The user's guide in `docs/`, for rustdoc only: its examples are compiled and run as tests of
//! this crate.

#[doc = include_str!("../../docs/pipeline.md")]
mod pipeline {}

#[doc = include_str!("../../docs/rows.md")]
mod rows {}

#[doc = include_str!("../../docs/verbs.md")]
mod verbs {}

#[doc = include_str!("../../docs/expressions.md")]
mod expressions {}

#[doc = include_str!("../../docs/sinks.md")]
mod sinks {}

#[doc = include_str!("../../docs/runs.md")]
mod runs {}

#[doc = include_str!("../../docs/functions.md")]
mod functions {}

#[doc = include_str!("../../docs/map.md")]
mod map {}
#[doc = include_str!("../../docs/sessions.md")]
mod sessions {}

#[doc = include_str!("../../docs/machines.md")]
mod machines {}

#[doc = include_str!("../../docs/testing.md")]
mod testing {}
