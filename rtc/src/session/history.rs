//! What was sent to one viewer on one stream, so that a NACK finds it in the ring again.
//!
//! It keeps numbers and ring positions, never packets. Asking too often is refused: one answer per
//! packet and cool-down, and retransmissions together no more than a share of the media sent.

use std::time::Duration;

use super::descriptor::Patch;

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
    /// How its picture's numbers were changed.
    pub(crate) patch: Patch,
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
    /// … and how much later again, a minute at most; 0 if it was not.
    resent_after: u16,
    /// 0 for an empty place.
    len: u16,
    /// With a bit on top: it carries a transport-wide number.
    payload_type: u8,
    padding: u8,
    transport_seq: u16,
    patch: Patch,
}

const _: () = assert!(size_of::<Entry>() <= 32);

impl Entry {
    const EMPTY: Self = Self {
        position: 0,
        out_seq: 0,
        timestamp: 0,
        sent_ms: 0,
        resent_after: 0,
        len: 0,
        payload_type: 0,
        padding: 0,
        transport_seq: 0,
        patch: Patch { picture: 0, base: 0, key: 0 },
    };
    const NUMBERED: u8 = 0x80;

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
            payload_type: self.payload_type & !Self::NUMBERED,
            padding: self.padding,
            transport_seq: if self.payload_type & Self::NUMBERED != 0 { Some(self.transport_seq) } else { None },
            sent_ms: self.sent_ms,
            patch: self.patch,
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
    /// What is older is of no use to anybody.
    floor: u64,
    /// The last keyframe began here.
    keyframe: u64,
    credit: i64,
}

impl History {
    /// An empty table that may grow to `size_max` (a power of two).
    pub(crate) fn new(size_max: usize) -> Self {
        Self { entries: Vec::new(), size_max, highest: None, floor: 0, keyframe: 0, credit: CREDIT_MAX }
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
                resent_after: 0,
                len: sent.len,
                payload_type: sent.payload_type | if sent.transport_seq.is_some() { Entry::NUMBERED } else { 0 },
                padding: sent.padding,
                transport_seq: sent.transport_seq.unwrap_or(0),
                patch: sent.patch,
            };
        }
        self.highest = self.highest.max(Some(sent.out_seq));
        self.credit = (self.credit + i64::from(sent.len) / MEDIA_PER_RESENT).min(CREDIT_MAX);
    }

    /// A keyframe begins with this number. With `forgets` nothing before it is sent again: on a line that has
    /// become too narrow that would take the place, and the credit, of the keyframe itself.
    pub(crate) fn begin(&mut self, out_seq: u64, forgets: bool) {
        self.keyframe = out_seq;
        if forgets {
            (self.floor, self.credit) = (out_seq, CREDIT_MAX);
        }
    }

    /// How long ago this number, as it stands on the wire, was sent, if pictures since the last keyframe
    /// build on it.
    pub(crate) fn age(&self, wire_seq: u16, now_ms: u32) -> Option<Duration> {
        let out_seq = self.extend(wire_seq).filter(|out_seq| *out_seq >= self.keyframe)?;
        let age = now_ms.wrapping_sub(self.get(out_seq)?.sent_ms) as i32;
        Some(Duration::from_millis(u64::try_from(age).unwrap_or(0)))
    }

    fn extend(&self, wire_seq: u16) -> Option<u64> {
        let highest = self.highest?;
        highest.checked_sub(u64::from((highest as u16).wrapping_sub(wire_seq)))
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
        let Some(out_seq) = self.extend(wire_seq).filter(|out_seq| *out_seq >= self.floor) else { return Asked::Unknown };
        let slot = self.slot(out_seq);
        let cool_down = rtt.map_or(COOL_DOWN_MIN, |rtt| (rtt / 2).clamp(COOL_DOWN_MIN, Duration::from_secs(1)));
        let credit = self.credit;
        let Some(entry) = self.entries.get_mut(slot).filter(|entry| entry.holds(out_seq)) else { return Asked::Unknown };
        let age = i64::from(now_ms.wrapping_sub(entry.sent_ms) as i32).max(0);
        let since = age - i64::from(entry.resent_after);
        let hot = entry.resent_after != 0 && Duration::from_millis(since.max(0).unsigned_abs()) < cool_down;
        let cost = i64::from(entry.len);
        if hot || cost > credit {
            return Asked::TooSoon;
        }
        // In the millisecond of its sending nothing can have been asked for: a replayed NACK.
        entry.resent_after = u16::try_from(age.max(1)).unwrap_or(u16::MAX);
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
    fn a28_answers_once_per_cool_down() {
        let (mut history, now) = filled(0..10, 1);
        let rtt = Some(Duration::from_millis(100));
        assert!(matches!(history.ask(4, now, rtt), Asked::Resend(_)));
        assert_eq!(history.ask(4, now + 49, rtt), Asked::TooSoon);
        assert!(matches!(history.ask(4, now + 50, rtt), Asked::Resend(_)));
        assert!(matches!(history.ask(5, now, None), Asked::Resend(_)));
        assert_eq!(history.ask(5, now + 19, None), Asked::TooSoon);
    }

    #[test]
    fn a28_a_greedy_viewer_gets_a_share_of_the_media_and_no_more() {
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

    #[test]
    fn what_was_before_the_keyframe_of_a_lesser_layer_is_not_sent_again() {
        let mut history = History::new(SIZE_VIDEO);
        (0..60).for_each(|seq| history.record(sent(seq, 100)));
        for seq in 0..60 {
            history.ask(seq, 150, None);
        }
        assert_eq!(history.ask(50, 400, None), Asked::TooSoon, "the credit is spent");
        history.record(sent(60, 200));
        history.begin(60, true);
        assert_eq!(history.ask(59, 400, None), Asked::Unknown);
        assert!(matches!(history.ask(60, 400, None), Asked::Resend(_)), "what begins is answered whole");
        assert_eq!((history.age(60, 900), history.age(59, 900)), (Some(Duration::from_millis(700)), None));
        history.begin(61, false);
        assert_eq!((history.age(60, 900), history.age(61, 900)), (None, None));
        assert!(matches!(history.ask(60, 900, None), Asked::Resend(_)), "it may still be shown before the keyframe");
    }
}
