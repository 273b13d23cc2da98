//! What is said of a group whose players are not all read at once: whose the figures are that tell when frames came.

use std::{fmt, time::Duration};

use serde_json::{Value, json};

/// Sessions by how they were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) prompt: u64,
    pub(super) lazy: u64,
    /// How often these.
    pub(super) every: Duration,
    /// Pauses that they had for certain.
    pub(super) long_freezes: u64,
}

impl Reading {
    pub(super) fn json(&self) -> Value {
        json!({
            "prompt_sessions": self.prompt,
            "lazy_sessions": self.lazy,
            "every_ms": self.every.as_millis(),
            "lazy_long_freezes": self.long_freezes,
        })
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prompt {
            0 => write!(f, "none at once: latency and freezes are not measured")?,
            prompt => write!(f, "{prompt} sessions at once: latency and freezes are theirs alone")?,
        }
        let (lazy, every, freezes) = (self.lazy, self.every.as_millis(), self.long_freezes);
        write!(f, "; {lazy} at least every {every} ms: {freezes} freezes that were > 500 ms for certain")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_whose_the_figures_are() {
        let reading = Reading { prompt: 250, lazy: 9_750, every: Duration::from_millis(100), long_freezes: 3 };
        let text = reading.to_string();
        assert!(
            text.starts_with("250 sessions at once: latency and freezes are theirs alone; 9750 at least every 100 ms: 3 "),
            "{text}"
        );
        let none = Reading { prompt: 0, ..reading }.to_string();
        assert!(none.contains("latency and freezes are not measured"), "{none}");
    }
}
