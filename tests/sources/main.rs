//! File tables, and results written to files, through a user's session: each format by file, folder
//! and pattern, locally and on machines; errors about missing files; atomic results; buckets.

#![expect(clippy::panic, clippy::unwrap_used, reason = "tests fail by panics")]

mod addresses;
mod avro;
mod broken;
mod bucket;
mod damage;
mod declared;
mod faults;
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
