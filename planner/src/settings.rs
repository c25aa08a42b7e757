//! The planner's settings: `SET planner.collect_build_bytes = 0`.

use std::any::Any;

use datafusion::common::config::{ConfigEntry, ConfigExtension, ConfigOptions, ExtensionOptions};
use datafusion::common::{Result, extensions_options};

extensions_options! {
    /// Settings of our rules.
    struct Rules {
        /// Bytes of the build side of a join up to which one hash table may be built for all
        /// partitions, instead of repartitioning both sides. Zero switches the rule off; smaller
        /// build sides follow `datafusion.optimizer.hash_join_single_partition_threshold`.
        pub collect_build_bytes: usize, default = 0
    }
}

/// The settings of the planner's rules. Without them in the session's configuration, the rules that
/// they control are off.
#[derive(Debug, Clone, Default)]
pub struct PlannerSettings(Rules);

impl PlannerSettings {
    /// Build sides up to `bytes` are collected.
    #[must_use]
    pub fn collecting(bytes: usize) -> Self {
        Self(Rules { collect_build_bytes: bytes })
    }

    /// The setting in `options`.
    pub(crate) fn collect_build_bytes(options: &ConfigOptions) -> usize {
        options.extensions.get::<Self>().map_or(0, |settings| settings.0.collect_build_bytes)
    }
}

impl ExtensionOptions for PlannerSettings {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, value: &str) -> Result<()> {
        ExtensionOptions::set(&mut self.0, key, value)
    }

    /// The settings under the names that SET takes: DataFusion 55.2 shows those of extensions
    /// without their prefix.
    fn entries(&self) -> Vec<ConfigEntry> {
        let named = |entry: ConfigEntry| ConfigEntry {
            key: format!("{}.{}", Self::PREFIX, entry.key),
            ..entry
        };
        self.0.entries().into_iter().map(named).collect()
    }
}

impl ConfigExtension for PlannerSettings {
    const PREFIX: &'static str = "planner";
}
