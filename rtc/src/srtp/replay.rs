//! Which packet indices of one stream were seen already (RFC 3711 section 3.3.2).

/// Words of the bitmap.
const WORDS: usize = 32;
/// How far behind the newest a packet may be: 1,984. RFC 3711 asks for 64 at least, libwebrtc takes
/// 1,024; this is a second of a 20 Mb/s stream, longer than the answer to any NACK takes, for 256
/// bytes a stream.
pub(super) const WIDTH: u64 = (WORDS as u64 - 1) * 64;

/// A window behind the newest index, as a ring of words (the scheme of RFC 6479).
#[derive(Clone, Debug, Default)]
pub(super) struct ReplayWindow {
    /// One more than the newest index; 0 before the first.
    next: u64,
    words: [u64; WORDS],
}

impl ReplayWindow {
    /// The newest index.
    pub(super) fn newest(&self) -> Option<u64> {
        self.next.checked_sub(1)
    }

    /// Whether `index` is new: neither seen nor too old to tell.
    pub(super) fn is_new(&self, index: u64) -> bool {
        if index >= self.next {
            return true;
        }
        self.next - index <= WIDTH && self.words.get(word(index)).is_some_and(|word| word & bit(index) == 0)
    }

    /// Marks `index` as seen. It is new: [`Self::is_new`] said so.
    pub(super) fn mark(&mut self, index: u64) {
        if let Some(newest) = self.newest().filter(|newest| index > *newest) {
            // The words that the window enters hold bits of a lap ago.
            let entered = (index / 64 - newest / 64).min(WORDS as u64);
            for step in 0..entered {
                if let Some(word) = self.words.get_mut(word(index - step * 64)) {
                    *word = 0;
                }
            }
        }
        self.next = self.next.max(index.saturating_add(1));
        if let Some(word) = self.words.get_mut(word(index)) {
            *word |= bit(index);
        }
    }
}

fn word(index: u64) -> usize {
    (index / 64) as usize % WORDS
}

fn bit(index: u64) -> u64 {
    1 << (index % 64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_repeated_index_is_not_new() {
        let mut window = ReplayWindow::default();
        for index in [5, 3, 4, 1_000_000, 999_999] {
            assert!(window.is_new(index));
            window.mark(index);
            assert!(!window.is_new(index));
        }
        assert!(!window.is_new(5), "too old to tell");
    }

    #[test]
    fn the_window_is_as_wide_as_it_says() {
        let mut window = ReplayWindow::default();
        window.mark(10_000);
        assert!(window.is_new(10_000 - WIDTH + 1));
        assert!(!window.is_new(10_000 - WIDTH));
        const { assert!(WIDTH >= 1024) };
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_set(steps in proptest::collection::vec((any::<bool>(), 0_u64..3000), 1..400)) {
            let (mut window, mut seen, mut newest) = (ReplayWindow::default(), BTreeSet::new(), 0_u64);
            for (forward, distance) in steps {
                let index = if forward { newest + distance / 20 * (1 + distance % 9) } else { newest.saturating_sub(distance) };
                let in_window = seen.is_empty() || index + WIDTH > newest;
                prop_assert_eq!(window.is_new(index), in_window && !seen.contains(&index), "{}", index);
                if window.is_new(index) {
                    window.mark(index);
                    seen.insert(index);
                    newest = newest.max(index);
                }
            }
        }
    }
}
