//! What was sent to one viewer on one stream, so that a NACK finds it in the ring again.
//!
//! It keeps numbers and ring positions, never packets. Asking too often is refused: one answer per
//! packet and cool-down, and retransmissions together no more than a share of the media sent.

use std::time::Duration;

/// Entries at the start: a second of a 700 kb/s stream. The table doubles while it holds less than
/// [`KEEP_MS`], so that a viewer of a small stream costs two kilobytes.
const SIZE_MIN: usize = 64;
/// Most entries for video: two seconds at 8 Mb/s in packets of 1,200 bytes, 64 kilobytes.
pub(crate) const SIZE_VIDEO: usize = 2_048;
/// Most entries for sound: five seconds of 20 ms packets.
pub(crate) const SIZE_AUDIO: usize = 256;
/// How long a packet is worth finding: no player waits for longer.
const KEEP_MS: u32 = 1_000;
/// Retransmissions may use one byte for this many of media…
const MEDIA_PER_RESENT: i64 = 4;
/// …plus this many saved up: a lost burst of forty full packets is answered whole.
const CREDIT_MAX: i64 = 48 * 1024;
/// The shortest cool-down of one packet: loopback viewers report an RTT of nothing.
const COOL_DOWN_MIN: Duration = Duration::from_millis(20);

/// All that is needed to make a packet's header once more, byte for byte: SRTP must not see two
/// contents under one index (RFC 7714 11 for GCM, RFC 3711 9.1 for counter mode).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Extended number in the viewer's stream.
    pub(crate) out_seq: u64,
    /// Place in the ring, which no other packet ever takes.
    pub(crate) position: u64,
    /// Wire timestamp.
    pub(crate) timestamp: u32,
    /// Length on the wire.
    pub(crate) len: u16,
    /// Payload type on the wire.
    pub(crate) payload_type: u8,
    /// Bytes of padding in it.
    pub(crate) padding: u8,
    /// Its transport-wide number, if it carries one.
    pub(crate) transport_seq: Option<u16>,
    /// When it was sent, in milliseconds of the session's clock.
    pub(crate) sent_ms: u32,
}

/// Half a cache line: one is written for each packet to each viewer.
#[derive(Clone, Copy, Debug)]
struct Entry {
    position: u64,
    /// Low half of the number: the table is far shorter than 2^32.
    out_seq: u32,
    timestamp: u32,
    /// When it was sent, …
    sent_ms: u32,
    /// … and last sent again; the same if it was not.
    resent_ms: u32,
    /// 0 for an empty place.
    len: u16,
    payload_type: u8,
    padding: u8,
    transport_seq: Option<u16>,
}

const _: () = assert!(size_of::<Entry>() <= 32);

impl Entry {
    const EMPTY: Self = Self {
        position: 0,
        out_seq: 0,
        timestamp: 0,
        sent_ms: 0,
        resent_ms: 0,
        len: 0,
        payload_type: 0,
        padding: 0,
        transport_seq: None,
    };

    const fn is_used(&self) -> bool {
        self.len != 0
    }

    fn holds(&self, out_seq: u64) -> bool {
        self.is_used() && self.out_seq == out_seq as u32
    }

    /// `out_seq`: its whole number.
    const fn sent(&self, out_seq: u64) -> Sent {
        Sent {
            out_seq,
            position: self.position,
            timestamp: self.timestamp,
            len: self.len,
            payload_type: self.payload_type,
            padding: self.padding,
            transport_seq: self.transport_seq,
            sent_ms: self.sent_ms,
        }
    }
}

/// Answer to one NACKed number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Send it again.
    Resend(Sent),
    /// It was sent again a moment ago, or too much is.
    TooSoon,
    /// Never sent, or forgotten.
    Unknown,
}

/// The table of one stream. Times are milliseconds on any clock of the caller's.
#[derive(Debug)]
pub(crate) struct History {
    entries: Vec<Entry>,
    size_max: usize,
    highest: Option<u64>,
    credit: i64,
}

impl History {
    /// An empty table that may grow to `size_max` (a power of two).
    pub(crate) fn new(size_max: usize) -> Self {
        Self { entries: Vec::new(), size_max, highest: None, credit: CREDIT_MAX }
    }

    /// Notes a packet as sent.
    pub(crate) fn record(&mut self, sent: Sent) {
        let now_ms = sent.sent_ms;
        if self.entries.is_empty() {
            self.entries.resize(SIZE_MIN.min(self.size_max), Entry::EMPTY);
        }
        let old = self.entries.get(self.slot(sent.out_seq)).copied().unwrap_or(Entry::EMPTY);
        let young = old.is_used() && now_ms.wrapping_sub(old.sent_ms) < KEEP_MS;
        if young && old.out_seq != sent.out_seq as u32 && self.entries.len() < self.size_max {
            self.grow();
        }
        let slot = self.slot(sent.out_seq);
        if let Some(entry) = self.entries.get_mut(slot) {
            *entry = Entry {
                position: sent.position,
                out_seq: sent.out_seq as u32,
                timestamp: sent.timestamp,
                sent_ms: now_ms,
                resent_ms: now_ms,
                len: sent.len,
                payload_type: sent.payload_type,
                padding: sent.padding,
                transport_seq: sent.transport_seq,
            };
        }
        self.highest = self.highest.max(Some(sent.out_seq));
        self.credit = (self.credit + i64::from(sent.len) / MEDIA_PER_RESENT).min(CREDIT_MAX);
    }

    /// Whether this number was sent and is still known.
    pub(crate) fn contains(&self, out_seq: u64) -> bool {
        self.get(out_seq).is_some()
    }

