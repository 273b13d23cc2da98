//! A viewer's bandwidth: when it is found out, and what is sent to find it out.

use std::time::{Duration, Instant};

use weir_source::MediaKind;

use super::{
    estimate::Estimator,
    outbound::Outbound,
    output::{Output, Outputs, Resend},
};

/// Kept for sound, in bits per second, until it is known: Opus at 40 kb/s with headers.
const SOUND: u64 = 64_000;
/// What a packet of sound is longer than its payload: RTP, its extensions, the tag.
const SOUND_OVERHEAD: u64 = 40;
/// Sound is measured over at least this.
const SOUND_OVER: Duration = Duration::from_secs(1);
/// What payload is of a picture's packets, with headers and authentication around it.
const PAYLOAD_PERCENT: u64 = 94;

/// How much sound a viewer is sent.
#[derive(Debug)]
pub(super) struct Sound {
    /// Bits per second on the wire.
    rate: u64,
    since: Option<(Instant, (u32, u32))>,
}

impl Default for Sound {
    fn default() -> Self {
        Self { rate: SOUND, since: None }
    }
}

impl Sound {
    /// `sent`: packets and octets so far, as sender reports count them.
    fn measure(&mut self, now: Instant, sent: (u32, u32)) {
        let (since, before) = *self.since.get_or_insert((now, sent));
        let millis = now.saturating_duration_since(since).as_millis() as u64;
        if u128::from(millis) < SOUND_OVER.as_millis() {
            return;
        }
        let (packets, octets) = (sent.0.wrapping_sub(before.0), sent.1.wrapping_sub(before.1));
        let bits = (u64::from(octets) + u64::from(packets) * SOUND_OVERHEAD) * 8;
        // A pause is no promise of silence.
        self.rate = (self.rate * 3 + bits * 1_000 / millis) / 4;
        self.since = Some((now, sent));
    }
}

impl Outbound {
    /// What the viewer's path carries, in bits per second, if that is being found out.
    pub(super) fn estimate(&self) -> Option<u64> {
        self.estimator.as_deref()?.target()
    }

    /// What of it is left for the payload of pictures; `None`: enough for any, as far as is known.
    pub(super) fn video_budget(&self) -> Option<u64> {
        let known = self.budget.or_else(|| self.estimate())?;
        Some(known.saturating_sub(self.sound()) * PAYLOAD_PERCENT / 100)
    }

    /// The rate on the wire at which pictures of so many bits per second leave, with their sound.
    pub(super) fn wire_rate(&self, video: u64) -> u64 {
        video.saturating_mul(100) / PAYLOAD_PERCENT + self.sound()
    }

    fn sound(&self) -> u64 {
        if self.streams.iter().any(|stream| stream.media.kind == MediaKind::Audio) { self.sound.rate } else { 0 }
    }

    /// Measures what is sent of sound.
    pub(super) fn measure_sound(&mut self, now: Instant) {
        let sound = self.streams.iter().find(|stream| stream.media.kind == MediaKind::Audio);
        if let Some(stream) = sound {
            self.sound.measure(now, stream.reports.sent());
        }
    }

    /// Whether the bandwidth is to be found out, which costs the viewer's feedback ten to twenty
    /// packets a second.
    pub(super) fn set_estimating(&mut self, on: bool) {
        match (&self.estimator, on) {
            (None, true) => self.estimator = Some(Box::new(Estimator::new(self.made))),
            (Some(_), false) => self.estimator = None,
            _ => {}
        }
    }

    /// What its path carries can be found out by sending pictures again.
    pub(super) fn is_probed(&self) -> bool {
        self.streams.iter().any(|stream| stream.rtx.is_some() && stream.ids.transport_cc.is_some())
    }

    /// The rate that would be of use if the path carried it.
    pub(super) fn want_rate(&mut self, rate: Option<u64>) {
        let probed = self.is_probed();
        if let Some(estimator) = &mut self.estimator {
            estimator.want(rate.filter(|_| probed));
        }
    }

    /// Sends the newest pictures again if the path is to show what it carries. Only as
    /// retransmissions: under their own numbers they would be replays.
    pub(super) fn probe(&mut self, now: Instant, outputs: &mut Outputs) {
        let Some(estimator) = &mut self.estimator else { return };
        let mut streams = self.streams.iter().filter(|stream| stream.ids.transport_cc.is_some());
        let Some(stream) = streams.find(|stream| stream.media.kind == MediaKind::Video && stream.rtx.is_some()) else { return };
        let Some(wish) = estimator.poll_probe(now) else { return };
        let mut count = 0;
        for sent in stream.history.newest(wish.packets, wish.bytes).filter(|sent| stream.repair(sent).is_some()) {
            let track = stream.media.track;
            outputs.push(Output::Resend(Resend { position: sent.position, track, out_seq: sent.out_seq, probe: true }));
            count += 1;
        }
        estimator.begin_probe(count);
    }
}
