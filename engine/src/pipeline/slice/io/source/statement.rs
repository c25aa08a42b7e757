//! Rows of a statement of the session: its tables, its files, its settings. The driver plans it,
//! and tasks get their part of the plan.

use std::panic::Location;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::Result as PlanResult;
use datafusion::dataframe::DataFrame;
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};

use crate::base::cpu::on_large_stack;
use crate::error::Result;
use crate::pipeline::slice::Slice;
use crate::pipeline::slice::expr::{Call, shaped};
use crate::pipeline::slice::io::source::scan;
use crate::pipeline::slice::tree::node::{Op, Resolving, Source, TaskCx};
use crate::pipeline::slice::tree::order_sensitivity::OrderSensitivity;
use crate::pipeline::slice::tree::typed;
use crate::row::Row;
use crate::statement::planning;
use crate::statement::work::Work;
use crate::tpch;
use bigslice_files::SealedScan;

impl<T: Row> Slice<T> {
    /// The rows of a query over what the session has: files by their places, its tables and its
    /// settings, as [`Session::sql`](crate::Session::sql) has them. Columns become fields as with
    /// [`select`](Self::select).
    ///
    /// The driver plans the query when the slice is run. One that filters and computes rows of one
    /// table of files is read in as many shards as with [`read`](Self::read), in the order of the
    /// files within a shard. Any other is computed by one task: one shard, in the order of the
    /// query. Over rows that are to move between machines, use [`sql`](Self::sql) or
    /// [`query`](Self::query).
    ///
    /// What is wrong with the query is known, and an error, when the slice is run. So are tables
    /// that only the driver has, such as a registered run: [`Run::slice`](crate::Run::slice) reads
    /// that.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// #[derive(Row, Debug, PartialEq)]
    /// struct Carrier {
    ///     carrier: String,
    /// }
    ///
    /// #[bigslice::func]
    /// fn carriers(folder: String) -> Slice<Carrier> {
    ///     let text = format!("select distinct carrier from '{folder}/*.parquet' order by 1 limit 2");
    ///     Slice::read_sql(text)
    /// }
    ///
    /// let session = Session::builder().build().await?;
    /// let run = session.run(carriers("../testdata/flights/flights".to_owned())).await?;
    /// let names: Vec<String> = run.collect().await?.into_iter().map(|c| c.carrier).collect();
    /// assert_eq!(names, ["9E", "AA"]);
    /// # Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn read_sql(query: impl Into<String>) -> Self {
        let call = Call { verb: "read_sql", place: Location::caller() };
        Self::of_statement(call, &query.into())
    }

    /// The rows of a statement that was planned at `place`.
    pub(crate) fn of_query(text: &str, place: &'static Location<'static>) -> Self {
        Self::of_statement(Call { verb: "typed", place }, text)
    }

    fn of_statement(call: Call, text: &str) -> Self {
        let text = text.trim_end().trim_end_matches(';').to_owned();
        let statement = Statement { call, text, schema: typed::schema::<T>() };
        Self::new(call.verb, call.place, Op::Source(Arc::new(statement)))
    }
}

struct Statement {
    call: Call,
    text: String,
    schema: SchemaRef,
}

#[async_trait]
impl Source for Statement {
    async fn shards(&self, resolving: &Resolving) -> Result<Vec<Arc<[u8]>>> {
        let driver = &resolving.driver;
        let within = self.call.to_string();
        let query = planning::plan(driver, &self.text).await.map_err(|e| e.within(&within))?;
        let Work::Rows(plan) = query.work else {
            return Err(self.call.error("only a query has rows"));
        };
        if !query.materialized.is_empty() {
            let message = "a query of WITH that is read twice and gives other rows each time cannot be computed here";
            return Err(self.call.error(message));
        }
        let plan = shaped(Arc::unwrap_or_clone(plan), &self.schema, self.call)?;
        let rows = DataFrame::new(driver.context.state(), plan);
        let resolving = resolving.clone();
        let handle = driver.cpu.handle().clone();
        let planned = move || async move { scan::sized(&rows, &resolving).await };
        let plan = on_large_stack(&handle, "planning", planned).await;
        let plan = plan.map_err(|e| e.within(&within))?;
        let partitions = plan.output_partitioning().partition_count();
        let specs: Result<Vec<_>> = if stays_in_place(&plan) {
            (0..partitions).map(|partition| scan::spec(&plan, partition)).collect()
        } else if partitions == 1 {
            scan::encoded(plan, 0).map(|spec| vec![spec])
        } else {
            scan::encoded(Arc::new(CoalescePartitionsExec::new(plan)), 0).map(|spec| vec![spec])
        };
        specs.map_err(|e| e.within(&within))
    }

    fn open(&self, spec: &[u8], cx: &TaskCx) -> PlanResult<SendableRecordBatchStream> {
        scan::open(spec, &self.schema, cx)
    }

    /// A limit or an aggregate may be in it, and partitions that are computed side by side: what it
    /// is planned as is known later.
    fn order_sensitivity(&self) -> OrderSensitivity {
        OrderSensitivity::Nondeterministic
    }

    fn describe(&self) -> Option<String> {
        Some(self.text.clone())
    }
}

/// Whether each partition of a plan can be computed by itself.
fn stays_in_place(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let reads = plan.is::<SealedScan>() || plan.is::<tpch::Scan>() || is_file_scan(plan);
    let computes =
        plan.is::<FilterExec>() || plan.is::<ProjectionExec>() || plan.is::<CooperativeExec>();
    reads || (computes && plan.children().into_iter().all(stays_in_place))
}

fn is_file_scan(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<DataSourceExec>() && bigslice_files::file_scan(plan).is_some()
}
