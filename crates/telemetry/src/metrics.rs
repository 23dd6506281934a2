//! Counters and histograms: what is measured, and the sums between two exports (delta temporality).
//!
//! Delta, because a run is short-lived: a cumulative series per process would be a series per run.

use std::collections::BTreeMap;

use co_model::Timestamp;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum, metric::Data,
    number_data_point,
};

use crate::mapping::{key_value, nanos};

/// Different sets of attributes per instrument; further ones are counted together (the specification's overflow).
const LONGEST_SERIES: usize = 500;
/// The attribute that marks the overflow.
const OVERFLOW: &str = "otel.metric.overflow";

/// Seconds, from a quick command to a long agent turn.
const SECONDS: &[f64] =
    &[0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0];
/// The GenAI conventions' boundaries for operations.
const OPERATION_SECONDS: &[f64] =
    &[0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
/// The GenAI conventions' boundaries for tokens.
const TOKENS: &[f64] = &[
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];

/// One thing that is measured.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Clone, Copy)]
pub(crate) enum Instrument {
    Runs,
    RunDuration,
    StageDuration,
    StageRetries,
    AgentTurns,
    ToolDecisions,
    ToolCalls,
    TokenUsage,
    OperationDuration,
}

/// How measurements of an instrument are added up.
enum Kind {
    Counter,
    Histogram(&'static [f64]),
}

impl Instrument {
    /// Name, unit, description and kind.
    const fn definition(self) -> (&'static str, &'static str, &'static str, Kind) {
        match self {
            Self::Runs => ("codex_orchestrator.runs", "{run}", "Runs that ended, by status", Kind::Counter),
            Self::RunDuration => (
                "codex_orchestrator.run.duration",
                "s",
                "Time from a run's creation to its end",
                Kind::Histogram(SECONDS),
            ),
            Self::StageDuration => (
                "codex_orchestrator.stage.duration",
                "s",
                "Time from a stage's begin to its end",
                Kind::Histogram(SECONDS),
            ),
            Self::StageRetries => {
                ("codex_orchestrator.stage.retries", "{attempt}", "Attempts beyond the first", Kind::Counter)
            }
            Self::AgentTurns => {
                ("codex_orchestrator.agent.turns", "{turn}", "Turns that agents took", Kind::Counter)
            }
            Self::ToolDecisions => (
                "codex_orchestrator.tool.decisions",
                "{decision}",
                "Decisions on tool calls, by source",
                Kind::Counter,
            ),
            Self::ToolCalls => {
                ("codex_orchestrator.tool.calls", "{call}", "Tool calls that ended, by status", Kind::Counter)
            }
            Self::TokenUsage => (
                "gen_ai.client.token.usage",
                "{token}",
                "Number of input and output tokens used",
                Kind::Histogram(TOKENS),
            ),
            Self::OperationDuration => (
                "gen_ai.client.operation.duration",
                "s",
                "GenAI operation duration",
                Kind::Histogram(OPERATION_SECONDS),
            ),
        }
    }
}

/// One measured value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Measurement {
    pub(crate) instrument: Instrument,
    pub(crate) value: f64,
    /// Few different values each: never an id.
    pub(crate) attributes: Vec<(&'static str, String)>,
}

/// Sum of the values of one series since the last export.
#[derive(Debug, Clone, Default)]
struct Series {
    count: u64,
    sum: f64,
    smallest: f64,
    largest: f64,
    /// Empty for a counter.
    buckets: Vec<u64>,
}

/// The series of one instrument, by their attributes in order.
type SeriesByLabels = BTreeMap<Vec<(&'static str, String)>, Series>;

/// Adds measurements up until they are exported.
#[derive(Debug, Default)]
pub(crate) struct Aggregator {
    series: BTreeMap<Instrument, SeriesByLabels>,
    since: Option<Timestamp>,
}

impl Aggregator {
    /// Adds one measured value.
    pub(crate) fn add(&mut self, now: Timestamp, mut measurement: Measurement) {
        self.since.get_or_insert(now);
        measurement.attributes.sort_unstable();
        let all = self.series.entry(measurement.instrument).or_default();
        if all.len() >= LONGEST_SERIES && !all.contains_key(&measurement.attributes) {
            measurement.attributes = vec![(OVERFLOW, "true".to_owned())];
        }
        let value = measurement.value;
        let series = all.entry(measurement.attributes).or_insert_with(|| Series {
            smallest: value,
            largest: value,
            ..Series::default()
        });
        series.count += 1;
        series.sum += value;
        series.smallest = series.smallest.min(value);
        series.largest = series.largest.max(value);
        if let Kind::Histogram(bounds) = measurement.instrument.definition().3 {
            series.buckets.resize(bounds.len() + 1, 0);
            let bucket = bounds.iter().position(|bound| value <= *bound).unwrap_or(bounds.len());
            if let Some(count) = series.buckets.get_mut(bucket) {
                *count += 1;
            }
        }
    }

    /// How many data points an export would carry.
    pub(crate) fn points(&self) -> usize {
        self.series.values().map(BTreeMap::len).sum()
    }

    /// What there is to export, as it stands; [`Aggregator::clear`] once it has been taken.
    pub(crate) fn export(&self, now: Timestamp) -> Vec<Metric> {
        let start = nanos(self.since.unwrap_or(now));
        self.series
            .iter()
            .map(|(instrument, series)| metric(*instrument, series, start, nanos(now)))
            .collect()
    }

    /// Begins the next interval.
    pub(crate) fn clear(&mut self) {
        self.series.clear();
        self.since = None;
    }
}

fn metric(instrument: Instrument, series: &SeriesByLabels, start: u64, end: u64) -> Metric {
    let (name, unit, description, kind) = instrument.definition();
    let temporality = AggregationTemporality::Delta as i32;
    let data = match kind {
        Kind::Counter => Data::Sum(Sum {
            data_points: series
                .iter()
                .map(|(key, series)| NumberDataPoint {
                    attributes: attributes(key),
                    start_time_unix_nano: start,
                    time_unix_nano: end,
                    value: Some(number_data_point::Value::AsInt(whole(series.sum))),
                    ..NumberDataPoint::default()
                })
                .collect(),
            aggregation_temporality: temporality,
            is_monotonic: true,
        }),
        Kind::Histogram(bounds) => Data::Histogram(Histogram {
            data_points: series
                .iter()
                .map(|(key, series)| HistogramDataPoint {
                    attributes: attributes(key),
                    start_time_unix_nano: start,
                    time_unix_nano: end,
                    count: series.count,
                    sum: Some(series.sum),
                    bucket_counts: series.buckets.clone(),
                    explicit_bounds: bounds.to_vec(),
                    min: Some(series.smallest),
                    max: Some(series.largest),
                    ..HistogramDataPoint::default()
                })
                .collect(),
            aggregation_temporality: temporality,
        }),
    };
    Metric {
        name: name.to_owned(),
        unit: unit.to_owned(),
        description: description.to_owned(),
        data: Some(data),
        ..Metric::default()
    }
}

fn attributes(key: &[(&'static str, String)]) -> Vec<KeyValue> {
    key.iter()
        .map(|(name, value)| match *name {
            OVERFLOW => key_value(name, true),
            _ => key_value(name, value.as_str()),
        })
        .collect()
}

/// Counters count whole things.
#[expect(clippy::cast_possible_truncation, reason = "a sum of small whole numbers is far below 2^53")]
fn whole(sum: f64) -> i64 {
    sum.round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn measured(instrument: Instrument, value: f64, label: &str) -> Measurement {
        Measurement { instrument, value, attributes: vec![("label", label.to_owned())] }
    }

    #[test]
    fn values_are_added_up_per_set_of_attributes() {
        let mut aggregator = Aggregator::default();
        for (value, label) in [(1.0, "a"), (1.0, "b"), (1.0, "a")] {
            aggregator.add(at(5), measured(Instrument::Runs, value, label));
        }
        let exported = aggregator.export(at(9));
        let Some(Data::Sum(sum)) = &exported[0].data else { panic!("a counter") };
        let values: Vec<_> = sum.data_points.iter().map(|point| point.value).collect();
        assert_eq!(
            values,
            [Some(number_data_point::Value::AsInt(2)), Some(number_data_point::Value::AsInt(1))]
        );
        assert_eq!(sum.data_points[0].start_time_unix_nano, 5_000_000);
        assert_eq!(sum.data_points[0].time_unix_nano, 9_000_000);
    }

    #[test]
    fn a_histogram_counts_each_value_in_its_bucket() {
        let mut aggregator = Aggregator::default();
        for value in [0.0, 1.0, 2.0, 1e12] {
            aggregator.add(at(0), measured(Instrument::TokenUsage, value, "a"));
        }
        let exported = aggregator.export(at(0));
        let Some(Data::Histogram(histogram)) = &exported[0].data else { panic!("a histogram") };
        let point = &histogram.data_points[0];
        assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
        assert_eq!(point.bucket_counts[0], 2, "a bound belongs to the bucket below it");
        assert_eq!(point.bucket_counts[1], 1);
        assert_eq!(point.bucket_counts.last(), Some(&1));
        assert_eq!((point.count, point.min, point.max), (4, Some(0.0), Some(1e12)));
    }

    #[test]
    fn attributes_without_end_are_counted_together() {
        let mut aggregator = Aggregator::default();
        for number in 0..10_000 {
            aggregator.add(at(0), measured(Instrument::ToolCalls, 1.0, &number.to_string()));
        }
        assert_eq!(aggregator.points(), LONGEST_SERIES + 1);
        aggregator.clear();
        assert_eq!(aggregator.points(), 0);
    }
}
