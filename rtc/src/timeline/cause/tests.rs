//! One story each, and what is said of it.

use super::*;
use crate::ice::Path;

/// A session as it is some seconds after its answer.
struct Story {
    direction: Direction,
    client: &'static str,
    udp: &'static str,
    tcp: Option<&'static str>,
    bad_check: bool,
    stats: SessionStats,
    media: bool,
    keyframe: bool,
    source: StreamState,
    end: Option<EndReason>,
    seconds: u64,
}

impl Story {
    fn new(direction: Direction) -> Self {
        Self {
            direction,
            client: "198.51.100.7",
            udp: "203.0.113.7:8000",
            tcp: None,
            bad_check: false,
            stats: SessionStats::default(),
            media: false,
            keyframe: false,
            source: StreamState::Absent,
            end: None,
            seconds: 4,
        }
    }

    /// `steps`: checked, nominated, shaking, connected.
    fn came_to(direction: Direction, steps: usize) -> Self {
        let mut story = Self::new(direction);
        let now = Instant::now();
        let path = Path::udp("198.51.100.7:4000".parse().expect("an address"), [203, 0, 113, 7].into());
        let milestones = &mut story.stats.milestones;
        milestones.checked = (steps > 0).then_some((now, path));
        milestones.nominated = (steps > 1).then_some((now, path));
        milestones.shaking = (steps > 2).then_some(now);
        milestones.connected = (steps > 3).then_some(now);
        story
    }

    fn told(&self) -> Option<String> {
        let began = Instant::now();
        let named = Named {
            udp: vec![self.udp.parse().expect("an address")],
            tcp: self.tcp.iter().map(|text| text.parse().expect("an address")).collect(),
        };
        cause(&Situation {
            direction: self.direction,
            client: self.client.parse().expect("an address"),
            stream: "live/x",
            has_video: true,
            named: &named,
            unanswered: false,
            bad_check: self.bad_check.then(|| "198.51.100.7:4000".parse().expect("an address")),
            media: self.media.then_some(began),
            keyframe: self.keyframe.then_some(began),
            stats: &self.stats,
            source: self.source,
            answered: began,
            now: began + Duration::from_secs(self.seconds),
            end: self.end,
        })
    }

    #[track_caller]
    fn says(&self, part: &str) {
        let told = self.told().expect("something is wrong");
        assert!(told.contains(part), "{told:?}");
    }
}

#[test]
fn who_was_never_heard_is_told_of_the_candidate_or_the_port() {
    let base = || Story::new(Direction::Play);
    base().says("no STUN arrived at 203.0.113.7:8000/udp");
    base().says("enable TCP");
    Story { tcp: Some("203.0.113.7:8000"), ..base() }.says("203.0.113.7:8000/udp or 203.0.113.7:8000/tcp; the ports are closed");
    Story { udp: "10.0.0.7:8000", ..base() }.says("the candidate is private, and 198.51.100.7 is not: set CANDIDATE");
    Story { udp: "10.0.0.7:8000", client: "10.0.0.9", ..base() }.says("the UDP port 8000 is closed");
    Story { udp: "127.0.0.1:8000", client: "10.0.0.9", ..base() }.says("the candidate is a loopback address, which 10.0.0.9");
    let here = || Story { udp: "127.0.0.1:8000", client: "127.0.0.1", ..base() };
    here().says("udp; Firefox connects to no loopback address, the client did not use the answer");
    Story { tcp: Some("203.0.113.7:8000"), ..here() }.says("tcp; the client did not use the answer");
    Story { client: "127.0.0.1", ..base() }.says("is not this server's address as 127.0.0.1 sees it");
    Story { bad_check: true, ..base() }.says("STUN arrived from 198.51.100.7:4000, but its password was wrong");
    Story { end: Some(EndReason::NeverHeard), ..base() }.says("no STUN arrived");
}

#[test]
fn whoever_is_on_its_way_is_left_alone_for_a_second() {
    for steps in 0..4 {
        for direction in [Direction::Publish, Direction::Play] {
            assert_eq!(Story { seconds: 0, ..Story::came_to(direction, steps) }.told(), None, "{steps}");
        }
    }
    let fine = Story { media: true, keyframe: true, ..Story::came_to(Direction::Publish, 4) };
    assert_eq!(fine.told(), None, "nothing is wrong");
    assert_eq!(Story { end: Some(EndReason::Deleted), ..fine }.told(), None, "it went as it pleased");
}

#[test]
fn a_connection_that_stops_half_way_is_told_where() {
    Story::came_to(Direction::Play, 1).says("the client chooses no pair");
    Story::came_to(Direction::Play, 2).says("did not begin DTLS");
    Story::came_to(Direction::Play, 3).says("DTLS began but did not finish");
    let mut failed = Story::came_to(Direction::Play, 3);
    failed.stats.milestones.failure = Some("no common SRTP profile".to_owned());
    Story { end: Some(EndReason::DtlsFailed), ..failed }.says("failed: no common SRTP profile");
    Story { end: Some(EndReason::BadFingerprint), ..Story::came_to(Direction::Play, 3) }.says("not the one of its SDP");
}

#[test]
fn a_viewer_that_waits_is_told_for_what() {
    let viewer = |source| Story { source, ..Story::came_to(Direction::Play, 4) };
    viewer(StreamState::Absent).says("nobody publishes live/x");
    viewer(StreamState::NotBridged).says("rtmp_to_rtc");
    viewer(StreamState::Silent).says("has sent no packet");
    viewer(StreamState::Live { keyframe: false }).says("no keyframe from the publisher");
    let mut other = viewer(StreamState::Live { keyframe: true });
    other.stats.drops.codec = 9;
    other.says("did not agree to the codec");
    let sound = Story { media: true, ..viewer(StreamState::Live { keyframe: false }) };
    sound.says("only sound goes out");
    let mut deaf = Story { media: true, keyframe: true, ..viewer(StreamState::Live { keyframe: true }) };
    deaf.says("reports nothing");
    deaf.stats.milestones.reported = Some(Instant::now());
    assert_eq!(deaf.told(), None);
}

#[test]
fn a_publisher_that_nobody_sees_is_told_why() {
    Story::came_to(Direction::Publish, 4).says("connected but has sent no packet");
    Story { media: true, ..Story::came_to(Direction::Publish, 4) }.says("no keyframe from the publisher yet");
    let mut lossy = Story { media: true, keyframe: true, ..Story::came_to(Direction::Publish, 4) };
    (lossy.stats.packets_in, lossy.stats.lost) = (750, 250);
    lossy.says("25 % of the packets are lost");
    let gone =
        Story { media: true, keyframe: true, end: Some(EndReason::ConsentExpired), ..Story::came_to(Direction::Publish, 4) };
    gone.says("fell silent for 30 s");
    Story { end: Some(EndReason::Replaced), ..Story::came_to(Direction::Publish, 4) }.says("took live/x over");
}
