//! Every kind of client against the real server: what they count is what it says it sent, and what
//! goes wrong is told by its stage.

mod server;

use std::{thread, time::Duration};

use server::{Weir, eventually, free_tcp, lossy::Lossy, tls};
use srs_bench::{
    clients::{self, Churn, Feedback, Handle, Kind, Options, Prompt, Verify},
    measure::{Collector, Count, Failure, Snapshot, Stage, Times},
};

const PATIENCE: Duration = Duration::from_secs(20);
/// One packet in so many is dropped: a prime, as the stream's frames come in fives with their sound, and
/// one in fifty would always hit the same one.
const ODD_SHARE: u64 = 47;

/// Clients and what they count.
struct Load {
    handle: Handle,
    collector: Collector,
}

impl Load {
    fn start(kind: Kind, url: &str, options: &Options) -> Self {
        let collector = Collector::new();
        let handle = clients::start(kind, url, options, &collector).expect("they start");
        Self { handle, collector }
    }

    /// Waits until so many sessions have media.
    fn with_media(self, count: usize) -> Self {
        let done = self.handle.wait_until(PATIENCE, |progress| progress.media >= count);
        assert!(done, "{:?}: {:?}", self.handle.progress(), self.now().failures());
        self
    }

    fn now(&self) -> Snapshot {
        self.collector.snapshot()
    }

    /// What they come to, after they have left.
    fn end(self) -> Snapshot {
        self.handle.stop();
        self.collector.snapshot()
    }
}

fn count(count: usize) -> Options {
    Options { count, ..Options::default() }
}

fn publish(weir: &Weir, stream: &str) -> Load {
    Load::start(Kind::RtmpPublish, &weir.rtmp_url(stream), &count(1)).with_media(1)
}

/// The first failure of a load, whose failures are all of one stage.
fn only_failure(load: &Load) -> Failure {
    eventually("a failure", || {
        let failures = load.now().failures();
        assert!(failures.iter().all(|failure| failure.stage == failures[0].stage), "{failures:?}");
        failures.into_iter().next()
    })
}

/// Sound, connected, nothing lost.
fn assert_clean(end: &Snapshot, sessions: u64) {
    assert_eq!(end.failures(), []);
    for (counted, expected) in [
        (Count::Asked, sessions),
        (Count::Connected, sessions),
        (Count::WithMedia, sessions),
        (Count::Left, sessions),
        (Count::Lost, 0),
        (Count::Bad, 0),
        (Count::Duplicates, 0),
    ] {
        assert_eq!(end.count(counted), expected, "{counted:?}");
    }
    assert_eq!(end.timed(Times::Setup), sessions);
    assert_eq!(end.timed(Times::FirstPacket), sessions);
    assert_eq!(end.timed(Times::FirstKeyframe), sessions);
    assert!(end.count(Count::Keyframes) >= sessions);
}

/// The stamps in the frames came through, and soon.
fn assert_prompt(end: &Snapshot) {
    assert_eq!(end.count(Count::Stamped), end.count(Count::Frames));
    let latency = end.percentile(Times::Latency, 50.0).expect("stamped frames");
    assert!((Duration::from_micros(50)..Duration::from_millis(800)).contains(&latency), "{latency:?}");
}

