//! Metrics as they are sent from a machine to the driver.

use prometheus::proto::{self, MetricFamily, MetricType};
use serde::{Deserialize, Serialize};

/// The most series of one machine on the page: a label with arbitrary values must not fill the
/// driver's memory. Histograms count once for each bucket.
const VALUES_MAX: usize = 20_000;

/// The metrics of one name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Family {
    pub(crate) name: String,
    pub(crate) help: String,
    pub(crate) kind: Kind,
    pub(crate) metrics: Vec<Metric>,
}

/// The kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// One metric: the value for one set of labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Metric {
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) value: Value,
}

/// Its value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Value {
    Number(f64),
    /// Buckets with their upper bounds and cumulative counts.
    Histogram {
        count: u64,
        sum: f64,
        buckets: Vec<(f64, u64)>,
    },
}

impl Family {
    /// All current metrics of a registry, except summaries, which this library cannot make.
    pub(crate) fn gather(registry: &prometheus::Registry) -> Vec<Self> {
        let mut room = VALUES_MAX;
        registry.gather().iter().filter_map(|family| Self::of(family, &mut room)).collect()
    }

    /// A family whose metrics are numbers.
    pub(crate) fn numbers(
        name: &str,
        help: &str,
        kind: Kind,
        values: impl IntoIterator<Item = (Vec<(String, String)>, f64)>,
    ) -> Self {
        let metric = |(labels, value)| Metric { labels, value: Value::Number(value) };
        let metrics = values.into_iter().map(metric).collect();
        Self { name: name.to_owned(), help: help.to_owned(), kind, metrics }
    }

    fn of(family: &MetricFamily, room: &mut usize) -> Option<Self> {
        let kind = match family.get_field_type() {
            MetricType::COUNTER => Kind::Counter,
            MetricType::GAUGE => Kind::Gauge,
            MetricType::HISTOGRAM => Kind::Histogram,
            _ => return None,
        };
        let mut metrics = Vec::new();
        for metric in family.get_metric() {
            let value = match kind {
                Kind::Counter => Value::Number(metric.get_counter().get_value()),
                Kind::Gauge => Value::Number(metric.get_gauge().get_value()),
                Kind::Histogram => Value::histogram(metric.get_histogram()),
            };
            match room.checked_sub(value.size()) {
                Some(left) => *room = left,
                None => {
                    tracing::warn!(name = family.name(), "too many metrics; the rest is left out");
                    break;
                }
            }
            let labels = metric.get_label().iter();
            let labels = labels.map(|l| (l.name().to_owned(), l.value().to_owned())).collect();
            metrics.push(Metric { labels, value });
        }
        let (name, help) = (family.name().to_owned(), family.help().to_owned());
        Some(Self { name, help, kind, metrics })
    }

    /// The family in the form of the library that writes the page.
    pub(crate) fn into_proto(self) -> MetricFamily {
        let mut family = MetricFamily::default();
        family.set_name(self.name);
        family.set_help(self.help);
        family.set_field_type(match self.kind {
            Kind::Counter => MetricType::COUNTER,
            Kind::Gauge => MetricType::GAUGE,
            Kind::Histogram => MetricType::HISTOGRAM,
        });
        let kind = self.kind;
        family.set_metric(self.metrics.into_iter().map(|metric| metric.into_proto(kind)).collect());
        family
    }
}

impl Metric {
    fn into_proto(self, kind: Kind) -> proto::Metric {
        let label = |(name, value)| {
            let mut pair = proto::LabelPair::default();
            pair.set_name(name);
            pair.set_value(value);
            pair
        };
        let mut metric = proto::Metric::from_label(self.labels.into_iter().map(label).collect());
        match (self.value, kind) {
            (Value::Number(number), Kind::Counter) => {
                let mut counter = proto::Counter::default();
                counter.set_value(number);
                metric.set_counter(counter);
            }
            (Value::Number(number), _) => {
                let mut gauge = proto::Gauge::default();
                gauge.set_value(number);
                metric.set_gauge(gauge);
            }
            (Value::Histogram { count, sum, buckets }, _) => {
                let bucket = |(bound, count)| {
                    let mut bucket = proto::Bucket::default();
                    bucket.set_upper_bound(bound);
                    bucket.set_cumulative_count(count);
                    bucket
                };
                let mut histogram = proto::Histogram::default();
                histogram.set_sample_count(count);
                histogram.set_sample_sum(sum);
                histogram.set_bucket(buckets.into_iter().map(bucket).collect());
                metric.set_histogram(histogram);
            }
        }
        metric
    }
}

impl Value {
    fn histogram(histogram: &proto::Histogram) -> Self {
        let buckets = histogram.get_bucket().iter();
        Self::Histogram {
            count: histogram.get_sample_count(),
            sum: histogram.get_sample_sum(),
            buckets: buckets.map(|b| (b.upper_bound(), b.cumulative_count())).collect(),
        }
    }

    /// The number of lines on the page.
    fn size(&self) -> usize {
        match self {
            Self::Number(_) => 1,
            Self::Histogram { buckets, .. } => buckets.len() + 2,
        }
    }

    /// Returns true if it fits this kind: the data of a machine is not trusted.
    pub(crate) fn fits(&self, kind: Kind) -> bool {
        matches!(self, Self::Histogram { .. }) == (kind == Kind::Histogram)
    }
}
