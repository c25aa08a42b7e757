//! The settings of DataFusion that a session starts with, and those that are sent with each query
//! to its workers: what a user changes with `SET` must hold on the machines as well.

use bigslice_planner::PlannerSettings;
use datafusion::config::{ConfigNonZeroUsize, ConfigOptions, Dialect};
use datafusion::execution::config::SessionConfig;
use datafusion_distributed::{DistributedConfig, DistributedExt};
use http::{HeaderMap, HeaderName, HeaderValue};
use url::form_urlencoded;

use crate::base::config::Config;
use crate::base::limits::StatementSettings;
use crate::base::memory::Budget;
use crate::base::memory::spill::ONE_BATCH;
use crate::error::{Error, Result};
use bigslice_files::WorkerStores;

/// The header with [`changed`] settings of a task's plan.
const HEADER: HeaderName = HeaderName::from_static("x-bigslice-settings");

/// The settings of the exchange, which sessions without machines do not have.
pub(crate) const EXCHANGE: &str = "distributed.";

/// The settings that operators read while they run. All others only affect planning.
const TRAVELLING: &[&str] = &["datafusion.execution.", "datafusion.optimizer."];

/// The header that describes how to open the stores of a task's plan.
const STORES_HEADER: HeaderName = HeaderName::from_static("x-bigslice-stores");

/// Maximum bytes that describe the stores of one query: a dozen buckets with session tokens. A
/// server accepts 16 KiB of headers in all.
const STORES_BYTES_MAX: usize = 4 * 1024;

/// Maximum bytes of the header with settings; far more than all settings together.
const HEADER_BYTES_MAX: usize = 4 * 1024;

/// Bytes of files per partition, with machines. With the default of 16 MiB, the driver alone would
/// read data of up to 32 MiB per machine; starting a task costs about a millisecond, in which a
/// core reads about this much.
pub(crate) const BYTES_PER_PARTITION: usize = 1024 * 1024;

/// Maximum tasks of one stage. A shuffle has tasks x tasks x partitions streams, each with a
/// buffer: on 60 machines, these alone would use up the memory.
const TASKS_PER_STAGE_MAX: usize = 32;

/// Maximum unread bytes of all the streams that a process reads from machines. Together with the
/// head of the result, they are most of a driver's memory while it passes on a long result.
const UNREAD_BYTES_MAX: usize = 48 * 1024 * 1024;

/// The maximum for one of these streams: an equal part, but at least about one batch.
pub(crate) fn stream_buffer_bytes(config: &Config, budget: &Budget) -> usize {
    let unread = budget.buffer_bytes(UNREAD_BYTES_MAX);
    let streams = config.system.machines().max(1) * config.partitions_per_task();
    (unread / streams).clamp(1024 * 1024, 16 * 1024 * 1024)
}

/// The configuration of the driver's session.
pub(crate) fn session_config(config: &Config, budget: &Budget) -> SessionConfig {
    let mut session = SessionConfig::new()
        .with_information_schema(true)
        .with_create_default_catalog_and_schema(true)
        .with_target_partitions(config.partitions_per_task())
        .with_batch_size(budget.batch_rows(config.partitions_per_task()));
    let options = session.options_mut();
    options.sql_parser.collect_spans = true;
    options.sql_parser.dialect = Dialect::Generic;
    // A table by key takes 4 bytes per number between the least and the greatest key: 80 bytes per
    // row at this density, about what a hash table takes for a row.
    options.execution.perfect_hash_join_min_key_density = 0.05;
    options.extensions.insert(StatementSettings::default());
    options.extensions.insert(PlannerSettings::collecting(budget.build_bytes()));
    if budget.limited {
        let bytes = budget.sort_reservation_bytes(config.partitions_per_task());
        options.execution.sort_spill_reservation_bytes = usize::try_from(bytes).unwrap_or(0);
    }
    if config.system.machines() > 0 {
        // A file stream that takes work from another partition would take it from a task on another
        // machine, and read it twice.
        options.execution.enable_file_stream_work_stealing = false;
        session.set_distributed_option_extension(DistributedConfig::default());
        // A collected build side would be sent to every machine.
        session.options_mut().extensions.insert(PlannerSettings::collecting(0));
    }
    session
}

/// Applies the settings of the user last, so that they take precedence.
pub(crate) fn apply_users(config: &Config, session: &mut SessionConfig) -> Result<()> {
    for (key, value) in &config.settings {
        // A file of settings is for all sessions, with and without machines.
        if config.system.machines() == 0 && key.starts_with(EXCHANGE) {
            continue;
        }
        session
            .options_mut()
            .set(key, value)
            .map_err(|e| Error::config(format!("the setting \"{key}\": {}", Error::from(e))))?;
    }
    Ok(())
}

/// Enforces settings that users cannot change: otherwise an answer could be wrong or never come, or
/// the `machines` that run now could get more work than fits in their memory.
pub(crate) fn enforce(session: &mut SessionConfig, machines: usize) {
    let options = session.options_mut();
    // Only exchanges between partitions read it: see `spill` for the reason.
    if let Ok(bytes) = ConfigNonZeroUsize::try_new(ONE_BATCH) {
        options.execution.max_spill_file_size_bytes = bytes;
    }
    if machines == 0 {
        return;
    }
    options.execution.enable_file_stream_work_stealing = false;
    // A plan of one partition has no exchange under a global aggregate.
    options.execution.target_partitions = options.execution.target_partitions.max(2);
    // The coordinator of datafusion-distributed cannot keep the results of these subqueries.
    // Without the setting they become joins, which `OneRowSubqueries` makes count their rows.
    options.optimizer.enable_physical_uncorrelated_scalar_subquery = false;
    if let Ok(cut) = DistributedConfig::from_config_options_mut(options) {
        // Stages that are decided while the query runs cannot be checked before it runs.
        cut.dynamic_task_count = false;
        // More tasks than machines only mean more streams. Zero means as many tasks as machines.
        let tasks = if cut.max_tasks_per_stage == 0 { machines } else { cut.max_tasks_per_stage };
        cut.max_tasks_per_stage = tasks.min(machines).min(TASKS_PER_STAGE_MAX);
    }
}

