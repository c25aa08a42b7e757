//! The largest value of each key, and how a pipeline is tested: see the tests at the end of the
//! file.
//!
//! ```text
//! cargo run --release -p bigslice --example max -- --workers 2 pear=5 apple=3 apple=7
//! cargo test --release -p bigslice --test max
//! ```

#![expect(clippy::print_stdout, reason = "a program that prints what it found")]

use bigslice::prelude::*;
use clap::Parser;

/// Prints the largest value of each key.
#[derive(Debug, Parser)]
struct Args {
    /// Keys with a value each.
    #[arg(required = true, value_name = "KEY=VALUE", value_parser = pair)]
    pairs: Vec<(String, i64)>,

    #[command(flatten)]
    session: SessionArgs,
}

fn pair(text: &str) -> Result<(String, i64), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.to_owned(), value.parse().map_err(|e| format!("\"{value}\": {e}"))?))
}

/// The largest value of each key. A verb of your own is a function from slice to slice.
fn max(pairs: Slice<(String, i64)>) -> Slice<(String, i64)> {
    pairs.reduce(i64::max)
}

/// [`max`] of these pairs, in order of their keys.
#[bigslice::func]
fn max_of(shards: usize, pairs: Vec<(String, i64)>) -> Slice<(String, i64)> {
    max(Slice::const_(shards, pairs)).sort_by(|(key, _)| key.to_owned())
}

#[bigslice::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let session = args.session.open().await?;
    let largest = session.run(max_of(2, args.pairs)).await?;
    for (key, value) in largest.collect().await? {
        println!("{key}={value}");
    }
    session.shutdown().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bigslice::SystemSpec;
    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};

    use super::*;

    /// This process alone, and machines that are tasks of it: they call the func again and send
    /// rows to each other, as processes do.
    const SYSTEMS: [SystemSpec; 2] = [SystemSpec::Here, SystemSpec::InProcess { machines: 2 }];

    /// Runs `test` with a session of each kind.
    async fn everywhere(test: impl AsyncFn(&Session)) {
        for system in SYSTEMS {
            let session = Session::builder().system(system).build().await.unwrap();
            test(&session).await;
            session.shutdown().await;
        }
    }

    async fn found(
        session: &Session,
        shards: usize,
        pairs: Vec<(String, i64)>,
    ) -> Vec<(String, i64)> {
        session.run(max_of(shards, pairs)).await.unwrap().collect().await.unwrap()
    }

    fn pairs(pairs: &[(&str, i64)]) -> Vec<(String, i64)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect()
    }

    /// The same without a pipeline, short enough to be obviously right.
    fn plain(pairs: &[(String, i64)]) -> Vec<(String, i64)> {
        let mut largest = BTreeMap::new();
        for (key, value) in pairs {
            let held = largest.entry(key.clone()).or_insert(*value);
            *held = (*held).max(*value);
        }
        largest.into_iter().collect()
    }

    #[tokio::test]
    async fn each_key_has_its_largest_value() {
        everywhere(async |session| {
            let given = pairs(&[("a", 3), ("b", -5), ("a", 7), ("b", -9), ("a", 5)]);
            assert_eq!(found(session, 3, given).await, pairs(&[("a", 7), ("b", -5)]));
        })
        .await;
    }

    #[tokio::test]
    async fn nothing_has_no_largest_value() {
        everywhere(async |session| assert_eq!(found(session, 2, vec![]).await, vec![])).await;
    }

    /// For any rows, in any number of shards.
    #[tokio::test(flavor = "multi_thread")]
    async fn it_is_what_a_loop_finds() {
        let given = (1usize..6, prop::collection::vec(("[a-d]{0,2}", any::<i64>()), 0..200));
        everywhere(async |session| {
            let runtime = tokio::runtime::Handle::current();
            tokio::task::block_in_place(|| {
                let config = Config { cases: 32, failure_persistence: None, ..Config::default() };
                let holds = |(shards, pairs): (usize, Vec<(String, i64)>)| {
                    let right = plain(&pairs);
                    prop_assert_eq!(runtime.block_on(found(session, shards, pairs)), right);
                    Ok(())
                };
                TestRunner::new(config).run(&given, holds).unwrap();
            });
        })
        .await;
    }

    #[test]
    fn arguments_are_read() {
        assert_eq!(pair("a=-3"), Ok(("a".to_owned(), -3)));
        assert!(pair("a").is_err() && pair("a=b").is_err());
    }
}
