//! The page of the user's guide about this crate, read by rustdoc alone: its examples are compiled
//! and run as tests.

#[doc = include_str!("../../docs/services.md")]
mod services {}

#[cfg(feature = "ec2")]
#[doc = include_str!("../../docs/ec2.md")]
mod ec2 {}
