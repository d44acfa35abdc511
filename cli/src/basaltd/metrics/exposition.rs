//! Prometheus' text format, version 0.0.4, as
//! <https://prometheus.io/docs/instrumenting/exposition_formats/> describes it.

use basalt_ring::local::Latencies;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Samples gathered from any number of parts, in whatever order; of each metric they come out together.
#[derive(Default)]
pub struct Exposition {
    families: BTreeMap<&'static str, Family>,
}

struct Family {
    kind: &'static str,
    help: &'static str,
    samples: String,
}

pub type Labels<'a> = &'a [(&'a str, &'a str)];

impl Exposition {
    /// Only ever grows, until the process ends.
    pub fn counter(&mut self, name: &'static str, help: &'static str, labels: Labels, value: u64) {
        self.sample(name, "counter", help, "", labels, &value.to_string());
    }

    /// A counter of what is no whole number.
    pub fn counter_of_seconds(&mut self, name: &'static str, help: &'static str, labels: Labels, seconds: f64) {
        self.sample(name, "counter", help, "", labels, &seconds.to_string());
    }

    pub fn gauge(&mut self, name: &'static str, help: &'static str, labels: Labels, value: f64) {
        self.sample(name, "gauge", help, "", labels, &value.to_string());
    }

    /// In seconds.
    pub fn histogram(&mut self, name: &'static str, help: &'static str, labels: Labels, seen: &Latencies) {
        let seconds = |ns: u64| (ns as f64 / 1e9).to_string();
        for (bound, below) in seen.cumulative() {
            let bound = seconds(bound);
            let labels: Vec<(&str, &str)> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
            self.sample(name, "histogram", help, "_bucket", &labels, &below.to_string());
        }
        let all: Vec<(&str, &str)> = labels.iter().copied().chain([("le", "+Inf")]).collect();
        self.sample(name, "histogram", help, "_bucket", &all, &seen.count().to_string());
        self.sample(name, "histogram", help, "_sum", labels, &seconds(seen.sum_ns));
        self.sample(name, "histogram", help, "_count", labels, &seen.count().to_string());
    }

    fn sample(
        &mut self,
        name: &'static str,
        kind: &'static str,
        help: &'static str,
        suffix: &str,
        labels: Labels,
        value: &str,
    ) {
        let family = self.families.entry(name).or_insert(Family { kind, help, samples: String::new() });
        let samples = &mut family.samples;
        samples.push_str(name);
        samples.push_str(suffix);
        for (index, (label, value)) in labels.iter().enumerate() {
            samples.push(if index == 0 { '{' } else { ',' });
            samples.push_str(label);
            samples.push_str("=\"");
            for character in value.chars() {
                match character {
                    '\\' => samples.push_str("\\\\"),
                    '"' => samples.push_str("\\\""),
                    '\n' => samples.push_str("\\n"),
                    other => samples.push(other),
                }
            }
            samples.push('"');
        }
        if !labels.is_empty() {
            samples.push('}');
        }
        samples.push(' ');
        samples.push_str(value);
        samples.push('\n');
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        for (name, family) in &self.families {
            // Writing to a string can't fail.
            let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {}", family.help, family.kind);
            text.push_str(&family.samples);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use basalt_ring::local::LatencyHistogram;

    #[test]
    fn samples_of_a_metric_stand_together_and_labels_are_escaped() {
        let mut exposition = Exposition::default();
        exposition.counter("basalt_b_total", "B.", &[("pool", "a\"b\\c\nd")], 1);
        exposition.gauge("basalt_a_bytes", "A.", &[], 0.5);
        exposition.counter("basalt_b_total", "B.", &[("pool", "x"), ("osd", "3")], 2);
        assert_eq!(
            exposition.text(),
            "# HELP basalt_a_bytes A.\n# TYPE basalt_a_bytes gauge\nbasalt_a_bytes 0.5\n\
             # HELP basalt_b_total B.\n# TYPE basalt_b_total counter\n\
             basalt_b_total{pool=\"a\\\"b\\\\c\\nd\"} 1\nbasalt_b_total{pool=\"x\",osd=\"3\"} 2\n"
        );
    }

    #[test]
    fn a_histogram_is_cumulative_and_ends_with_all() {
        let histogram = LatencyHistogram::default();
        histogram.observe_ns(10_000);
        histogram.observe_ns(u64::MAX / 4);
        let mut exposition = Exposition::default();
        exposition.histogram("basalt_x_seconds", "X.", &[("osd", "0")], &histogram.get());
        let text = exposition.text();
        assert!(text.contains("basalt_x_seconds_bucket{osd=\"0\",le=\"0.000008192\"} 0\n"), "{text}");
        assert!(text.contains("basalt_x_seconds_bucket{osd=\"0\",le=\"0.000016384\"} 1\n"), "{text}");
        assert!(text.contains("basalt_x_seconds_bucket{osd=\"0\",le=\"+Inf\"} 2\n"), "{text}");
        assert!(text.contains("basalt_x_seconds_count{osd=\"0\"} 2\n"), "{text}");
        assert_eq!(text.matches("# TYPE").count(), 1);
    }
}
