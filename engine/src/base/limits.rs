//! The limits on statements as settings: `SET bigslice.statement_depth_max = 2000`.

use std::any::Any;

use bigslice_planner::StatementLimits;
use datafusion::common::extensions_options;
use datafusion::config::{ConfigEntry, ConfigExtension, ConfigOptions, ExtensionOptions};
use datafusion::error::Result;

extensions_options! {
    /// Limits on a statement; see [`StatementLimits`].
    struct Limits {
        /// Bytes of text of one statement.
        pub statement_bytes_max: usize, default = StatementLimits::default().bytes_max
        /// Words, numbers and symbols of one statement.
        pub statement_tokens_max: usize, default = StatementLimits::default().tokens_max
        /// Consecutive operators, without AND, OR, commas and parentheses between them.
        pub statement_chain_max: usize, default = StatementLimits::default().chain_max
        /// Levels of nested expressions.
        pub statement_depth_max: usize, default = StatementLimits::default().depth_max
        /// Expressions that are not literals.
        pub statement_expressions_max: usize, default = StatementLimits::default().exprs_max
        /// Set operations.
        pub statement_branches_max: usize, default = StatementLimits::default().branches_max
        /// Joins.
        pub statement_joins_max: usize, default = StatementLimits::default().joins_max
        /// Common table expressions.
        pub statement_ctes_max: usize, default = StatementLimits::default().ctes_max
    }
}

/// The limits as settings.
#[derive(Debug, Clone, Default)]
pub(crate) struct StatementSettings(Limits);

impl ExtensionOptions for StatementSettings {
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

impl ConfigExtension for StatementSettings {
    const PREFIX: &'static str = "bigslice";
}

/// The limits in the settings of a session.
pub(crate) fn statement_limits(options: &ConfigOptions) -> StatementLimits {
    let Some(StatementSettings(settings)) = options.extensions.get::<StatementSettings>() else {
        return StatementLimits::default();
    };
    StatementLimits {
        bytes_max: settings.statement_bytes_max,
        tokens_max: settings.statement_tokens_max,
        chain_max: settings.statement_chain_max,
        depth_max: settings.statement_depth_max,
        exprs_max: settings.statement_expressions_max,
        branches_max: settings.statement_branches_max,
        joins_max: settings.statement_joins_max,
        ctes_max: settings.statement_ctes_max,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_their_prefix_are_still_needed() {
        let mut options = ConfigOptions::new();
        options.extensions.insert(StatementSettings::default());
        let is_named = |entry: &ConfigEntry| entry.key == "bigslice.statement_depth_max";
        assert!(options.entries().iter().any(is_named));
        let theirs = Limits::default().entries();
        assert!(!theirs.iter().any(is_named), "DataFusion shows the prefix now");
    }
}