#[test]
fn webrtc_viewers_count_what_the_server_sent() {
    let weir = Weir::start();
    let source = publish(&weir, "x");
    // Without transport-wide feedback the server does not probe: it would count probes, and viewers do not.
    let feedback = Feedback { transport_cc: false, ..Feedback::default() };
    let options = Options { feedback, stall: PATIENCE, ..count(8) };
    let load = Load::start(Kind::WebrtcPlay, &weir.whep_url("x"), &options).with_media(8);
    thread::sleep(Duration::from_secs(1));
    let earlier = load.now();
    thread::sleep(Duration::from_secs(4));
    let later = load.now();
    assert!(later.grown(Count::Packets, &earlier) > 8 * 4 * 90, "{}", later.grown(Count::Packets, &earlier));
    let frames = later.grown(Count::Frames, &earlier);
    assert!((8 * 85..=8 * 115).contains(&frames), "{frames} frames");
    // The server publishes its counters once a second: they are compared when nothing comes any more.
    assert_eq!(source.end().failures(), []);
    let mut last = (0, 0);
    let (sent, received) = eventually("both counts stand still", || {
        let seen = (sent_to_viewers(&weir), load.now().count(Count::Packets));
        let still = seen == std::mem::replace(&mut last, seen);
        if !still {
            thread::sleep(Duration::from_millis(1_500));
        }
        still.then_some(seen)
    });
    assert_eq!(received, sent, "packets received of those sent");
    let end = load.end();
    assert_clean(&end, 8);
    assert_eq!(end.count(Count::FramesLost), 0);
    assert_prompt(&end);
    eventually("the sessions are gone", || (weir.counters()["rtc"]["players"] == 0).then_some(()));
}

/// RTP packets that all viewers were sent since they came.
fn sent_to_viewers(weir: &Weir) -> u64 {
    let clients = weir.get("/api/v1/clients/?count=100");
    let viewers = clients["clients"].as_array().expect("a list").iter().filter(|client| client["type"] == "rtc-play");
    viewers.map(|client| client["webrtc"]["packets_out"].as_u64().expect("a count")).sum()
}

#[test]
fn servers_behind_tls_are_believed_only_if_told_to() {
    let weir = Weir::start();
    let _source = publish(&weir, "x");
    let [api, http, rtmp] = [weir.api, weir.http, weir.rtmp].map(tls::before);
    eventually("there is a playlist", || {
        let probe = Load::start(Kind::HlsPlay, &weir.http_url("x.m3u8"), &count(1));
        probe.handle.wait_until(Duration::from_secs(1), |progress| progress.media > 0).then_some(())
    });
    for (kind, url) in [
        (Kind::WebrtcPlay, format!("https://localhost:{}/rtc/v1/whep/?app=live&stream=x", api.port())),
        (Kind::WebrtcPlay, format!("webrtc://{api}/live/x?schema=https")),
        (Kind::WebrtcPublish, format!("https://{api}/rtc/v1/whip/?app=live&stream=p{{n}}")),
        (Kind::HlsPlay, format!("https://localhost:{}/live/x.m3u8", http.port())),
        (Kind::FlvPlay, format!("https://{http}/live/x.flv")),
        (Kind::RtmpPlay, format!("rtmps://localhost:{}/live/x", rtmp.port())),
        (Kind::RtmpPublish, format!("rtmps://{rtmp}/live/q{{n}}")),
    ] {
        let load = Load::start(kind, &url, &Options { insecure: true, prompt: Prompt::Every(2), ..count(2) }).with_media(2);
        thread::sleep(Duration::from_secs(1));
        let end = load.end();
        assert_eq!((end.failures(), end.count(Count::Left)), (vec![], 2), "{url}");
        assert!(end.count(Count::Frames) + end.count(Count::SentFrames) >= 20, "{url}: {}", end.count(Count::Frames));
        let careful = Load::start(kind, &url, &count(1));
        let failure = only_failure(&careful);
        assert_eq!(failure.stage, Stage::Connect, "{url}: {}", failure.reason);
        assert!(failure.reason.contains("invalid peer certificate"), "{url}: {}", failure.reason);
        assert!(failure.reason.ends_with("--insecure accepts any"), "{url}: {}", failure.reason);
    }
    eventually("nobody is left", || (weir.counters()["rtc"]["players"] == 0).then_some(()));
}

#[test]
fn loss_on_the_way_is_reported_as_that_loss() {
    let weir = Weir::start();
    let _source = publish(&weir, "x");
    let lossy = Lossy::before(&weir, ODD_SHARE);
    let options = Options { feedback: Feedback { nack: false, rtx: false, ..Feedback::default() }, ..count(2) };
    let load = Load::start(Kind::WebrtcPlay, &lossy.whep_url("x"), &options).with_media(2);
    thread::sleep(Duration::from_secs(5));
    let end = load.end();
    let dropped = lossy.dropped();
    assert_eq!(end.failures(), []);
    assert!(dropped > 10, "{dropped}");
    // One that was dropped last is not missed yet.
    assert!(end.count(Count::Lost).abs_diff(dropped) <= 3, "{} of {dropped} dropped", end.count(Count::Lost));
    assert!(end.count(Count::FramesLost) > 0);
}

