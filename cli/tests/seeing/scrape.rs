//! A scrape, read as strictly as Prometheus reads it.

use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug)]
pub struct Sample {
    /// With `_bucket`, `_sum` or `_count` where it is a histogram's.
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

#[derive(Debug, Default)]
pub struct Scrape {
    /// The kind of each metric.
    pub kinds: BTreeMap<String, String>,
    pub samples: Vec<Sample>,
}

impl Scrape {
    pub fn parse(text: &str) -> Scrape {
        let mut scrape = Scrape::default();
        let mut seen = BTreeSet::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                let before = scrape.kinds.insert(name.into(), kind.into());
                assert_eq!(before, None, "{name} comes twice");
            } else if !line.starts_with('#') {
                assert!(seen.insert(line.rsplit_once(' ').unwrap().0), "{line} comes twice");
                scrape.samples.push(sample(line));
            }
        }
        for sample in &scrape.samples {
            assert!(scrape.kinds.contains_key(metric(&sample.name, &scrape.kinds)), "{} has no type", sample.name);
        }
        scrape
    }

    /// The sum of the samples that have these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |sample: &&Sample| {
            sample.name == name
                && labels.iter().all(|(label, value)| sample.labels.get(*label).map(String::as_str) == Some(value))
        };
        self.samples.iter().filter(has).map(|sample| sample.value).sum()
    }

    pub fn has(&self, name: &str) -> bool {
        self.samples.iter().any(|sample| sample.name == name)
    }
}

/// A sample's metric: a histogram's samples bear its name and more.
fn metric<'a>(name: &'a str, kinds: &BTreeMap<String, String>) -> &'a str {
    let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
    of_histogram.filter(|base| kinds.get(*base).is_some_and(|kind| kind == "histogram")).unwrap_or(name)
}

fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').unwrap();
    let value = value.parse().unwrap_or_else(|_| panic!("{line}: no number"));
    let Some((name, rest)) = series.split_once('{') else {
        return Sample { name: series.into(), labels: BTreeMap::new(), value };
    };
    let labels = rest.strip_suffix("\"}").unwrap_or_else(|| panic!("{line}: unended labels"));
    let labels = labels.split("\",").map(|label| {
        let (label, value) = label.split_once("=\"").unwrap_or_else(|| panic!("{line}: {label}"));
        (label.to_owned(), value.to_owned())
    });
    Sample { name: name.into(), labels: labels.collect(), value }
}
