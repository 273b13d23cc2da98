//! Maps a publisher's own timeline to the source's clock.

use crate::MediaTime;

/// How far one timestamp may run ahead of the one before it, beyond what the arrival clock says,
/// before the timeline counts as broken. A stalled encoder that catches up moves both clocks.
const JUMP_FORWARD_US: i64 = 3_000_000;
/// How far one timestamp may step back: interleaved audio and video differ by much less.
const JUMP_BACK_US: i64 = 1_000_000;

/// Ties a publisher's timestamps (RTMP milliseconds from any origin) to the source's clock.
///
/// The first timestamp is laid on its arrival. Later ones keep their distances exactly, however
/// they arrive. Where the timeline breaks (a jump of hours, a step back) it is tied anew, so that
/// what leaves here is continuous; [`Anchor::breaks`] counts these.
#[derive(Debug, Default)]
pub struct Anchor {
    tie: Option<Tie>,
    breaks: u64,
}

#[derive(Debug)]
struct Tie {
    offset_us: i64,
    raw_high: MediaTime,
    out_high: MediaTime,
    arrival: MediaTime,
}

impl Anchor {
    /// The source's time of `raw`, a timestamp on the publisher's own timeline that arrived at
    /// `arrival` (source's clock). `floor` is where the source's timeline already stands (a former
    /// publisher may have run ahead of real time): nothing is tied before it.
    pub fn map(&mut self, raw: MediaTime, arrival: MediaTime, floor: MediaTime) -> MediaTime {
        if let Some(tie) = &mut self.tie {
            let step = raw - tie.raw_high;
            let waited = arrival - tie.arrival;
            if step >= -JUMP_BACK_US && step <= JUMP_FORWARD_US.saturating_add(waited.max(0)) {
                let out = raw.offset(tie.offset_us);
                if raw > tie.raw_high {
                    tie.raw_high = raw;
                    tie.out_high = out;
                    tie.arrival = arrival;
                }
                return out;
            }
            self.breaks += 1;
        }
        let floor = self.tie.as_ref().map_or(floor, |tie| tie.out_high.max(floor));
        let out = arrival.max(floor.offset(1_000));
        self.tie = Some(Tie { offset_us: out - raw, raw_high: raw, out_high: out, arrival });
        out
    }

    /// How often the timeline broke and was tied anew.
    pub const fn breaks(&self) -> u64 {
        self.breaks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(v: i64) -> MediaTime {
        MediaTime::from_millis(v)
    }

    #[test]
    fn keeps_distances_however_they_arrive() {
        let mut anchor = Anchor::default();
        let first = anchor.map(ms(16_777_000), ms(500), MediaTime::ZERO);
        assert_eq!(first, ms(500));
        assert_eq!(anchor.map(ms(16_777_040), ms(900), MediaTime::ZERO), ms(540));
        assert_eq!(anchor.map(ms(16_777_020), ms(901), MediaTime::ZERO), ms(520));
        assert_eq!(anchor.breaks(), 0);
    }

    #[test]
    fn ties_anew_after_a_jump_and_never_goes_back() {
        let mut anchor = Anchor::default();
        anchor.map(ms(0), ms(100), MediaTime::ZERO);
        anchor.map(ms(1_000), ms(200), MediaTime::ZERO);
        let jumped = anchor.map(ms(3_600_000), ms(240), MediaTime::ZERO);
        assert_eq!(jumped, ms(1_101), "after what was already sent");
        assert_eq!(anchor.map(ms(3_600_040), ms(280), MediaTime::ZERO), ms(1_141));
        let back = anchor.map(ms(10), ms(5_000), MediaTime::ZERO);
        assert_eq!(back, ms(5_000));
        assert_eq!(anchor.breaks(), 2);
    }

    #[test]
    fn a_long_pause_is_no_jump() {
        let mut anchor = Anchor::default();
        anchor.map(ms(0), ms(5), MediaTime::ZERO);
        assert_eq!(anchor.map(ms(60_000), ms(60_000), MediaTime::ZERO), ms(60_005));
        assert_eq!(anchor.breaks(), 0);
    }

    #[test]
    fn starts_after_a_former_publisher() {
        let mut anchor = Anchor::default();
        assert_eq!(anchor.map(ms(0), ms(100), ms(700)), ms(701));
    }
}