#[test]
fn what_is_lost_is_asked_for_and_comes_again() {
    let weir = Weir::start();
    let _source = publish(&weir, "x");
    for rtx in [false, true] {
        let lossy = Lossy::before(&weir, ODD_SHARE);
        let options = Options { feedback: Feedback { rtx, ..Feedback::default() }, ..count(2) };
        let load = Load::start(Kind::WebrtcPlay, &lossy.whep_url("x"), &options).with_media(2);
        thread::sleep(Duration::from_secs(5));
        let end = load.end();
        let (dropped, lost, late) = (lossy.dropped(), end.count(Count::Lost), end.count(Count::Late));
        // Sound is not asked for again, and is four packets in ten; so are resent ones dropped at times.
        assert!(dropped > 10 && late > dropped / 4 && lost < dropped * 3 / 4, "rtx {rtx}: {lost} lost, {late} late of {dropped}");
        assert!(end.count(Count::FramesLost) <= 2, "rtx {rtx}: {} frames lost", end.count(Count::FramesLost));
    }
}

#[test]
fn packets_that_are_not_opened_count_as_well() {
    let weir = Weir::start();
    let _source = publish(&weir, "x");
    let counted = [Verify::All, Verify::Every(4), Verify::None].map(|verify| {
        let options = Options { verify, spread_sources: true, threads: 2, ..count(3) };
        Load::start(Kind::WebrtcPlay, &weir.whep_url("x"), &options)
    });
    let counted = counted.map(|load| load.with_media(3));
    thread::sleep(Duration::from_secs(3));
    let packets = counted.map(|load| {
        let end = load.end();
        assert_eq!((end.failures(), end.count(Count::Lost), end.count(Count::Bad)), (vec![], 0, 0));
        assert!(end.count(Count::Frames) > 3 * 60, "{}", end.count(Count::Frames));
        end.count(Count::Packets)
    });
    assert!(packets.iter().all(|n| n.abs_diff(packets[0]) * 5 < packets[0]), "{packets:?}");
}

#[test]
fn webrtc_publishers_are_played_over_the_api_of_srs() {
    let weir = Weir::start();
    let publishers = Load::start(Kind::WebrtcPublish, &weir.webrtc_url("s{n}"), &count(2)).with_media(2);
    let options = Options { streams: 2, feedback: Feedback::NONE, ..count(4) };
    let viewers = Load::start(Kind::WebrtcPlay, &weir.webrtc_url("s[s]"), &options).with_media(4);
    thread::sleep(Duration::from_secs(3));
    let received = viewers.end();
    assert_clean(&received, 4);
    let sent = publishers.end();
    assert_eq!((sent.failures(), sent.count(Count::Connected), sent.count(Count::Left)), (vec![], 2, 2));
    assert_eq!(sent.count(Count::SentLost), 0);
    assert!(sent.count(Count::SentPackets) * 2 >= received.count(Count::Packets));
}

#[test]
fn players_over_tcp_see_the_stream() {
    let weir = Weir::start();
    let _source = publish(&weir, "x");
    let kinds = [(Kind::RtmpPlay, weir.rtmp_url("x")), (Kind::FlvPlay, weir.http_url("x.flv"))];
    let loads = kinds.map(|(kind, url)| Load::start(kind, &url, &Options { threads: 2, ..count(6) }).with_media(6));
    thread::sleep(Duration::from_secs(1));
    let earlier = loads.each_ref().map(Load::now);
    thread::sleep(Duration::from_secs(4));
    for (load, earlier) in loads.into_iter().zip(earlier) {
        let frames = load.now().grown(Count::Frames, &earlier);
        assert!((6 * 85..=6 * 115).contains(&frames), "{frames} frames");
        let bits = load.now().grown(Count::Bytes, &earlier) * 8;
        assert!((6 * 4 * 450_000..6 * 4 * 750_000).contains(&bits), "{bits} of 600 kb/s");
        let end = load.end();
        assert_clean(&end, 6);
        assert_prompt(&end);
    }
}

