//! The default schema of a session: tables by name, which can be replaced atomically.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::common::{Result, exec_err};
use datafusion::execution::context::SessionContext;
use parking_lot::RwLock;

use crate::error::{Error, Result as EngineResult};

/// The tables. DataFusion's own schema in memory cannot replace a table: between removing the old
/// one and adding the new one, a statement would find none.
#[derive(Debug, Default)]
pub(crate) struct Tables(RwLock<BTreeMap<String, Arc<dyn TableProvider>>>);

impl Tables {
    /// Installs a new default schema in `context`, which has no tables yet.
    pub(crate) fn install(context: &SessionContext) -> EngineResult<Arc<Self>> {
        let tables = Arc::new(Self::default());
        let names = context.state().config_options().catalog.clone();
        let catalog = context.catalog(&names.default_catalog);
        let catalog = catalog.ok_or_else(|| Error::internal("the session has no catalog"))?;
        let schema: Arc<dyn SchemaProvider> = Arc::<Self>::clone(&tables);
        catalog
            .register_schema(&names.default_schema, schema)
            .map_err(|e| Error::internal(format!("the default schema: {e}")))?;
        Ok(tables)
    }

    /// Adds a table, replacing any with the same name.
    pub(crate) fn replace(&self, name: &str, table: Arc<dyn TableProvider>) {
        self.0.write().insert(name.to_owned(), table);
    }
}

#[async_trait]
impl SchemaProvider for Tables {
    fn table_names(&self) -> Vec<String> {
        self.0.read().keys().cloned().collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        Ok(self.0.read().get(name).cloned())
    }

    fn register_table(
        &self,
        name: String,
        table: Arc<dyn TableProvider>,
    ) -> Result<Option<Arc<dyn TableProvider>>> {
        let mut tables = self.0.write();
        if tables.contains_key(&name) {
            return exec_err!("The table {name} already exists");
        }
        Ok(tables.insert(name, table))
    }

    fn deregister_table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        Ok(self.0.write().remove(name))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.0.read().contains_key(name)
    }
}
