//! Tests of a whole session, in this process and on machines that are tasks of it. They are in the
//! crate because they look at parts of a session that users cannot reach.

mod faults;
mod journal;
mod machines;
mod mistakes;
mod slots;
mod spill_pools;
mod statements;

use datafusion::arrow::record_batch::RecordBatch;
use datafusion::arrow::util::pretty::pretty_format_batches;

use crate::Error;
use crate::Session;
use crate::SystemSpec;

async fn here() -> Session {
    Session::builder().build().await.unwrap()
}

async fn on_machines(machines: usize) -> Session {
    let system = SystemSpec::InProcess { machines };
    Session::builder().system(system).partitions(2).build().await.unwrap()
}

async fn rows(session: &Session, sql: &str) -> Vec<RecordBatch> {
    session.sql(sql).await.unwrap().collect().await.unwrap()
}

/// The result as a table of text.
async fn table(session: &Session, sql: &str) -> String {
    pretty_format_batches(&rows(session, sql).await).unwrap().to_string()
}

async fn error(session: &Session, sql: &str) -> Error {
    match session.sql(sql).await {
        Ok(query) => query.collect().await.unwrap_err(),
        Err(error) => error,
    }
}
