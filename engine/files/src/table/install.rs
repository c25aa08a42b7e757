//! Puts tables of files into a session.

use std::sync::Arc;

use datafusion::catalog::{DynamicFileCatalog, UrlTableFactory};
use datafusion::execution::object_store::ObjectStoreRegistry;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::prelude::SessionContext;

use crate::scan::float_bounds::FloatBounds;
use crate::scan::sealed::SealScans;
use crate::stores::Stores;
use crate::table::factory::{ExternalTables, PlaceTables};

/// Formats by the keyword after `STORED AS`.
const KEYWORDS: [&str; 10] =
    ["PARQUET", "CSV", "TSV", "JSON", "JSONL", "NDJSON", "ARROW", "IPC", "FEATHER", "AVRO"];

/// The stores, and the rules of caching: listings are not kept, footers are kept as long as size,
/// time and tag of their file are the same.
pub fn runtime(builder: RuntimeEnvBuilder, stores: &Arc<Stores>) -> RuntimeEnvBuilder {
    let registry: Arc<dyn ObjectStoreRegistry> = Arc::<Stores>::clone(stores);
    builder
        .with_object_store_registry(registry)
        .with_object_list_cache_limit(0)
        .with_file_statistics_cache_limit(0)
}

/// The last step of building a session: a context made of this one would not know the places any
/// more. Gives it tables by place, `CREATE EXTERNAL TABLE`, and scans that may be distributed.
/// `writing` is the rule for plans that write, which comes before scans are closed.
pub fn install(
    context: SessionContext,
    stores: &Arc<Stores>,
    writing: Arc<dyn PhysicalOptimizerRule + Send + Sync>,
) -> SessionContext {
    let places = Arc::new(PlaceTables::new(Arc::clone(stores)));
    let catalogs = Arc::clone(context.state_ref().read().catalog_list());
    let factory: Arc<dyn UrlTableFactory> = Arc::<PlaceTables>::clone(&places);
    let catalogs = Arc::new(DynamicFileCatalog::new(catalogs, factory));
    let session_id = context.session_id();
    let mut rules = context.state().physical_optimizers().to_vec();
    // As soon as conditions are in scans, and again at the end: a hidden condition does not show
    // that its column is constant, which sorts and exchanges that come later must not rely on.
    if let Some(pushed) = rules.iter().position(|rule| rule.name() == "FilterPushdown") {
        rules.insert(pushed + 1, Arc::new(FloatBounds));
    }
    let mut builder = context
        .into_state_builder()
        .with_session_id(session_id)
        .with_catalog_list(catalogs)
        .with_physical_optimizer_rules(rules)
        .with_physical_optimizer_rule(Arc::new(FloatBounds))
        .with_physical_optimizer_rule(writing)
        .with_physical_optimizer_rule(Arc::new(SealScans));
    for keyword in KEYWORDS {
        let tables = Arc::new(ExternalTables::new(Arc::clone(stores)));
        builder = builder.with_table_factory(keyword.to_owned(), tables);
    }
    let context: SessionContext = builder.build().into();
    places.set_session(context.state_weak_ref());
    context
}
