//! How many lines one place in the program may write: a flood of clients is no flood of lines.

use std::{
    collections::HashMap,
    sync::Mutex,
    time::{Duration, Instant},
};

use tracing::callsite::Identifier;

const WINDOW: Duration = Duration::from_secs(1);
/// Lines of one place in a window. One that writes as many all the time makes half a mebibyte a
/// minute; fifty clients a second can still be followed one by one.
const LINES_MAX: u32 = 50;

/// What each place has written lately. As many entries as there are places: the program bounds it.
#[derive(Default)]
pub(super) struct Floods(Mutex<HashMap<Identifier, Window>>);

struct Window {
    since: Instant,
    lines: u32,
    left_out: u64,
}

impl Floods {
    /// How many lines of this place were left out since the last one, or `None` if this one is to be
    /// left out as well.
    pub(super) fn admit(&self, place: Identifier, now: Instant) -> Option<u64> {
        let mut places = self.0.lock().ok()?;
        let window = places.entry(place).or_insert_with(|| Window { since: now, lines: 0, left_out: 0 });
        if now.saturating_duration_since(window.since) >= WINDOW {
            (window.since, window.lines) = (now, 0);
        }
        if window.lines >= LINES_MAX {
            window.left_out = window.left_out.saturating_add(1);
            return None;
        }
        window.lines += 1;
        Some(std::mem::take(&mut window.left_out))
    }
}

#[cfg(test)]
mod tests {
    use tracing::Metadata;

    use super::*;

    struct Place;

    impl tracing::Callsite for Place {
        fn set_interest(&self, _interest: tracing::subscriber::Interest) {}

        fn metadata(&self) -> &Metadata<'_> {
            unreachable!("nobody asks")
        }
    }

    #[test]
    fn a_place_writes_so_many_lines_a_second_and_tells_how_many_it_did_not() {
        static HERE: Place = Place;
        let (floods, start) = (Floods::default(), Instant::now());
        let here = || Identifier(&HERE as &'static dyn tracing::Callsite);
        let written = (0..200).filter(|_| floods.admit(here(), start).is_some()).count();
        assert_eq!(written, 50);
        assert_eq!(floods.admit(here(), start + WINDOW), Some(150));
        assert_eq!(floods.admit(here(), start + WINDOW), Some(0));
    }
}
