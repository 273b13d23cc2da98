//! How much all places together may write: whoever floods the server does not fill its disk.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tracing::Level;

/// What is gained in a second: 720 KiB in a minute, some eighty lines in each second of it.
const BYTES_PER_SECOND: u64 = 12 << 10;
/// What may be written at once, by a crowd that comes in one moment. With what is gained meanwhile it
/// stays below a mebibyte in any minute.
const BURST_BYTES: u64 = 256 << 10;
/// How often it is said that lines were left out: that is a line too.
const SAY_EVERY: Duration = Duration::from_secs(1);
/// Of the burst, what is for warnings only.
const WARNINGS_BYTES: u64 = 64 << 10;

/// What may still be written. Errors always may.
pub(super) struct Budget(Mutex<Purse>);

struct Purse {
    bytes: u64,
    at: Option<Instant>,
    left_out: u64,
    said: Option<Instant>,
}

impl Default for Budget {
    fn default() -> Self {
        Self(Mutex::new(Purse { bytes: BURST_BYTES, at: None, left_out: 0, said: None }))
    }
}

impl Budget {
    /// How many lines were left out that nobody was told of, once a second; `None` if this one is to be left
    /// out as well.
    pub(super) fn spend(&self, level: Level, bytes: usize, now: Instant) -> Option<u64> {
        // Numbers alone, right whoever panicked over them; an error must not go unwritten for it.
        let mut purse = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let gained = purse.at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let gained = u64::try_from(gained.as_micros()).unwrap_or(u64::MAX).saturating_mul(BYTES_PER_SECOND) / 1_000_000;
        if gained > 0 || purse.at.is_none() {
            purse.at = Some(now);
        }
        purse.bytes = purse.bytes.saturating_add(gained).min(BURST_BYTES);
        let kept = if level == Level::INFO { WARNINGS_BYTES } else { 0 };
        let bytes = bytes as u64;
        if level != Level::ERROR && purse.bytes < kept.saturating_add(bytes) {
            purse.left_out = purse.left_out.saturating_add(1);
            return None;
        }
        purse.bytes = purse.bytes.saturating_sub(bytes);
        if purse.left_out == 0 || purse.said.is_some_and(|said| now.saturating_duration_since(said) < SAY_EVERY) {
            return Some(0);
        }
        purse.said = Some(now);
        Some(std::mem::take(&mut purse.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes written in a minute by a flood of lines of this level, and how many lines it said were left out.
    fn flood(budget: &Budget, level: Level, start: Instant) -> (usize, u64) {
        let lines = (0..60_000).map(|ms| start + Duration::from_millis(ms));
        let written: Vec<u64> = lines.filter_map(|now| budget.spend(level, 400, now)).collect();
        assert!(written.iter().filter(|left_out| **left_out > 0).count() <= 60, "it is said once a second");
        (written.len() * 400, written.iter().sum())
    }

    #[test]
    fn a68_the_worst_minute_is_below_a_mebibyte_and_keeps_room_for_warnings() {
        let (budget, start) = (Budget::default(), Instant::now());
        let (of_infos, left_out) = flood(&budget, Level::INFO, start);
        assert!((600 << 10..1 << 20).contains(&of_infos), "{of_infos}");
        assert!(left_out > 55_000, "it is told what is missing: {left_out}");
        let end = start + Duration::from_secs(60);
        assert!(budget.spend(Level::WARN, 400, end).is_some(), "a warning has room");
        let (of_warnings, _) = flood(&Budget::default(), Level::WARN, start);
        assert!(of_warnings < 1 << 20, "{of_warnings}");
    }

    #[test]
    fn errors_are_always_written_and_a_quiet_log_leaves_nothing_out() {
        let (budget, start) = (Budget::default(), Instant::now());
        flood(&budget, Level::WARN, start);
        let end = start + Duration::from_secs(60);
        assert!((0..100).all(|_| budget.spend(Level::ERROR, 4_000, end).is_some()));
        let budget = Budget::default();
        let seconds = (0..600).map(|s| start + Duration::from_secs(s));
        assert!(seconds.into_iter().all(|now| (0..50).all(|_| budget.spend(Level::INFO, 200, now) == Some(0))));
    }
}
