//! What a run is expected to show: `loss<0.1%`, `connected=100%`, `p99-latency<200ms`.

use std::{cmp::Ordering, fmt, str::FromStr};

use crate::figures::{Figures, Unit};

/// Relative room of `=`: figures are measured, not counted, and shown rounded.
const EQUAL_WITHIN: f64 = 1e-9;

/// How a figure is to lie to the bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    Less,
    AtMost,
    Equal,
    AtLeast,
    More,
}

impl Relation {
    /// Longer ones first: `<=` begins with `<`.
    const ALL: [(&'static str, Self); 6] = [
        ("<=", Self::AtMost),
        (">=", Self::AtLeast),
        ("==", Self::Equal),
        ("<", Self::Less),
        (">", Self::More),
        ("=", Self::Equal),
    ];

    fn holds(self, figure: f64, bound: f64) -> bool {
        let order =
            if (figure - bound).abs() <= bound.abs() * EQUAL_WITHIN { Some(Ordering::Equal) } else { figure.partial_cmp(&bound) };
        match self {
            Self::Less => order == Some(Ordering::Less),
            Self::AtMost => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            Self::Equal => order == Some(Ordering::Equal),
            Self::AtLeast => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
            Self::More => order == Some(Ordering::Greater),
        }
    }
}

/// One expectation.
#[derive(Clone, Debug, PartialEq)]
pub struct Expect {
    figure: String,
    relation: Relation,
    /// In the figure's own unit: per cent, milliseconds, kb/s, or a number.
    bound: f64,
    text: String,
}

/// Why a text is no expectation.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExpectError {
    /// No comparison.
    #[error("{0:?} compares nothing: write e.g. loss<0.1% (with <, <=, =, >=, >)")]
    NoRelation(String),
    /// No such figure.
    #[error("there is no figure {name:?}; there are {}, and p50, p90, p95, p99.9, max, mean", Figures::names().join(", "))]
    NoFigure {
        /// As it was written.
        name: String,
    },
    /// The bound is no number.
    #[error("{0:?} is no number")]
    NoNumber(String),
    /// The bound's unit is not the figure's.
    #[error("{name} is given in {wanted}, not in {unit:?}")]
    Unit {
        /// The figure.
        name: String,
        /// As it was written.
        unit: String,
        /// What it can be.
        wanted: &'static str,
    },
}

impl FromStr for Expect {
    type Err = ExpectError;

    fn from_str(text: &str) -> Result<Self, ExpectError> {
        let at = text.find(['<', '>', '=']).ok_or_else(|| ExpectError::NoRelation(text.to_owned()))?;
        let (name, rest) = text.split_at(at);
        let name = name.trim().to_ascii_lowercase();
        let (sign, relation) =
            Relation::ALL.into_iter().find(|(sign, _)| rest.starts_with(sign)).unwrap_or(("=", Relation::Equal));
        let bound = rest[sign.len()..].trim();
        let unit = Figures::unit(&name).ok_or_else(|| ExpectError::NoFigure { name: name.clone() })?;
        let end = bound.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '-').unwrap_or(bound.len());
        let (number, suffix) = bound.split_at(end);
        let number: f64 = number.parse().map_err(|_| ExpectError::NoNumber(bound.to_owned()))?;
        let factor = factor(unit, suffix.trim()).ok_or_else(|| ExpectError::Unit {
            name: name.clone(),
            unit: suffix.trim().to_owned(),
            wanted: wanted(unit),
        })?;
        Ok(Self { figure: name, relation, bound: number * factor, text: text.trim().to_owned() })
    }
}

/// What a number with this suffix is to be multiplied by; none if the figure has no such unit.
fn factor(unit: Unit, suffix: &str) -> Option<f64> {
    Some(match (unit, suffix.to_ascii_lowercase().as_str()) {
        (Unit::Percent, "%") | (Unit::Millis, "ms") | (Unit::Kbps, "kb/s" | "kbps") | (Unit::Number, "") => 1.0,
        (Unit::Millis, "us" | "µs") => 1e-3,
        (Unit::Millis, "s") => 1e3,
        (Unit::Kbps, "mb/s" | "mbps") => 1e3,
        (Unit::Number, "k") => 1e3,
        // A share may be written as one, and a bare bitrate or time is not guessed at.
        (Unit::Percent, "") => 100.0,
        _ => return None,
    })
}