/// The settings of `options` that differ from their defaults and that operators read.
pub(crate) fn travelling(options: &ConfigOptions) -> Vec<(String, String)> {
    changed(options)
}

/// Applies the settings that [`travelling`] returned on the driver to a task.
pub(crate) fn apply_travelled(
    session: &mut SessionConfig,
    settings: &[(String, String)],
) -> Result<()> {
    for (key, value) in settings {
        apply_one(session, key, value)?;
    }
    Ok(())
}

/// Adds to `headers` the settings of `options` that differ from their defaults.
pub(crate) fn add_to_headers(options: &ConfigOptions, headers: &mut HeaderMap) -> Result<()> {
    let mut text = form_urlencoded::Serializer::new(String::new());
    for (key, value) in changed(options) {
        text.append_pair(&key, &value);
    }
    let text = text.finish();
    if text.len() > HEADER_BYTES_MAX {
        return Err(Error::config(format!(
            "the changed settings are more than {HEADER_BYTES_MAX} bytes"
        )));
    }
    let value = HeaderValue::from_str(&text)
        .map_err(|e| Error::internal(format!("a header of settings: {e}")))?;
    headers.insert(HEADER, value);
    Ok(())
}

fn changed(options: &ConfigOptions) -> Vec<(String, String)> {
    let mut defaults = ConfigOptions::default().entries().into_iter();
    let defaults: std::collections::HashMap<String, Option<String>> =
        defaults.by_ref().map(|entry| (entry.key, entry.value)).collect();
    options
        .entries()
        .into_iter()
        .filter(|entry| TRAVELLING.iter().any(|prefix| entry.key.starts_with(prefix)))
        .filter(|entry| defaults.get(&entry.key) != Some(&entry.value))
        .filter_map(|entry| Some((entry.key, entry.value?)))
        .collect()
}

/// Applies the settings that [`add_to_headers`] wrote on the driver to a worker.
pub(crate) fn apply_headers(session: &mut SessionConfig, headers: &HeaderMap) -> Result<()> {
    let Some(value) = headers.get(HEADER) else { return Ok(()) };
    if value.len() > HEADER_BYTES_MAX {
        return Err(Error::internal("a header of settings is too long"));
    }
    for (key, value) in form_urlencoded::parse(value.as_bytes()) {
        apply_one(session, &key, &value)?;
    }
    Ok(())
}

fn apply_one(session: &mut SessionConfig, key: &str, value: &str) -> Result<()> {
    if !TRAVELLING.iter().any(|prefix| key.starts_with(prefix)) {
        return Err(Error::internal(format!("the setting \"{key}\" is not one that is sent")));
    }
    session
        .options_mut()
        .set(key, value)
        .map_err(|e| Error::internal(format!("the setting \"{key}\": {}", Error::from(e))))
}

/// Adds to `headers` how to open the stores that the plan reads. This may contain credentials: the
/// header is marked as sensitive, so that nothing logs it, and is only sent over mutual TLS.
pub(crate) fn add_stores(stores: &WorkerStores, headers: &mut HeaderMap) -> Result<()> {
    if stores.is_empty() {
        return Ok(());
    }
    let failed = |e: String| Error::internal(format!("the stores of a query: {e}"));
    let bytes = postcard::to_allocvec(stores).map_err(|e| failed(e.to_string()))?;
    if bytes.len() > STORES_BYTES_MAX {
        return Err(failed(format!("they take more than {STORES_BYTES_MAX} bytes to describe")));
    }
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut value = HeaderValue::from_str(&text).map_err(|e| failed(e.to_string()))?;
    value.set_sensitive(true);
    headers.insert(STORES_HEADER, value);
    Ok(())
}

/// Reads the stores that [`add_stores`] wrote on the driver.
pub(crate) fn read_stores(headers: &HeaderMap) -> Result<WorkerStores> {
    let Some(value) = headers.get(STORES_HEADER) else { return Ok(WorkerStores::default()) };
    let malformed = || Error::internal("the stores of a query arrived malformed");
    let text = value.to_str().map_err(|_| malformed())?;
    if text.len() > 2 * STORES_BYTES_MAX || text.len() % 2 == 1 {
        return Err(malformed());
    }
    let digits = text.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).map_err(|_| malformed())?;
        u8::from_str_radix(pair, 16).map_err(|_| malformed())
    });
    let bytes = digits.collect::<Result<Vec<u8>>>()?;
    postcard::from_bytes(&bytes).map_err(|_| malformed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_settings_travel() {
        let mut driver = SessionConfig::new().with_target_partitions(7).with_batch_size(99);
        driver.options_mut().set("datafusion.execution.time_zone", "Europe/Zürich").unwrap();
        let mut headers = HeaderMap::new();
        add_to_headers(driver.options(), &mut headers).unwrap();
        let mut worker = SessionConfig::new();
        apply_headers(&mut worker, &headers).unwrap();
        assert_eq!(worker.batch_size(), 99);
        assert_eq!(worker.target_partitions(), 7);
        assert_eq!(worker.options().execution.time_zone.as_deref(), Some("Europe/Zürich"));
    }

    #[test]
    fn other_settings_are_refused_on_arrival() {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, HeaderValue::from_static("datafusion.catalog.location=x"));
        assert!(apply_headers(&mut SessionConfig::new(), &headers).is_err());
    }
}