/// Players of the kinds that can be read lazily, there before the stream is.
fn waiting_players(weir: &Weir, options: &Options) -> [Load; 2] {
    [(Kind::RtmpPlay, weir.rtmp_url("x")), (Kind::FlvPlay, weir.http_url("x.flv"))].map(|(kind, url)| {
        let load = Load::start(kind, &url, options);
        let there = load.handle.wait_until(PATIENCE, |progress| progress.running == options.count);
        assert!(there, "{:?}: {:?}", load.handle.progress(), load.now().failures());
        load
    })
}

#[test]
fn players_that_are_read_lazily_count_all_that_the_server_sent() {
    let weir = Weir::start();
    let options = Options { prompt: Prompt::None, streams: 1, threads: 2, stall: PATIENCE, ..count(4) };
    let loads = waiting_players(&weir, &options);
    let source = publish(&weir, "x");
    thread::sleep(Duration::from_secs(4));
    let come = || loads.iter().map(|load| load.now().count(Count::Bytes)).sum::<u64>();
    let before = come();
    // What its API says of each player, before they are gone with the stream.
    let listed = weir.get("/api/v1/clients/?count=100");
    let players = listed["clients"].as_array().expect("a list").iter().filter(|client| client["publish"] == false);
    let sent: u64 = players.map(|client| client["send_bytes"].as_u64().expect("a count")).sum();
    let after = come();
    // Headers are a few per cent, and 200 ms of the stream may lie in the sockets.
    assert!(before <= sent && sent * 90 / 100 <= after, "{before} and then {after} bytes of {sent} that were sent");
    let published = source.end();
    for load in loads {
        // The configurations of pictures and of sound come beside what the publisher counts.
        let (packets, frames) = (published.count(Count::SentPackets) + 2, published.count(Count::SentFrames));
        eventually("all has come", || (load.now().count(Count::Packets) >= 4 * packets).then_some(()));
        let end = load.end();
        assert_eq!((end.count(Count::Packets), end.count(Count::Frames)), (4 * packets, 4 * frames));
        assert_eq!((end.count(Count::FramesLost), end.count(Count::FramesLate), end.count(Count::Stamped)), (0, 0, 4 * frames));
        assert_eq!((end.count(Count::Lazy), end.timed(Times::FirstKeyframe)), (4, 4));
        // When frames came is not known.
        assert_eq!((end.timed(Times::Latency), end.count(Count::Freezes200)), (0, 0));
    }
}

#[test]
fn latency_and_freezes_are_of_the_players_that_are_read_at_once() {
    let weir = Weir::start();
    let source = publish(&weir, "x");
    for (kind, url) in [(Kind::RtmpPlay, weir.rtmp_url("x")), (Kind::FlvPlay, weir.http_url("x.flv"))] {
        let options = Options { prompt: Prompt::Every(4), threads: 2, ..count(16) };
        let load = Load::start(kind, &url, &options).with_media(16);
        thread::sleep(Duration::from_secs(3));
        let end = load.end();
        assert_clean(&end, 16);
        // Two of each thread's eight.
        assert_eq!((end.count(Count::Lazy), end.count(Count::LazyOver), end.active_lazily()), (12, 12, 0), "{kind:?}");
        let (timed, frames) = (end.timed(Times::Latency), end.count(Count::Frames));
        // Frames of the first second are not timed.
        assert!((frames / 16..=frames / 4).contains(&timed), "{kind:?}: {timed} of {frames} frames");
        assert_prompt(&end);
    }
    assert_eq!(source.end().failures(), []);
}

