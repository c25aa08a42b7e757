//! The driver's side of a session, below everything that it runs: the catalog, the stores, the
//! machines and the threads that compute.

use std::sync::Arc;

use bigslice_cluster::{DebugServer, Fleet, Inspector};
use bigslice_flight::Channels;
use datafusion::common::TableReference;
use datafusion::error::DataFusionError;
use datafusion::execution::context::SessionContext;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::TableType;
use futures::FutureExt;
use tokio::sync::Semaphore;

use crate::base::catalog::Tables;
use crate::base::config::Config;
use crate::base::cpu::Cpu;
use crate::base::diagnostics;
use crate::base::history::Journal;
use crate::base::memory::gauge::Gauge;
use crate::base::script;
use crate::base::settings;
use crate::base::translate;
use crate::error::{Error, Position};
use bigslice_files::Cleanup;
use bigslice_files::Stores;

/// Queries of one session that run at a time; more of them wait. The exchange starts all tasks of a
/// query at once on all machines, so each running query takes a part of every machine's memory.
pub(crate) const QUERIES_RUNNING_MAX: usize = 8;

/// A table that statements can read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TableInfo {
    /// The catalog it is in.
    pub catalog: String,
    /// The schema it is in.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// `table`, `view` or `temporary`.
    pub kind: &'static str,
}

/// What the clones of a session share, except for what runs slices. Fields are dropped in their
/// order.
pub(crate) struct Driver {
    pub(crate) _debug: Option<DebugServer>,
    pub(crate) context: SessionContext,
    pub(crate) stores: Arc<Stores>,
    pub(crate) channels: Option<Channels>,
    pub(crate) inspector: Inspector,
    pub(crate) journal: Arc<Journal>,
    pub(crate) fleet: Option<Fleet>,
    pub(crate) queries: Arc<Semaphore>,
    /// Work left over from drops.
    pub(crate) cleanup: Cleanup,
    /// The tables of the default schema.
    pub(crate) tables: Arc<Tables>,
    pub(crate) config: Config,
    /// Measures this process, if its memory is limited.
    pub(crate) gauge: Option<Arc<Gauge>>,
    pub(crate) cpu: Cpu,
}

impl Driver {
    /// The state to plan and run one statement with: the current state of the session, with
    /// mandatory settings enforced.
    pub(crate) fn state(&self) -> SessionState {
        let mut state = self.context.state();
        // If machines come and go, an attempt reduces this to those that it gets.
        let machines = self.fleet.as_ref().map_or(0, |fleet| match self.config.is_elastic() {
            true => fleet.size_max(),
            false => fleet.urls().len().max(1),
        });
        settings::enforce(state.config_mut(), machines);
        state
    }

    /// True if a table of this name belongs to [`Self::tables`].
    pub(crate) fn is_in_default_schema(&self, table: &TableReference) -> bool {
        let state = self.context.state();
        let names = &state.config_options().catalog;
        table.catalog().is_none_or(|catalog| catalog == names.default_catalog)
            && table.schema().is_none_or(|schema| schema == names.default_schema)
    }

    /// The names of the running machines, and a phrase for those that may be started.
    pub(crate) fn machine_names(&self) -> Vec<String> {
        let Some(fleet) = &self.fleet else { return Vec::new() };
        let machines = fleet.machines();
        let mut names: Vec<_> = machines.iter().map(|machine| machine.name().to_string()).collect();
        let more = fleet.size_max().saturating_sub(names.len());
        if self.config.is_elastic() && more > 0 {
            names.push(format!("{more} to be started"));
        }
        names
    }

    /// If `error` says that a table is missing: our words for it, with its position in `text`.
    pub(crate) fn name_missing_table(&self, error: &DataFusionError, text: &str) -> Option<Error> {
        let name = diagnostics::missing_table(error)?;
        let last = name.rsplit('.').next().unwrap_or(&name);
        let found = translate::position_in(error, text);
        Some(self.unknown_table(&name, found.or_else(|| script::only_word(text, last))))
    }

    /// The error about an unknown table, with the name that may have been meant.
    pub(crate) fn unknown_table(&self, name: &str, position: Option<Position>) -> Error {
        let tables = self.table_list();
        let names = tables.iter().map(|table| table.name.as_str());
        let hint = match std::path::Path::new(name).is_dir() {
            true => Some(format!("\"{name}\" is a folder here: its files are '{name}/'")),
            false => bigslice_diagnostics::did_you_mean(name, names),
        };
        Error::statement(format!("there is no table \"{name}\""), position).hinted(hint)
    }

    /// The tables of all catalogs, in order, without those of `information_schema`.
    pub(crate) fn table_list(&self) -> Vec<TableInfo> {
        let mut tables = Vec::new();
        for catalog in self.context.catalog_names() {
            let Some(provider) = self.context.catalog(&catalog) else { continue };
            for schema in provider.schema_names() {
                let Some(provider) = provider.schema(&schema) else { continue };
                for name in provider.table_names() {
                    // Catalogs in memory answer at once. One that would have to ask elsewhere is
                    // not waited for.
                    let kind = provider.table_type(&name).now_or_never();
                    let kind = match kind.and_then(Result::ok).flatten() {
                        Some(TableType::View) => "view",
                        Some(TableType::Temporary) => "temporary",
                        _ => "table",
                    };
                    let (catalog, schema) = (catalog.clone(), schema.clone());
                    tables.push(TableInfo { catalog, schema, name, kind });
                }
            }
        }
        tables.retain(|table| table.schema != "information_schema");
        tables.sort();
        tables
    }
}
