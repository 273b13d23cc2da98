//! A viewer's bandwidth: when it is found out, and what is sent to find it out.

use std::time::Instant;

use weir_source::MediaKind;

use super::{
    estimate::Estimator,
    outbound::Outbound,
    output::{Output, Outputs, Resend},
};

impl Outbound {
    /// What the viewer's path carries, in bits per second, if that is being found out.
    pub(super) fn estimate(&self) -> Option<u64> {
        self.estimator.as_deref()?.target()
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

    /// The rate that would be of use if the path carried it.
    #[allow(dead_code, reason = "who chooses layers says so")]
    pub(super) fn want_rate(&mut self, rate: Option<u64>) {
        if let Some(estimator) = &mut self.estimator {
            estimator.want(rate);
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
