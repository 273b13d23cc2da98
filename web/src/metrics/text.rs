//! Prometheus's text form, written by hand: names, one line of help, labels, numbers.

use std::fmt::Write as _;

/// What a family counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It only grows.
    Counter,
    /// It is as it is.
    Gauge,
    /// It has buckets.
    Histogram,
}

/// A text being written, family by family.
#[derive(Debug, Default)]
pub(super) struct Exposition {
    text: String,
    name: &'static str,
}

impl Exposition {
    /// Begins a family. It is told even if it has no sample, so that what is named in a dashboard is
    /// there from the start.
    pub(super) fn family(&mut self, kind: Kind, name: &'static str, help: &'static str) -> &mut Self {
        self.name = name;
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // Writing to a string cannot fail.
        let _infallible = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        self
    }

    /// A counter of one number.
    pub(super) fn counter(&mut self, name: &'static str, help: &'static str, value: u64) {
        self.family(Kind::Counter, name, help).whole(&[], value);
    }

    /// A counter by one label.
    pub(super) fn counters(
        &mut self,
        name: &'static str,
        help: &'static str,
        label: &str,
        values: impl IntoIterator<Item = (&'static str, u64)>,
    ) {
        self.family(Kind::Counter, name, help);
        for (word, value) in values {
            self.whole(&[(label, word)], value);
        }
    }

    /// A gauge of one number.
    pub(super) fn gauge(&mut self, name: &'static str, help: &'static str, value: f64) {
        self.family(Kind::Gauge, name, help).sample(&[], value);
    }

    /// One number of the family.
    pub(super) fn whole(&mut self, labels: &[(&str, &str)], value: u64) {
        self.head("", labels);
        let _infallible = writeln!(self.text, " {value}");
    }

    /// One number of the family.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        self.head("", labels);
        let value = if value.is_finite() { value } else { 0.0 };
        let _infallible = writeln!(self.text, " {value}");
    }

    /// A histogram: upper ends in seconds, each with how many were at most so large.
    pub(super) fn buckets(&mut self, labels: &[(&str, &str)], buckets: &[(f64, u64)], count: u64, sum: f64) {
        for (end, count) in buckets {
            let end = end.to_string();
            let all: Vec<(&str, &str)> = labels.iter().copied().chain([("le", end.as_str())]).collect();
            self.head("_bucket", &all);
            let _infallible = writeln!(self.text, " {count}");
        }
        let all: Vec<(&str, &str)> = labels.iter().copied().chain([("le", "+Inf")]).collect();
        for (suffix, labels, value) in
            [("_bucket", &*all, count.to_string()), ("_sum", labels, sum.to_string()), ("_count", labels, count.to_string())]
        {
            self.head(suffix, labels);
            let _infallible = writeln!(self.text, " {value}");
        }
    }

    fn head(&mut self, suffix: &str, labels: &[(&str, &str)]) {
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        for (index, (label, value)) in labels.iter().enumerate() {
            self.text.push(if index == 0 { '{' } else { ',' });
            let _infallible = write!(self.text, "{label}=\"");
            self.escape(value);
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
    }

    /// As the form wants it in a label: backslash, quote and line feed.
    fn escape(&mut self, value: &str) {
        for c in value.chars() {
            match c {
                '\\' => self.text.push_str("\\\\"),
                '"' => self.text.push_str("\\\""),
                '\n' => self.text.push_str("\\n"),
                c => self.text.push(c),
            }
        }
    }

    pub(super) fn finish(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_labels_and_buckets_are_written_as_prometheus_reads_them() {
        let mut out = Exposition::default();
        out.counter("a_total", "One.", 7);
        out.family(Kind::Gauge, "b", "Two.").sample(&[("x", "1"), ("y", "a\"b\\c\nd")], 0.5);
        out.sample(&[], f64::NAN);
        out.family(Kind::Histogram, "c_seconds", "Three.").buckets(&[("z", "q")], &[(0.005, 1), (1.0, 2)], 3, 4.5);
        let wanted = "# HELP a_total One.\n# TYPE a_total counter\na_total 7\n\
            # HELP b Two.\n# TYPE b gauge\nb{x=\"1\",y=\"a\\\"b\\\\c\\nd\"} 0.5\nb 0\n\
            # HELP c_seconds Three.\n# TYPE c_seconds histogram\nc_seconds_bucket{z=\"q\",le=\"0.005\"} 1\n\
            c_seconds_bucket{z=\"q\",le=\"1\"} 2\nc_seconds_bucket{z=\"q\",le=\"+Inf\"} 3\nc_seconds_sum{z=\"q\"} 4.5\n\
            c_seconds_count{z=\"q\"} 3\n";
        assert_eq!(out.finish(), wanted);
    }
}
