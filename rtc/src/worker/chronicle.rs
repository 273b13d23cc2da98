//! What a worker writes into its peers' timelines. It compares what it knows of a peer with what it has
//! written down, once a second and when a peer connects or ends: nothing is written by packet.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use weir_source::Packet;

use crate::{record::Record, session::SessionStats, timeline::Event};

/// What goes on all the time on a bad line is told of at most this often.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Where a peer is, and what it finds there.
pub(super) struct Place {
    pub(super) remote: Option<SocketAddr>,
    /// Player: whether the stream is there.
    pub(super) stream: Option<bool>,
}

/// What is written down of one peer.
#[derive(Default)]
pub(super) struct Noted {
    checked: bool,
    nominated: bool,
    shaking: bool,
    connected: bool,
    media: bool,
    keyframe: bool,
    reported: bool,
    /// Player: whether the stream is there.
    stream: Option<bool>,
    layer: Option<Box<str>>,
    moves: u64,
    line: Line,
}

/// The figures of the line when they were told last.
#[derive(Default)]
struct Line {
    at: Option<Instant>,
    lost: u64,
    packets: u64,
    keyframes_asked: u64,
}

impl Noted {
    /// Publisher: these packets have come.
    pub(super) fn hear(&mut self, record: &Record, packets: &[Packet], now: Instant) {
        if self.keyframe || packets.is_empty() {
            return;
        }
        if !std::mem::replace(&mut self.media, true) {
            record.note_media(now, false);
        }
        if packets.iter().any(|packet| packet.keyframe) {
            self.keyframe = true;
            record.note_media(now, true);
        }
    }

    /// Writes down what is new.
    pub(super) fn tell(&mut self, record: &Record, stats: &SessionStats, place: &Place, now: Instant) {
        let Place { remote, stream } = *place;
        self.tell_milestones(record, stats);
        if stream.is_some() && self.stream != stream {
            self.stream = stream;
            record.note(now, if stream == Some(true) { Event::StreamCame } else { Event::StreamGone });
        }
        if self.moves != stats.moves {
            self.moves = stats.moves;
            if let Some(to) = remote {
                record.note(now, Event::Moved { to });
            }
        }
        let layer = stats.layer.as_ref().and_then(|layer| layer.current.as_ref()).map(|layer| layer.rid.as_str());
        if let Some(layer) = layer
            && self.layer.as_deref() != Some(layer)
        {
            self.layer = Some(layer.into());
            record.note(now, Event::Layer(layer.into()));
        }
        self.line.tell(record, stats, now);
    }

    fn tell_milestones(&mut self, record: &Record, stats: &SessionStats) {
        let milestones = &stats.milestones;
        let once = |told: &mut bool, happened: Option<(Instant, Event)>| {
            if let Some((at, event)) = happened
                && !std::mem::replace(told, true)
            {
                record.note(at, event);
            }
        };
        // Not made where it was told before: the tick comes every second for every peer.
        if !self.checked {
            once(&mut self.checked, milestones.checked.map(|(at, path)| (at, Event::checked(path))));
        }
        if !self.nominated {
            once(&mut self.nominated, milestones.nominated.map(|(at, path)| (at, Event::nominated(path))));
        }
        once(&mut self.shaking, milestones.shaking.map(|at| (at, Event::Handshake)));
        once(&mut self.reported, milestones.reported.map(|at| (at, Event::Report)));
        if let (false, Some(at), Some(srtp)) = (self.connected, milestones.connected, stats.profile) {
            self.connected = true;
            let suite = milestones.suite.as_deref().unwrap_or("unknown").into();
            record.note(at, Event::Connected { srtp, suite });
        }
        if let (false, Some(at)) = (self.media, milestones.media) {
            self.media = true;
            record.note_media(at, false);
        }
        if let (false, Some(at)) = (self.keyframe, milestones.keyframe) {
            self.keyframe = true;
            record.note_media(at, true);
        }
    }
}

impl Line {
    fn tell(&mut self, record: &Record, stats: &SessionStats, now: Instant) {
        let keyframes_asked = stats.pli_sent.saturating_add(stats.pli_received);
        let (lost, count) = (stats.lost.saturating_sub(self.lost), keyframes_asked.saturating_sub(self.keyframes_asked));
        let is_early = self.at.is_some_and(|at| now.saturating_duration_since(at) < LINE_EVERY);
        if is_early || (lost, count) == (0, 0) {
            return;
        }
        let packets = stats.packets_in.max(stats.packets_out);
        if lost > 0 {
            record.note(now, Event::Loss { lost, of: packets.saturating_sub(self.packets).saturating_add(lost) });
        }
        if count > 0 {
            record.note(now, Event::KeyframesAsked { count });
        }
        *self = Self { at: Some(now), lost: stats.lost, packets, keyframes_asked };
    }
}
