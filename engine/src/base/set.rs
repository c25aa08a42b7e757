//! Checks the name and the value of a `SET` before it takes effect.
//!
//! For an invalid value, DataFusion 55.2 names neither the setting nor the valid values; for an
//! unknown name it suggests none. It accepts any text as a time zone, so that later uses of the
//! zone fail.

use std::str::FromStr;

use datafusion::arrow::array::timezone::Tz;
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::{LogicalPlan, Statement};

use crate::error::{Error, Result};
use bigslice_diagnostics::{chain, did_you_mean};

/// The prefix of settings of the process, which are stored elsewhere.
const RUNTIME: &str = "datafusion.runtime.";

/// The prefix of most settings.
const PREFIX: &str = "datafusion.";

/// The time zone of the session.
const TIME_ZONE: &str = "datafusion.execution.time_zone";

/// Refuses a `SET` of an unknown setting or to an invalid value.
pub(crate) fn check(plan: &LogicalPlan, options: &ConfigOptions) -> Result<()> {
    let LogicalPlan::Statement(Statement::SetVariable(set)) = plan else { return Ok(()) };
    let (key, value) = (set.variable.to_lowercase(), set.value.as_str());
    if key.starts_with(RUNTIME) {
        return Ok(());
    }
    if key == TIME_ZONE && !value.is_empty() && Tz::from_str(value).is_err() {
        let hint = "zones are 'UTC', names such as 'Europe/Berlin', and offsets such as '+02:00'";
        return Err(wrong(format!("there is no time zone '{value}'"), Some(hint.to_owned())));
    }
    let Err(error) = options.clone().set(&key, value) else { return Ok(()) };
    let entries = options.entries();
    if entries.iter().any(|entry| entry.key == key) {
        let entry = entries.iter().find(|entry| entry.key == key);
        let known = entry.and_then(|entry| entry.value.as_deref());
        let reason = chain(&error);
        let reason = reason.rsplit(": ").next().unwrap_or(&reason);
        let message = format!("the setting \"{key}\" cannot be '{value}': {reason}");
        return Err(wrong(message, known.map(|known| format!("it is {known} now"))));
    }
    let names = || entries.iter().map(|entry| entry.key.as_str());
    let bare = key.strip_prefix(PREFIX).unwrap_or(&key);
    let bare = bare.rsplit('.').next().unwrap_or(bare);
    let ending = |name: &&str| name.rsplit('.').next() == Some(bare);
    let hint = match names().find(ending) {
        Some(name) => Some(format!("did you mean \"{name}\"?")),
        None => did_you_mean(&key, names()),
    };
    let hint = hint.unwrap_or_else(|| "SHOW ALL lists the settings".to_owned());
    Err(wrong(format!("there is no setting \"{key}\""), Some(hint)))
}

fn wrong(message: String, hint: Option<String>) -> Error {
    Error::statement(message, None).hinted(hint)
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::SetVariable;

    use super::*;

    fn said(variable: &str, value: &str) -> Option<String> {
        let (variable, value) = (variable.to_owned(), value.to_owned());
        let set = Statement::SetVariable(SetVariable { variable, value });
        let checked = check(&LogicalPlan::Statement(set), &ConfigOptions::new());
        checked.err().map(|error| format!("{error} {}", error.hint().unwrap_or_default()))
    }

    #[test]
    fn settings_and_values_are_named() {
        assert_eq!(said("datafusion.execution.batch_size", "100"), None);
        assert_eq!(said("datafusion.execution.time_zone", "Europe/Berlin"), None);
        let text = |variable, value| said(variable, value).unwrap();
        assert!(text("datafusion.execution.time_zone", "Mars").contains("'Mars'"));
        let of_value = text("datafusion.execution.batch_size", "x");
        assert!(
            of_value.contains("\"datafusion.execution.batch_size\" cannot be 'x'"),
            "{of_value}"
        );
        let of_name = text("datafusion.execution.batch_sise", "5");
        assert!(of_name.contains("did you mean \"datafusion.execution.batch_size\""), "{of_name}");
        assert!(text("batch_size", "5").contains("datafusion.execution.batch_size"));
        assert!(text("foo", "1").contains("SHOW ALL"));
    }

    #[test]
    fn checks_of_zones_are_still_needed() {
        let taken = ConfigOptions::new().set("datafusion.execution.time_zone", "Mars");
        assert!(taken.is_ok(), "DataFusion checks zones now");
    }
}