#[test]
fn hls_players_load_segments_as_they_come() {
    let weir = Weir::start();
    let _source = publish(&weir, "x");
    let playlist = weir.http_url("x.m3u8");
    eventually("there is a playlist", || {
        let probe = Load::start(Kind::HlsPlay, &playlist, &count(1));
        let listed = probe.handle.wait_until(Duration::from_secs(1), |progress| progress.media > 0);
        drop(probe);
        listed.then_some(())
    });
    let load = Load::start(Kind::HlsPlay, &playlist, &count(3)).with_media(3);
    thread::sleep(Duration::from_secs(7));
    let end = load.end();
    assert_eq!(end.failures(), []);
    assert_eq!((end.count(Count::Connected), end.count(Count::Left), end.count(Count::Lost)), (3, 3, 0));
    assert!(end.count(Count::Packets) >= 3 * 3, "{} segments", end.count(Count::Packets));
    assert!(end.count(Count::Frames) >= 3 * 100, "{} frames", end.count(Count::Frames));
    assert!(end.count(Count::Keyframes) >= 3 * 2);
}

#[test]
fn churning_clients_come_and_go() {
    let weir = Weir::start();
    let _source = publish(&weir, "x");
    let churn = Some(Churn { stay: Duration::from_millis(300), pause: Duration::from_millis(100) });
    for (kind, url) in
        [(Kind::WebrtcPlay, weir.whep_url("x")), (Kind::RtmpPlay, weir.rtmp_url("x")), (Kind::FlvPlay, weir.http_url("x.flv"))]
    {
        let load = Load::start(kind, &url, &Options { churn, ..count(4) }).with_media(12);
        let end = load.end();
        assert_eq!(end.failures(), [], "{kind:?}");
        assert!(end.count(Count::Left) >= 8, "{kind:?}: {}", end.count(Count::Left));
    }
    eventually("nobody is left", || (weir.counters()["rtc"]["players"] == 0).then_some(()));
}

#[test]
fn a_busy_stream_is_a_refusal() {
    let weir = Weir::start();
    let _source = publish(&weir, "x");
    for (kind, url) in [
        (Kind::WebrtcPublish, weir.whip_url("x")),
        (Kind::WebrtcPublish, weir.webrtc_url("x")),
        (Kind::RtmpPublish, weir.rtmp_url("x")),
    ] {
        let load = Load::start(kind, &url, &count(1));
        let failure = only_failure(&load);
        assert_eq!(failure.stage, Stage::Refused, "{url}: {}", failure.reason);
        assert!(!failure.reason.is_empty());
        assert_eq!(load.end().count(Count::Connected), 0);
    }
}

#[test]
fn wrong_urls_are_told_by_stage() {
    let weir = Weir::start();
    let nobody = free_tcp();
    for (kind, url, stage) in [
        (Kind::WebrtcPlay, format!("http://{nobody}/whep"), Stage::Connect),
        (Kind::WebrtcPlay, "http://nobody.invalid/whep".to_owned(), Stage::Resolve),
        (Kind::WebrtcPlay, format!("http://{}/no/such/thing", weir.api), Stage::Refused),
        (Kind::WebrtcPlay, format!("http://{}/live/x.flv", weir.rtmp), Stage::Http),
        (Kind::RtmpPlay, format!("rtmp://{nobody}/live/x"), Stage::Connect),
        (Kind::RtmpPlay, "rtmp://nobody.invalid/live/x".to_owned(), Stage::Resolve),
        (Kind::RtmpPlay, format!("rtmp://{}/live/x", weir.api), Stage::Handshake),
        (Kind::FlvPlay, format!("http://{nobody}/live/x.flv"), Stage::Connect),
        (Kind::FlvPlay, format!("http://{}/no.html", weir.http), Stage::Refused),
        (Kind::HlsPlay, format!("http://{}/live/none.m3u8", weir.http), Stage::Refused),
    ] {
        let options = Options { setup_patience: Duration::from_secs(3), ..count(2) };
        let load = Load::start(kind, &url, &options);
        let failure = only_failure(&load);
        assert_eq!(failure.stage, stage, "{url}: {}", failure.reason);
        let end = load.end();
        assert_eq!((end.count(Count::Connected), end.count(Count::Left)), (0, 0), "{url}");
    }
    let collector = Collector::new();
    assert!(clients::start(Kind::RtmpPlay, "http://a/live/x", &count(1), &collector).is_err());
}

