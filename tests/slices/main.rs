//! Slices through a user's session: the same cases in this process, on machines within it, and on
//! processes. The test program is also the workers' program, so it has its own `main`.
//!
//! The cases cover the behaviour tested by Go's Bigslice, and more: see their names.

#![expect(clippy::panic, clippy::unwrap_used, reason = "tests fail by panics")]

mod chaos;
mod elastic;
mod errors;
mod expr;
mod files;
mod functions;
mod groups;
mod joins;
mod keyed;
mod keys;
mod large;
mod loss;
mod loss_sql;
mod mapping;
mod metrics;
mod narrow;
mod ordered;
mod pragmas;
mod random;
mod random_keys;
mod runs;
mod shards;
mod sinks;
mod sources;
mod sources_lines;
mod sources_tar;
mod tables;
mod world;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use world::{Case, SYSTEMS, World};

fn main() -> ExitCode {
    if let Some(code) = bigslice::worker_main() {
        return code;
    }
    let cases: Vec<Case> = [
        narrow::CASES,
        joins::CASES,
        keyed::CASES,
        groups::CASES,
        keys::CASES,
        ordered::CASES,
        large::CASES,
        errors::CASES,
        runs::CASES,
        files::CASES,
        functions::CASES,
        mapping::CASES,
        sinks::CASES,
        random::CASES,
        random_keys::CASES,
        metrics::CASES,
        shards::CASES,
        pragmas::CASES,
        sources::CASES,
        sources_lines::CASES,
        sources_tar::CASES,
        expr::CASES,
        tables::CASES,
    ]
    .concat();
    let everywhere: Vec<Trial> = SYSTEMS
        .iter()
        .flat_map(|system| {
            cases.iter().copied().map(move |(name, case)| {
                Trial::test(format!("{name} [{system}]"), move || {
                    World::run(system.clone(), case);
                    Ok(())
                })
            })
        })
        .collect();
    let losses =
        loss::CASES.iter().chain(loss_sql::CASES).chain(chaos::CASES).chain(elastic::CASES);
    let losses = losses.map(|(name, case)| {
        Trial::test(*name, move || {
            world::block_on(case());
            Ok(())
        })
    });
    libtest_mimic::run(&Arguments::from_args(), everywhere.into_iter().chain(losses).collect())
        .exit_code()
}
