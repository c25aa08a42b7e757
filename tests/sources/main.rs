//! Tables of files and results in files, through a session as a user has one: each format by file,
//! folder and pattern, here and on machines; what is said when something is missing; results that
//! are there as a whole or not at all; buckets.

#![expect(clippy::panic, clippy::unwrap_used, reason = "tests fail by panics")]

mod addresses;
mod avro;
mod broken;
mod bucket;
mod damage;
mod declared;
mod floats;
mod formats;
mod json;
mod lines;
mod listings;
mod mixed;
mod options;
mod partitions;
mod programs;
mod records;
mod results;
mod text;
mod types;
mod words;
mod world;
