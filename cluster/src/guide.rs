//! The page of the user's guide about this crate, read by rustdoc alone: its examples are compiled and
//! run as tests.

#[doc = include_str!("../../docs/services.md")]
mod services {}
