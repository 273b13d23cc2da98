//! What a player over TCP makes of FLV messages: counts, frames, stamps. Of each message only the
//! start is looked at and nothing is kept.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{
    Options,
    crew::{Crew, Failure, Report, Stop},
    tls,
    wire::Wire,
};
use crate::measure::{Stage, Stamp, StreamMeter, Tally};

/// Bytes of a message that are looked at: enough for the stamp, which comes before the slices.
pub(super) const HEAD_MAX: usize = 256;
/// How often it is looked whether something should have come by now.
const WATCH_EVERY: Duration = Duration::from_millis(500);

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
    last_media: Option<Instant>,
    leave_at: Option<Instant>,
}

impl Player {
    pub(super) fn new(report: Report) -> Self {
        Self { report, meter: StreamMeter::new(0), connected_at: None, last_media: None, leave_at: None }
    }

    /// It is set up.
    pub(super) fn connected(&mut self, tally: &mut Tally) {
        let now = Instant::now();
        self.connected_at = Some(now);
        self.report.connected(tally, now);
    }

    /// A message of the stream.
    pub(super) fn handle(&mut self, message: &Message<'_>, now: Instant, tally: &mut Tally) {
        if !matches!(message.kind, AUDIO | VIDEO) {
            return;
        }
        tally.received(1, message.len);
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
    fn watch(&mut self, now: Instant, options: &Options) -> Result<bool, Failure> {
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

/// Reads a connection to the end of the session: `Ok` is as planned.
pub(super) async fn watch(
    crew: &Crew,
    wire: &mut Wire,
    player: &mut Player,
    intake: &mut impl Intake,
    stop: &mut Stop,
) -> Result<(), Failure> {
    let tick = sleep(WATCH_EVERY);
    tokio::pin!(tick);
    loop {
        tokio::select! {
            biased;
            () = stop.wait() => return Ok(()),
            () = &mut tick => {
                let now = Instant::now();
                if !player.watch(now, &crew.options)? {
                    return Ok(());
                }
                tick.as_mut().reset((now + WATCH_EVERY).into());
            }
            ready = wire.readable() => {
                ready.map_err(|error| ended(&error))?;
                let Some(answer) = read(crew, wire, player, intake)? else { continue };
                // A few bytes: a kernel that has no room for them has a server that does not read.
                let _sent = wire.try_write(&answer);
            }
        }
    }
}

/// One read, through the buffer that all share.
fn read(crew: &Crew, wire: &mut Wire, player: &mut Player, intake: &mut impl Intake) -> Result<Option<Vec<u8>>, Failure> {
    let mut buffer = crew.buffer.borrow_mut();
    match wire.try_read(&mut buffer) {
        Ok(0) => Err(Failure::new(Stage::Ended, "the server closed the connection")),
        Ok(len) => {
            let data = buffer.get(..len).unwrap_or_default();
            let answer = intake.handle(data, player, Instant::now(), &mut crew.recorder.lock())?;
            Ok(Some(answer).filter(|answer| !answer.is_empty()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(ended(&error)),
    }
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