const fn wanted(unit: Unit) -> &'static str {
    match unit {
        Unit::Percent => "% (or as a share: 0.001)",
        Unit::Millis => "ms, s or us",
        Unit::Kbps => "kb/s or Mb/s",
        Unit::Number => "a number",
    }
}

/// How an expectation fared.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// As it was written.
    pub text: String,
    /// The figure; none if nothing of the kind was measured, which meets no expectation.
    pub measured: Option<f64>,
    /// Whether it was met.
    pub met: bool,
    unit: Unit,
    bound: f64,
}

impl Verdict {
    /// Of one group only.
    pub(crate) fn of(mut self, group: &str) -> Self {
        self.text = format!("{group}: {}", self.text);
        self
    }
}

impl Expect {
    /// Compares.
    pub fn judge(&self, figures: &Figures) -> Verdict {
        let measured = figures.get(&self.figure);
        let met = measured.is_some_and(|measured| self.relation.holds(measured, self.bound));
        let unit = Figures::unit(&self.figure).unwrap_or(Unit::Number);
        Verdict { text: self.text.clone(), measured, met, unit, bound: self.bound }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.met { "ok  " } else { "MISS" };
        match self.measured {
            None => write!(f, "{sign} {}: nothing was measured", self.text),
            Some(measured) if self.met => write!(f, "{sign} {}: {}", self.text, self.unit.show(measured)),
            Some(measured) => {
                let off = (measured - self.bound).abs();
                write!(f, "{sign} {}: {}, off by {}", self.text, self.unit.show(measured), self.unit.show(off))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn figures() -> Figures {
        Figures::of([("loss", 0.05), ("connected", 100.0), ("p99-latency", 250.0), ("failed", 0.0), ("freezes", 3.0)])
    }

    fn verdict(text: &str) -> Verdict {
        text.parse::<Expect>().unwrap_or_else(|error| panic!("{text}: {error}")).judge(&figures())
    }

    #[test]
    fn expectations_are_met_or_missed() {
        for met in
            ["loss<0.1%", "connected=100%", "connected == 1", "p99-latency <= 0.25s", "failed=0", "loss>=0.05%", "freezes>2"]
        {
            assert!(verdict(met).met, "{met}");
        }
        for missed in ["loss<0.05%", "connected<100%", "p99-latency<200ms", "failed>0", "freezes=4", "p50-latency<1s"] {
            assert!(!verdict(missed).met, "{missed}");
        }
    }

    #[test]
    fn a_miss_says_by_how_much() {
        assert_eq!(verdict("p99-latency<200ms").to_string(), "MISS p99-latency<200ms: 250.0 ms, off by 50.0 ms");
        assert_eq!(verdict("p50-latency<1s").to_string(), "MISS p50-latency<1s: nothing was measured");
        assert_eq!(verdict("loss<0.1%").to_string(), "ok   loss<0.1%: 0.050 %");
    }

    #[test]
    fn what_cannot_be_compared_is_refused_with_what_can() {
        let error = |text: &str| text.parse::<Expect>().unwrap_err().to_string();
        assert!(error("loss").contains("compares nothing"));
        assert!(error("los<1%").contains("there are") && error("los<1%").contains("p99-latency"));
        assert!(error("loss<much").contains("no number"));
        assert!(error("p99-latency<200").contains("ms, s or us"), "a bare time is not guessed at");
        assert!(error("loss<1ms").contains('%'));
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_parser(text in ".{0,40}") {
            let _read = text.parse::<Expect>();
        }

        #[test]
        fn bounds_are_read_as_written(
            name in prop::sample::select(vec!["loss", "connected"]),
            sign in prop::sample::select(vec!["<", "<=", "=", ">=", ">"]),
            hundredths in 0_u32..100_000,
        ) {
            let bound = f64::from(hundredths) / 100.0;
            let read: Expect = format!(" {name} {sign} {bound}% ").parse().unwrap();
            prop_assert_eq!(read.figure.as_str(), name);
            prop_assert!((read.bound - bound).abs() < 1e-9);
            let at_bound = read.judge(&Figures::of([(name, bound)]));
            prop_assert_eq!(at_bound.met, sign.contains('='));
        }
    }
}
