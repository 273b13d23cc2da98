//! Durations as they are written: `30s`, `500ms`, `2m`, `1h`; a bare number is seconds.

use std::{str::FromStr, time::Duration};

/// A duration of a command line or a scenario.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "Written")]
pub struct Span(pub Duration);

/// Why a text is no duration.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is no duration: write 30s, 500ms, 2m or 1h")]
pub struct SpanError(String);

/// A year: longer ones are a slip.
const SECONDS_MAX: f64 = 366.0 * 86_400.0;

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let text = text.trim();
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let factor = match unit.trim() {
            "ms" => 1e-3,
            "" | "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3_600.0,
            _ => return Err(SpanError(text.to_owned())),
        };
        let seconds = number.parse::<f64>().ok().map(|number| number * factor).filter(|s| (0.0..=SECONDS_MAX).contains(s));
        seconds.map(|seconds| Self(Duration::from_secs_f64(seconds))).ok_or_else(|| SpanError(text.to_owned()))
    }
}

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Seconds(f64),
}

impl TryFrom<Written> for Span {
    type Error = SpanError;

    fn try_from(written: Written) -> Result<Self, SpanError> {
        match written {
            Written::Text(text) => text.parse(),
            Written::Seconds(seconds) => seconds.to_string().parse(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_and_without_units() {
        for (text, ms) in [("30s", 30_000), ("500ms", 500), ("2m", 120_000), ("1.5h", 5_400_000), ("7", 7_000), (" 0 ", 0)] {
            assert_eq!(text.parse(), Ok(Span(Duration::from_millis(ms))), "{text}");
        }
        for text in ["", "s", "-1s", "5 years", "1e99", "99999h", "1.2.3s"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
