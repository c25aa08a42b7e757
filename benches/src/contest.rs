//! Runs the queries on each system in turn and records the times.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use arrow::util::pretty::pretty_format_batches;
use bigslice::{Session, SystemSpec, tpch};
use futures::TryStreamExt;

use crate::args::Args;

/// The systems and their measurements.
pub(crate) struct Contest {
    pub(crate) contestants: Vec<Contestant>,
    pub(crate) queries: Vec<usize>,
}

/// A system with its session.
pub(crate) struct Contestant {
    pub(crate) system: SystemSpec,
    session: Session,
    /// For each query, in order: the time of each iteration, and its number of rows.
    pub(crate) runs: Vec<Runs>,
}

/// The runs of one query.
#[derive(Clone, Default)]
pub(crate) struct Runs {
    pub(crate) times: Vec<Duration>,
    pub(crate) rows: usize,
}

impl Contest {
    /// Starts the sessions and registers the tables.
    pub(crate) async fn start(args: &Args) -> Result<Self> {
        let queries = args.queries()?;
        let mut contestants = vec![];
        for system in args.systems()? {
            let session = session(args, &system).await?;
            let runs = vec![Runs::default(); queries.len()];
            contestants.push(Contestant { system, session, runs });
        }
        Ok(Self { contestants, queries })
    }

    /// Warms up each query once on each system, then times them in turn, so that outside load
    /// affects both. The starting system alternates.
    pub(crate) async fn run(&mut self, args: &Args) -> Result<()> {
        for (i, &n) in self.queries.iter().enumerate() {
            for iteration in 0..=args.iterations {
                for turn in 0..self.contestants.len() {
                    let first = iteration % self.contestants.len();
                    let who = (first + turn) % self.contestants.len();
                    let contestant = &mut self.contestants[who];
                    let run = contestant.time(n).await;
                    let (time, rows) =
                        run.with_context(|| format!("query {n} on {}", contestant.system))?;
                    contestant.runs[i].rows = rows;
                    if iteration > 0 {
                        contestant.runs[i].times.push(time);
                    }
                }
            }
            let mut rows = self.contestants.iter().map(|contestant| contestant.runs[i].rows);
            let first = rows.next();
            ensure!(rows.all(|rows| Some(rows) == first), "query {n} differs in its rows");
        }
        Ok(())
    }

    /// The plan of query `n`, with rows and times, and its stages, on each system.
    pub(crate) async fn explain(&self, n: usize) -> Result<Vec<(SystemSpec, String)>> {
        let mut plans = vec![];
        for contestant in &self.contestants {
            let mut text = String::new();
            for what in ["EXPLAIN ANALYZE", "EXPLAIN STAGES"] {
                let sql = format!("{what} {}", text_of(n)?);
                let batches = contestant.session.sql(&sql).await?.collect().await?;
                text += &format!("{}\n", pretty_format_batches(&batches)?);
            }
            plans.push((contestant.system.clone(), text));
        }
        Ok(plans)
    }

    /// Ends the sessions.
    pub(crate) async fn end(self) {
        for contestant in self.contestants {
            contestant.session.shutdown().await;
        }
    }
}

impl Contestant {
    /// From the text of the query to the last row of its result, including planning.
    async fn time(&self, n: usize) -> Result<(Duration, usize)> {
        let sql = text_of(n)?;
        let start = Instant::now();
        let mut stream = self.session.sql(sql).await?.stream().await?;
        let mut rows = 0;
        while let Some(batch) = stream.try_next().await? {
            rows += batch.num_rows();
        }
        Ok((start.elapsed(), rows))
    }
}

fn text_of(n: usize) -> Result<&'static str> {
    tpch::query(n).with_context(|| format!("there is no query {n}"))
}

async fn session(args: &Args, system: &SystemSpec) -> Result<Session> {
    let mut builder = Session::builder().system(system.clone());
    if let Some(partitions) = args.partitions {
        builder = builder.partitions(partitions);
    }
    if let Some(bytes) = args.memory_limit {
        builder = builder.memory_limit(bytes);
    }
    for (key, value) in args.settings()? {
        builder = builder.set(key, value);
    }
    let session = builder.build().await.with_context(|| format!("cannot start {system}"))?;
    if let Some(scale) = args.tpch {
        session.register_tpch(scale)?;
    }
    if let Some(folder) = &args.data {
        for table in tpch::TableName::ALL {
            let place = folder.join(table.as_str());
            let place = place.display().to_string().replace('\'', "''");
            let sql =
                format!("CREATE EXTERNAL TABLE {table} STORED AS PARQUET LOCATION '{place}/'");
            session.sql(&sql).await?.collect().await?;
        }
    }
    Ok(session)
}
