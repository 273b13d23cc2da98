//! What a player over TCP makes of FLV messages: counts, frames, stamps. Of each message only the
//! start is looked at and nothing is kept.

use std::time::{Duration, Instant};

use super::{
    Options,
    crew::{Crew, Failure, Report},
    tls,
    wire::Wire,
};
use crate::measure::{Stage, Stamp, StreamMeter, Tally};

/// Bytes of a message that are looked at: enough for the stamp, which comes before the slices.
pub(super) const HEAD_MAX: usize = 256;
/// A stream without pictures: its players have joined so long after their first media.
const SOUND_ONLY: Duration = Duration::from_secs(3);

/// The types of FLV tags and RTMP messages (Adobe's FLV 10.1 E.4.1, RTMP 1.0 7.1).
pub(super) const AUDIO: u8 = 8;
pub(super) const VIDEO: u8 = 9;

/// A message that came whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message<'a> {
    pub(super) kind: u8,
    /// Of the body.
    pub(super) len: usize,
    /// The start of the body.
    pub(super) head: &'a [u8],
}

/// What a video message is, from its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Video<'a> {
    Keyframe(&'a [u8]),
    Frame(&'a [u8]),
    /// A sequence header, an end of sequence, or nothing.
    Other,
}

impl<'a> Video<'a> {
    fn read(head: &'a [u8]) -> Self {
        let [first, second, ..] = *head else { return Self::Other };
        let (keyframe, coded, units) = if first & 0x80 == 0 {
            // FLV 10.1 E.4.3.1; AVCPacketType 1 is NAL units.
            (first >> 4 == 1, first & 0x0f != 7 || second == 1, 5)
        } else {
            // Enhanced RTMP v1: packet type 1 has a composition time, 3 has none.
            let packet_type = first & 0x0f;
            (first >> 4 & 7 == 1, matches!(packet_type, 1 | 3), if packet_type == 1 { 8 } else { 5 })
        };
        let units = head.get(units..).unwrap_or_default();
        match (coded, keyframe) {
            (false, _) => Self::Other,
            (true, true) => Self::Keyframe(units),
            (true, false) => Self::Frame(units),
        }
    }
}

/// One player's view of its stream.
pub(super) struct Player {
    report: Report,
    meter: StreamMeter,
    connected_at: Option<Instant>,
    first_media: Option<Instant>,
    last_media: Option<Instant>,
    leave_at: Option<Instant>,
}

impl Player {
    pub(super) fn new(report: Report) -> Self {
        let meter = if report.is_lazy() { StreamMeter::new(0).looked_at_late() } else { StreamMeter::new(0) };
        Self { report, meter, connected_at: None, first_media: None, last_media: None, leave_at: None }
    }

    /// It is set up.
    pub(super) fn connected(&mut self, tally: &mut Tally) {
        let now = Instant::now();
        self.connected_at = Some(now);
        self.report.connected(tally, now);
    }

    /// It has joined, and from now on need not be read at once.
    pub(super) fn may_wait(&self, now: Instant) -> bool {
        let sounds = |since: Instant| now.saturating_duration_since(since) >= SOUND_ONLY;
        self.report.is_lazy() && (self.report.has_keyframe() || self.first_media.is_some_and(sounds))
    }

    /// What is given next had not come at `at`.
    pub(super) const fn looked(&mut self, at: Instant) {
        self.meter.looked(at);
    }

    /// A message of the stream.
    pub(super) fn handle(&mut self, message: &Message<'_>, now: Instant, tally: &mut Tally) {
        if !matches!(message.kind, AUDIO | VIDEO) {
            return;
        }
        tally.received(1, message.len);
        self.first_media.get_or_insert(now);
        self.last_media = Some(now);
        self.report.media(tally, now);
        if message.kind == VIDEO {
            let (keyframe, units) = match Video::read(message.head) {
                Video::Keyframe(units) => (true, units),
                Video::Frame(units) => (false, units),
                Video::Other => return,
            };
            self.meter.frame(tally, now, keyframe, Stamp::find_in_frame(units));
            if keyframe {
                self.report.keyframe(tally, now);
            }
        }
    }

    /// Whether something should have come by now; false: its time here is over.
    pub(super) fn watch(&mut self, now: Instant, options: &Options) -> Result<bool, Failure> {
        let Some(connected_at) = self.connected_at else { return Ok(true) };
        if let (Some(churn), Some(_), None) = (options.churn, self.last_media, self.leave_at) {
            self.leave_at = Some(now + churn.stay);
        }
        let quiet = |since: Instant| now.saturating_duration_since(since);
        match self.last_media {
            Some(at) if quiet(at) > options.stall => {
                Err(Failure::new(Stage::Stalled, format!("no media for {} s", options.stall.as_secs_f32())))
            }
            None if quiet(connected_at) > options.media_patience => {
                Err(Failure::new(Stage::FirstMedia, format!("no media within {} s", options.media_patience.as_secs_f32())))
            }
            _ => Ok(self.leave_at.is_none_or(|at| now < at)),
        }
    }

    /// The end of the session: `None` is as planned.
    pub(super) fn finish(mut self, crew: &Crew, failure: Option<&Failure>) {
        self.meter.end(&mut crew.recorder.lock(), Instant::now());
        self.report.finish(failure);
    }
}

/// What takes the bytes of a connection and gives messages to a player; what it returns is sent.
pub(super) trait Intake {
    fn handle(&mut self, data: &[u8], player: &mut Player, now: Instant, tally: &mut Tally) -> Result<Vec<u8>, Failure>;
}

pub(super) fn ended(error: &std::io::Error) -> Failure {
    Failure::new(Stage::Ended, format!("the connection broke: {}", error.kind()))
}

/// Opens a connection from the client's own address, if it has one; in TLS if the URL says so.
pub(super) async fn connect(crew: &Crew, number: usize, url: &reqwest::Url, default_port: u16) -> Result<Wire, Failure> {
    let remote = super::target::resolve(url, default_port).await.map_err(|error| Failure::of(Stage::Resolve, &error))?;
    let failed = |error: std::io::Error| Failure::new(Stage::Connect, format!("{remote}: {error}"));
    let socket = if remote.is_ipv4() { tokio::net::TcpSocket::new_v4() } else { tokio::net::TcpSocket::new_v6() };
    let socket = socket.map_err(failed)?;
    if let Some(source) = crew.source(number).filter(|source| source.is_ipv4() == remote.is_ipv4()) {
        socket.bind(std::net::SocketAddr::new(source, 0)).map_err(failed)?;
    }
    let stream = tokio::time::timeout(crew.options.setup_patience, socket.connect(remote)).await;
    let stream = stream.map_err(|_| Failure::new(Stage::Connect, format!("{remote}: no answer")))?.map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    if !matches!(url.scheme(), "https" | "rtmps") {
        return Ok(Wire::plain(stream));
    }
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let secured = tokio::time::timeout(crew.options.setup_patience, Wire::secure(stream, &crew.tls, host)).await;
    let secured = secured.map_err(|_| Failure::new(Stage::Connect, format!("{remote}: no answer in TLS")))?;
    secured.map_err(|error| Failure::new(Stage::Connect, tls::explained(format!("{remote}: {error}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn video_messages_are_told_apart() {
        let frame = [0x27, 1, 0, 0, 0, 9];
        assert_eq!(Video::read(&frame), Video::Frame(&[9]));
        assert_eq!(Video::read(&[0x17, 1, 0, 0, 0]), Video::Keyframe(&[]));
        assert_eq!(Video::read(&[0x17, 0, 0, 0, 0]), Video::Other, "sequence header");
        assert_eq!(Video::read(&[0x17, 2, 0, 0, 0]), Video::Other, "end of sequence");
        assert_eq!(Video::read(b"\x91hvc1\0\0\0x"), Video::Keyframe(b"x"));
        assert_eq!(Video::read(b"\xa3hvc1x"), Video::Frame(b"x"));
        assert_eq!(Video::read(b"\x90hvc1"), Video::Other);
        assert_eq!(Video::read(&[]), Video::Other);
    }
}