    /// What was sent under this number.
    pub(crate) fn get(&self, out_seq: u64) -> Option<Sent> {
        let entry = self.entries.get(self.slot(out_seq))?;
        entry.holds(out_seq).then(|| entry.sent(out_seq))
    }

    /// The newest packets, newest first, that together are no more than `bytes` and `packets`.
    pub(crate) fn newest(&self, packets: usize, bytes: usize) -> impl Iterator<Item = Sent> {
        let highest = self.highest.unwrap_or(0);
        let mut left = bytes;
        (0..packets as u64).map_while(move |back| self.get(highest.checked_sub(back)?)).take_while(move |sent| {
            let fits = left > 0;
            left = left.saturating_sub(usize::from(sent.len));
            fits
        })
    }

    /// The viewer asks for a number as it stands on the wire.
    pub(crate) fn ask(&mut self, wire_seq: u16, now_ms: u32, rtt: Option<Duration>) -> Asked {
        let Some(highest) = self.highest else { return Asked::Unknown };
        let behind = u64::from((highest as u16).wrapping_sub(wire_seq));
        let Some(out_seq) = highest.checked_sub(behind) else { return Asked::Unknown };
        let slot = self.slot(out_seq);
        let cool_down = rtt.map_or(COOL_DOWN_MIN, |rtt| (rtt / 2).clamp(COOL_DOWN_MIN, Duration::from_secs(1)));
        let credit = self.credit;
        let Some(entry) = self.entries.get_mut(slot).filter(|entry| entry.holds(out_seq)) else { return Asked::Unknown };
        let since = i64::from(now_ms.wrapping_sub(entry.resent_ms) as i32);
        let hot = entry.resent_ms != entry.sent_ms && Duration::from_millis(since.max(0).unsigned_abs()) < cool_down;
        let cost = i64::from(entry.len);
        if hot || cost > credit {
            return Asked::TooSoon;
        }
        // In the millisecond of its sending nothing can have been asked for: a replayed NACK.
        entry.resent_ms = if now_ms == entry.sent_ms { now_ms.wrapping_add(1) } else { now_ms };
        self.credit -= cost;
        Asked::Resend(entry.sent(out_seq))
    }

    fn slot(&self, out_seq: u64) -> usize {
        // The length is a power of two.
        (out_seq as usize) & self.entries.len().wrapping_sub(1)
    }

    fn grow(&mut self) {
        let size = (self.entries.len() * 2).min(self.size_max);
        let old = std::mem::replace(&mut self.entries, vec![Entry::EMPTY; size]);
        for entry in old.into_iter().filter(Entry::is_used) {
            let slot = self.slot(u64::from(entry.out_seq));
            if let Some(place) = self.entries.get_mut(slot) {
                *place = entry;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(out_seq: u64, sent_ms: u32) -> Sent {
        Sent { out_seq, position: out_seq + 1_000, len: 1_200, sent_ms, ..Sent::default() }
    }

    fn filled(numbers: std::ops::Range<u64>, every_ms: u32) -> (History, u32) {
        let mut history = History::new(SIZE_VIDEO);
        let mut now = 0;
        for seq in numbers {
            history.record(sent(seq, now));
            now += every_ms;
        }
        (history, now)
    }

    #[test]
    fn finds_what_was_sent_across_the_wrap() {
        let (mut history, now) = filled(65_500..65_560, 1);
        assert_eq!(history.ask(65_530, now, None), Asked::Resend(sent(65_530, 30)));
        assert_eq!(history.ask(5, now, None), Asked::Resend(sent(65_541, 41)));
        assert_eq!(history.ask(100, now, None), Asked::Unknown, "never sent");
        assert_eq!(History::new(64).ask(1, 0, None), Asked::Unknown);
    }

    #[test]
    fn answers_once_per_cool_down() {
        let (mut history, now) = filled(0..10, 1);
        let rtt = Some(Duration::from_millis(100));
        assert!(matches!(history.ask(4, now, rtt), Asked::Resend(_)));
        assert_eq!(history.ask(4, now + 49, rtt), Asked::TooSoon);
        assert!(matches!(history.ask(4, now + 50, rtt), Asked::Resend(_)));
        assert!(matches!(history.ask(5, now, None), Asked::Resend(_)));
        assert_eq!(history.ask(5, now + 19, None), Asked::TooSoon);
    }

    #[test]
    fn a_greedy_viewer_gets_a_share_of_the_media_and_no_more() {
        let mut history = History::new(SIZE_VIDEO);
        let (mut media, mut resent) = (0i64, 0i64);
        for seq in 0..20_000u64 {
            let now = u32::try_from(seq).unwrap();
            history.record(sent(seq, now));
            media += 1_200;
            for behind in 0..50 {
                if let Asked::Resend(sent) = history.ask((seq as u16).wrapping_sub(behind), now, None) {
                    resent += i64::from(sent.len);
                }
            }
        }
        assert!(resent <= media / 4 + CREDIT_MAX, "{resent} of {media}");
        assert!(resent > media / 5);
    }

    #[test]
    fn grows_with_the_rate_and_stays_bounded() {
        let (slow, _) = filled(0..5_000, 20);
        assert_eq!(slow.entries.len(), SIZE_MIN);
        let (fast, _) = filled(0..5_000, 1);
        assert_eq!(fast.entries.len(), 1_024);
        assert!(fast.contains(4_000) && !fast.contains(3_000));
        let (burst, _) = filled(0..50_000, 0);
        assert_eq!(burst.entries.len(), SIZE_VIDEO);
    }
}