#[test]
fn a_stream_that_nobody_publishes_brings_no_media() {
    let weir = Weir::start();
    let options = Options { media_patience: Duration::from_secs(1), ..count(2) };
    for (kind, url) in [
        (Kind::WebrtcPlay, weir.whep_url("none")),
        (Kind::RtmpPlay, weir.rtmp_url("none")),
        (Kind::FlvPlay, weir.http_url("none.flv")),
    ] {
        let load = Load::start(kind, &url, &options);
        let failure = only_failure(&load);
        assert_eq!(failure.stage, Stage::FirstMedia, "{url}: {}", failure.reason);
        assert_eq!(load.end().count(Count::Connected), 2, "{url}");
    }
}

#[test]
fn a_publisher_that_stops_is_a_stall() {
    let weir = Weir::start();
    let source = publish(&weir, "x");
    let options = Options { stall: Duration::from_secs(2), ..count(2) };
    let loads = [(Kind::WebrtcPlay, weir.whep_url("x")), (Kind::RtmpPlay, weir.rtmp_url("x"))]
        .map(|(kind, url)| Load::start(kind, &url, &options).with_media(2));
    source.end();
    for load in loads {
        let failure = only_failure(&load);
        assert!(matches!(failure.stage, Stage::Stalled | Stage::Ended), "{failure:?}");
    }
}

#[test]
fn a_stream_that_pauses_and_stops_is_seen_by_players_that_are_read_lazily() {
    let weir = Weir::start();
    let source = publish(&weir, "x");
    let options = Options { stall: Duration::from_secs(3), prompt: Prompt::None, streams: 1, ..count(2) };
    let loads = [(Kind::RtmpPlay, weir.rtmp_url("x")), (Kind::FlvPlay, weir.http_url("x.flv"))]
        .map(|(kind, url)| Load::start(kind, &url, &options).with_media(2));
    thread::sleep(Duration::from_secs(1));
    weir.hold(Duration::from_millis(1_500));
    for load in &loads {
        // Each player is looked at in its own time.
        eventually("frames after the pause, at both", || (load.now().count(Count::LazyFreezes500) >= 2).then_some(()));
        assert_eq!(load.now().failures(), vec![]);
    }
    source.end();
    for load in loads {
        let failure = only_failure(&load);
        assert!(matches!(failure.stage, Stage::Stalled | Stage::Ended), "{failure:?}");
    }
}

#[test]
fn a_server_that_dies_ends_everybody() {
    let mut weir = Weir::start();
    let source = publish(&weir, "x");
    let options = Options { stall: Duration::from_secs(3), ..count(3) };
    let loads = [
        (Kind::WebrtcPlay, weir.whep_url("x")),
        (Kind::WebrtcPublish, weir.whip_url("y{n}")),
        (Kind::RtmpPlay, weir.rtmp_url("x")),
        (Kind::FlvPlay, weir.http_url("x.flv")),
    ]
    .map(|(kind, url)| Load::start(kind, &url, &options).with_media(3));
    let lazy = Options { prompt: Prompt::None, ..options };
    let lazily = [(Kind::RtmpPlay, weir.rtmp_url("x")), (Kind::FlvPlay, weir.http_url("x.flv"))]
        .map(|(kind, url)| Load::start(kind, &url, &lazy).with_media(3));
    thread::sleep(Duration::from_millis(500));
    weir.kill();
    for load in loads.iter().chain(&lazily).chain([&source]) {
        let failure = only_failure(load);
        assert_eq!(failure.stage, Stage::Ended, "{failure:?}");
    }
    for load in loads.into_iter().chain(lazily) {
        load.handle.wait_until(PATIENCE, |progress| progress.failed >= 3);
        let end = load.end();
        assert_eq!((end.count(Count::Failed), end.count(Count::FailedLater), end.active()), (3, 3, 0));
    }
}
