//! The metrics of all machines as one page in the text format of Prometheus: each family once, each
//! of its metrics with the label `machine`.

use std::collections::BTreeMap;

use prometheus::TextEncoder;

use crate::error::{Error, Result};
use crate::identity::MachineName;
use crate::observe::metrics::wire::Family;

/// The label with the name of the machine.
const MACHINE: &str = "machine";
/// The new name of a metric's own label of that name, as in Prometheus itself.
const EXPORTED: &str = "exported_machine";

/// The metrics of one machine.
#[derive(Debug)]
pub(crate) struct Gathered {
    pub(crate) machine: MachineName,
    pub(crate) families: Vec<Family>,
}

/// One page of all gathered metrics. If services give families of one name different kinds, the
/// kind of the first machine counts, and the others are left out.
///
/// # Errors
/// If a name is not valid in Prometheus.
pub(crate) fn page(gathered: impl IntoIterator<Item = Gathered>) -> Result<String> {
    let mut merged: BTreeMap<String, Family> = BTreeMap::new();
    for Gathered { machine, families } in gathered {
        for family in families {
            add(&mut merged, &machine, family);
        }
    }
    let families: Vec<_> = merged
        .into_values()
        .filter(|family| !family.metrics.is_empty())
        .map(Family::into_proto)
        .collect();
    TextEncoder::new().encode_to_string(&families).map_err(|err| Error::Metrics(err.to_string()))
}

fn add(merged: &mut BTreeMap<String, Family>, machine: &MachineName, mut family: Family) {
    let kind = merged.get(&family.name).map_or(family.kind, |first| first.kind);
    if kind != family.kind {
        tracing::warn!(name = family.name, %machine, "a metric has two kinds; one is left out");
        return;
    }
    family.metrics.retain(|metric| metric.value.fits(kind));
    for metric in &mut family.metrics {
        for (name, _) in &mut metric.labels {
            if name == MACHINE {
                EXPORTED.clone_into(name);
            }
        }
        metric.labels.insert(0, (MACHINE.to_owned(), machine.to_string()));
    }
    match merged.get_mut(&family.name) {
        Some(first) => first.metrics.append(&mut family.metrics),
        None => drop(merged.insert(family.name.clone(), family)),
    }
}

#[cfg(test)]
mod tests {
    use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, Opts, Registry};

    use super::{Gathered, page};
    use crate::identity::MachineName;
    use crate::observe::metrics::wire::Family;

    fn gathered(ordinal: u64, registry: &Registry) -> Gathered {
        Gathered { machine: MachineName::worker(ordinal), families: Family::gather(registry) }
    }

    #[test]
    fn families_come_once_and_say_whose_each_metric_is() {
        let registry = Registry::new();
        let opts = Opts::new("words_total", "What was \\read.\nBy machine.");
        let words = IntCounterVec::new(opts, &["machine"]).expect("a counter");
        words.with_label_values(&["quo\"te\\d"]).inc_by(3);
        registry.register(Box::new(words)).expect("a name of its own");
        let opts = HistogramOpts::new("sizes", "Sizes.").buckets(vec![1.0, 2.0]);
        let sizes = Histogram::with_opts(opts).expect("a histogram");
        sizes.observe(1.5);
        registry.register(Box::new(sizes)).expect("a name of its own");

        let other = Registry::new();
        let sizes = IntCounter::new("sizes", "Something else.").expect("a counter");
        other.register(Box::new(sizes)).expect("a name of its own");
        let both = [gathered(0, &registry), gathered(1, &registry), gathered(2, &other)];
        let text = page(both).expect("a page");
        let expected = r#"# HELP sizes Sizes.
# TYPE sizes histogram
sizes_bucket{machine="m0",le="1"} 0
sizes_bucket{machine="m0",le="2"} 1
sizes_bucket{machine="m0",le="+Inf"} 1
sizes_sum{machine="m0"} 1.5
sizes_count{machine="m0"} 1
sizes_bucket{machine="m1",le="1"} 0
sizes_bucket{machine="m1",le="2"} 1
sizes_bucket{machine="m1",le="+Inf"} 1
sizes_sum{machine="m1"} 1.5
sizes_count{machine="m1"} 1
# HELP words_total What was \\read.\nBy machine.
# TYPE words_total counter
words_total{machine="m0",exported_machine="quo\"te\\d"} 3
words_total{machine="m1",exported_machine="quo\"te\\d"} 3
"#;
        assert_eq!(text, expected);
    }
}
