//! What was sent under which transport-wide number.

/// Packets that feedback may still come for: a second and more at 8 Mb/s. A power of two.
pub(super) const SIZE: usize = 1_024;

/// One packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    /// Microseconds since the estimator's start.
    pub(super) at: u64,
    /// Bytes on the wire.
    pub(super) size: usize,
}

/// The last [`SIZE`] packets, eight bytes each. The table is made when the first is sent.
#[derive(Debug, Default)]
pub(super) struct SentLog {
    entries: Vec<Entry>,
    next: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    /// Low half: what is older than an hour is out of the table long since.
    at: u32,
    /// 0: nothing, or already spoken of.
    size: u16,
}

impl SentLog {
    pub(super) fn next_seq(&self) -> u16 {
        self.next as u16
    }

    /// Notes a packet under the next number, which is returned.
    pub(super) fn record(&mut self, at: u64, size: usize) -> u16 {
        if self.entries.is_empty() {
            self.entries.resize(SIZE, Entry::default());
        }
        let seq = self.next;
        if let Some(entry) = self.entries.get_mut(seq as usize % SIZE) {
            *entry = Entry { at: at as u32, size: u16::try_from(size).unwrap_or(u16::MAX) };
        }
        self.next += 1;
        seq as u16
    }

    /// The packet with this number, once.
    pub(super) fn take(&mut self, seq: u16, now: u64) -> Option<Sent> {
        let behind = (self.next as u16).wrapping_sub(seq);
        let place = self.next.checked_sub(u64::from(behind))?;
        if behind == 0 || usize::from(behind) > SIZE {
            return None;
        }
        let entry = self.entries.get_mut(place as usize % SIZE)?;
        let size = std::mem::take(&mut entry.size);
        let age = (now as u32).wrapping_sub(entry.at);
        (size > 0).then_some(Sent { at: now.checked_sub(u64::from(age))?, size: usize::from(size) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_packet_is_found_once_across_the_wrap() {
        let mut log = SentLog::default();
        for n in 0..70_000_u64 {
            assert_eq!(log.record(n * 1_000, 100 + n as usize % 10), n as u16);
        }
        let now = 70_000_000;
        assert_eq!(log.take(69_990_u64 as u16, now), Some(Sent { at: 69_990_000, size: 100 }));
        assert_eq!(log.take(69_990_u64 as u16, now), None, "already spoken of");
        assert_eq!(log.take(log.next_seq(), now), None, "not sent yet");
        assert_eq!(log.take((70_000 - SIZE as u64 - 1) as u16, now), None, "forgotten");
        assert_eq!(SentLog::default().take(1, 0), None);
    }

    #[test]
    fn times_go_on_after_an_hour() {
        let mut log = SentLog::default();
        let late = 5_000_000_000;
        log.record(late, 9);
        assert_eq!(log.take(0, late + 50_000), Some(Sent { at: late, size: 9 }));
    }
}
