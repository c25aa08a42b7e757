//! Rows of a table from another crate's provider: each process has the table's provider, which its
//! func made, and plans the same scan of it; a task runs one partition.

use std::panic::Location;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::Result as PlanResult;
use datafusion::error::DataFusionError;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SendableRecordBatchStream, SessionStateBuilder};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::pipeline::slice::Slice;
use crate::pipeline::slice::io::source::columns::{columns_of, rows};
use crate::pipeline::slice::io::source::scan::plan_of;
use crate::pipeline::slice::tree::node::{Op, Resolving, Source, TaskCx};
use crate::pipeline::slice::tree::order_sensitivity::OrderSensitivity;
use crate::pipeline::slice::tree::streams;
use crate::pipeline::slice::tree::typed;
use crate::row::Row;

impl<T: Row> Slice<T> {
    /// The rows of any table that DataFusion can read, by its [`TableProvider`].
    ///
    /// Columns are found by the names of the row's fields, and only they are asked for. A column
    /// that is not there or of another type is an error when the slice is run; types that hold all
    /// values of the table's are converted to. There is a shard for each partition of the scan, of
    /// which as many are asked for as there are cores; rows have the order that they have there.
    ///
    /// On machines a func makes the provider in every process, and each of these must see the same
    /// table: one whose scan has another number of partitions on a machine than on the driver is an
    /// error. After a machine was lost a shard may be read again, and must be the same rows then.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use std::sync::Arc;
    ///
    /// use arrow::array::{Int64Array, RecordBatch, StringViewArray};
    /// use bigslice::prelude::*;
    /// use datafusion::datasource::MemTable;
    ///
    /// #[derive(Row)]
    /// struct Fruit {
    ///     name: String,
    /// }
    ///
    /// let batch = RecordBatch::try_from_iter([
    ///     ("n", Arc::new(Int64Array::from(vec![3, 4])) as _),
    ///     ("name", Arc::new(StringViewArray::from(vec!["pear", "plum"])) as _),
    /// ])
    /// .unwrap();
    /// let table = MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap();
    ///
    /// let session = Session::builder().build().await?;
    /// let names = Slice::<Fruit>::read_table(Arc::new(table)).map(|fruit| fruit.name.to_owned());
    /// assert_eq!(session.run(names).await?.collect().await?, ["pear", "plum"]);
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn read_table(provider: Arc<dyn TableProvider>) -> Self {
        let place = Location::caller();
        let table = Table { place, provider, schema: typed::schema::<T>() };
        Self::new("read_table", place, Op::Source(Arc::new(Provided { table })))
    }
}

#[derive(Clone)]
struct Table {
    place: &'static Location<'static>,
    provider: Arc<dyn TableProvider>,
    schema: SchemaRef,
}

struct Provided {
    table: Table,
}

/// The part of a source that a task reads.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Share {
    partition: usize,
    /// How many there are.
    partitions: usize,
    /// How many were asked for.
    asked: usize,
}

#[async_trait]
impl Source for Provided {
    async fn shards(&self, resolving: &Resolving) -> Result<Vec<Arc<[u8]>>> {
        let (context, asked) = (&resolving.driver.context, resolving.slots.max(1));
        let plan = self.table.scan(context.copied_config(), context.runtime_env(), asked).await?;
        let partitions = plan.output_partitioning().partition_count();
        let shares = (0..partitions).map(|partition| Share { partition, partitions, asked });
        shares.map(|share| Ok(crate::base::wire::encode(&share)?.as_ref().into())).collect()
    }

    /// The scan of a view is a plan.
    fn order_sensitivity(&self) -> OrderSensitivity {
        OrderSensitivity::Unordered
    }

    fn open(&self, spec: &[u8], cx: &TaskCx) -> PlanResult<SendableRecordBatchStream> {
        let share: Share = crate::base::wire::decode(spec)?;
        let (table, context) = (self.table.clone(), Arc::clone(&cx.context));
        let schema = Arc::clone(&table.schema);
        let scanned = async move {
            let config = context.session_config().clone();
            let plan = table.scan(config, context.runtime_env(), share.asked).await?;
            let found = plan.output_partitioning().partition_count();
            if found != share.partitions {
                return Err(table.at(Error::query(format!(
                    "the scan of the table has {found} partitions on this machine, and {} on the \
                     driver: every process must see the same table",
                    share.partitions
                ))));
            }
            Ok(rows(plan.execute(share.partition, context)?, &table.schema))
        };
        let scanned = futures::stream::once(scanned).map_err(DataFusionError::from);
        Ok(streams::with_schema(schema, scanned.try_flatten()))
    }
}

impl Table {
    /// The plan of a scan of the row's columns. It is the same in every process that has the same
    /// table.
    async fn scan(
        &self,
        mut config: SessionConfig,
        runtime: Arc<RuntimeEnv>,
        partitions: usize,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let options = config.options_mut();
        options.execution.target_partitions = partitions;
        options.optimizer.enable_round_robin_repartition = false;
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(runtime)
            .with_default_features()
            .build();
        let context = SessionContext::new_with_state(state);
        let table = context.read_table(Arc::clone(&self.provider));
        let table = table.map_err(|e| self.at(Error::from(e)))?;
        let rows = columns_of(&self.schema, "the table", table).map_err(|e| self.at(e))?;
        plan_of(&rows, &context.state()).await.map_err(|e| self.at(e))
    }

    fn at(&self, error: Error) -> Error {
        error.within(&format!("read_table at {}", self.place))
    }
}
