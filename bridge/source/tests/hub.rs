//! The hub's promises: one publisher, on-demand remuxing, continuity, no leftovers.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use weir_source::*;

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Count {
    fn taken(&self) -> usize {
        self.0.swap(0, Ordering::SeqCst)
    }
}

#[derive(Default)]
struct Jobs(Mutex<Vec<RemuxJob>>);

impl Bridge for Jobs {
    fn remux(&self, job: RemuxJob) {
        self.0.lock().unwrap().push(job);
    }
}

fn key() -> StreamKey {
    StreamKey::new("live", "s").unwrap()
}

fn packet(seq: u64, timestamp: u64, capture_ms: i64, keyframe: bool) -> Packet {
    Packet {
        track: TrackId::VIDEO,
        epoch: 0,
        seq,
        timestamp,
        capture: MediaTime::from_millis(capture_ms),
        marker: true,
        keyframe,
        extensions: PacketExtensions::default(),
        payload: Bytes::from_static(b"payload"),
    }
}

fn video_tracks() -> Tracks {
    Tracks::default().with(Arc::new(Track::new(TrackId::VIDEO, Codec::H264, 90_000, 0)))
}

fn frame(ms: i64) -> Frame {
    let track = Arc::new(Track::new(TrackId::VIDEO, Codec::H264, 90_000, 0));
    Frame::new(track, MediaTime::from_millis(ms), MediaTime::from_millis(ms), true, Bytes::from_static(b"f"))
}

#[test]
fn a_second_publisher_is_refused_until_the_first_is_silent_for_two_seconds() {
    let hub = Hub::new();
    let t0 = Instant::now();
    let (wake, other) = (Arc::new(Count::default()), Arc::new(Count::default()));
    let first = hub.publish_packets(&key(), "a", wake.clone(), t0).unwrap();
    assert!(first.push(&mut vec![packet(1, 0, 0, true)], t0 + Duration::from_secs(1)));
    let busy = hub.publish_packets(&key(), "b", other.clone(), t0 + Duration::from_millis(2_900));
    assert_eq!(busy.err(), Some(PublishError::StreamBusy));

    let second = hub.publish_frames(&key(), "b", other, t0 + Duration::from_millis(3_001)).unwrap();
    assert_eq!(wake.taken(), 1, "the former publisher is told");
    assert!(first.is_replaced());
    assert!(!first.push(&mut vec![packet(2, 10, 10, false)], t0 + Duration::from_secs(4)), "its lane is closed to it");
    drop(first);
    assert_eq!(second.source().publisher_lane(), Some(Lane::Frames), "its leaving does not end the new one");
    drop(second);
    assert!(hub.list().is_empty());
}

#[test]
fn sequence_numbers_and_timestamps_go_on_from_publisher_to_publisher() {
    let hub = Hub::new();
    let t0 = Instant::now();
    let mut reader = hub.subscribe_packets(&key(), t0);
    let publish = |packets: Vec<Packet>| {
        let publisher = hub.publish_packets(&key(), "a", Arc::new(Count::default()), t0).unwrap();
        publisher.set_tracks(video_tracks());
        let mut batch = packets;
        assert!(publisher.push(&mut batch, t0));
        assert!(batch.is_empty());
    };
    publish(vec![packet(65_000, 1_000, 100, true), packet(65_002, 4_000, 133, false)]);
    publish(vec![packet(7, 500_000, 1_133, true), packet(6, 497_000, 1_100, false), packet(8, 503_000, 1_166, false)]);
    let mut seen = Vec::new();
    assert_eq!(reader.read(&mut seen, 100), Read::Ok);
    let numbers: Vec<_> = seen.iter().map(|p| (p.seq, p.timestamp)).collect();
    assert_eq!(
        numbers,
        [(0, 1_000), (2, 4_000), (3, 94_000), (4, 97_000)],
        "one second later by the source's clock; what came before the new start is dropped"
    );
    assert_ne!(seen[1].epoch, seen[2].epoch);
}

#[test]
fn a_remuxer_runs_only_while_somebody_reads_the_other_lane() {
    let hub = Hub::new();
    let jobs = Arc::new(Jobs::default());
    hub.set_bridge(jobs.clone());
    let t0 = Instant::now();
    let native = hub.subscribe_packets(&key(), t0);
    let publisher = hub.publish_packets(&key(), "a", Arc::new(Count::default()), t0).unwrap();
    assert!(jobs.0.lock().unwrap().is_empty(), "a native reader needs none");

    let mut reader = hub.subscribe_frames(&key(), t0);
    let second_reader = hub.subscribe_frames(&key(), t0);
    let job = jobs.0.lock().unwrap().pop().expect("started by the first reader");
    assert!(jobs.0.lock().unwrap().is_empty(), "and only by the first");
    assert_eq!(job.lane(), Lane::Frames);
    assert!(job.push(&mut vec![frame(1)]));
    assert!(!job.push(&mut vec![packet(1, 1, 1, true)]), "the lane it reads is not its to write");
    let mut seen = Vec::new();
    reader.read(&mut seen, 10);
    assert_eq!(seen.len(), 1);

    drop(reader);
    assert!(!job.is_over());
    drop(second_reader);
    assert!(job.is_over());
    let _late = hub.subscribe_frames(&key(), t0);
    assert_eq!(jobs.0.lock().unwrap().len(), 1, "a new one need not wait for the old one's end");
    assert!(!job.push(&mut vec![frame(2)]), "which can no longer write");
    drop(job);
    drop(publisher);
    assert!(jobs.0.lock().unwrap()[0].is_over(), "no publisher, no remuxer");
    drop(native);
}

#[test]
fn a_reader_may_come_first_and_starts_the_remuxer_when_the_publisher_does() {
    let hub = Hub::new();
    let jobs = Arc::new(Jobs::default());
    hub.set_bridge(jobs.clone());
    let t0 = Instant::now();
    let wake = Arc::new(Count::default());
    let mut reader = hub.subscribe_packets(&key(), t0);
    reader.watch(wake.clone());
    let _publisher = hub.publish_frames(&key(), "a", Arc::new(Count::default()), t0).unwrap();
    assert!(wake.taken() > 0);
    assert_eq!(jobs.0.lock().unwrap().pop().map(|job| job.lane()), Some(Lane::Packets));
}

/// As [`Jobs`], while it is allowed.
#[derive(Default)]
struct Switched(Jobs, std::sync::atomic::AtomicBool);

impl Bridge for Switched {
    fn remux(&self, job: RemuxJob) {
        self.0.remux(job);
    }

    fn allows(&self, _key: &StreamKey, _lane: Lane) -> bool {
        self.1.load(Ordering::SeqCst)
    }
}

#[test]
fn a_remuxer_that_is_no_longer_allowed_ends_and_one_that_is_starts_for_who_waits() {
    let (hub, bridge, start) = (Hub::new(), Arc::new(Switched::default()), Instant::now());
    hub.set_bridge(bridge.clone());
    let jobs = || bridge.0.0.lock().unwrap();
    let _publisher = hub.publish_packets(&key(), "a", Arc::new(Count::default()), start).unwrap();
    let _reader = hub.subscribe_frames(&key(), start);
    assert!(jobs().is_empty(), "it is not allowed");
    bridge.1.store(true, Ordering::SeqCst);
    hub.review_remuxers();
    hub.review_remuxers();
    assert_eq!(jobs().len(), 1, "one for who waits, and no second");
    bridge.1.store(false, Ordering::SeqCst);
    hub.review_remuxers();
    let job = jobs().pop().unwrap();
    assert!(job.is_over());
    drop(job);
    bridge.1.store(true, Ordering::SeqCst);
    hub.review_remuxers();
    assert_eq!(jobs().len(), 1);
    jobs().clear();
}

#[test]
fn nothing_is_left_after_two_hundred_joins_and_leaves() {
    let hub = Hub::new();
    let jobs = Arc::new(Jobs::default());
    hub.set_bridge(jobs.clone());
    let t0 = Instant::now();
    for _ in 0..200 {
        let publisher = hub.publish_frames(&key(), "a", Arc::new(Count::default()), t0).unwrap();
        let mut reader = hub.subscribe_packets(&key(), t0);
        reader.watch(Arc::new(Count::default()));
        jobs.0.lock().unwrap().clear();
        drop(publisher);
        assert_eq!(hub.list().len(), 1);
        drop(reader);
        assert!(hub.list().is_empty());
    }
}

#[test]
fn keyframe_wishes_coalesce_and_wake_the_publisher_once() {
    let hub = Hub::new();
    let wake = Arc::new(Count::default());
    let publisher = hub.publish_packets(&key(), "a", wake.clone(), Instant::now()).unwrap();
    for _ in 0..300 {
        publisher.source().request_keyframe();
    }
    assert_eq!(wake.taken(), 1);
    assert_eq!(publisher.take_keyframe_requests(), TrackSet::of(TrackId::VIDEO));
    assert!(publisher.take_keyframe_requests().is_empty());
    publisher.source().request_keyframe();
    assert_eq!(wake.taken(), 1);
}

#[test]
fn clients_leave_the_list_with_their_guard_and_hear_a_kick() {
    let hub = Hub::new();
    let wake = Arc::new(Count::default());
    let guard = hub.clients().enter(Pass::free(info("abc")), wake.clone());
    hub.clients().get("abc").unwrap().kick();
    assert!(guard.is_kicked());
    assert_eq!(wake.taken(), 1);
    drop(guard);
    assert_eq!(hub.clients().count(), 0);
}

#[test]
fn a_muxed_form_is_made_once_and_shared() {
    let frame = frame(1);
    let copy = frame.clone();
    let made = frame.muxed.flv(|| Bytes::from_static(b"tag"));
    let again = copy.muxed.flv(|| unreachable!("made before"));
    assert_eq!(made.as_ptr(), again.as_ptr());
}

fn info(id: &str) -> ClientInfo {
    ClientInfo {
        id: id.into(),
        kind: ClientKind::RtmpPlay,
        key: key(),
        ip: std::net::Ipv4Addr::LOCALHOST.into(),
        url: String::new(),
        page_url: String::new(),
        param: Secret::default(),
        since: Instant::now(),
    }
}

/// Lets in all but `b`, and notes who has gone.
#[derive(Default)]
struct Keeper(Mutex<Vec<(String, (u64, u64))>>);

impl Gatekeeper for Keeper {
    fn admit(&self, visit: Visit) -> Verdict {
        let denied = (visit.info.id == "b").then_some(Denied::Unauthorized);
        Box::pin(async move { denied.map_or(Ok(()), Err) })
    }

    fn left(&self, info: &Arc<ClientInfo>, traffic: &Traffic) {
        self.0.lock().unwrap().push((info.id.clone(), traffic.totals()));
    }
}

/// The result of a future that is ready.
fn ready<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => panic!("not ready"),
    }
}

#[test]
fn who_was_let_in_leaves_once_and_who_was_not_never() {
    let hub = Hub::new();
    let keeper = Arc::new(Keeper::default());
    hub.set_gatekeeper(keeper.clone());
    assert_eq!(ready(hub.admit(info("b"), None)).unwrap_err(), Denied::Unauthorized);
    let guard = hub.clients().enter(ready(hub.admit(info("a"), None)).unwrap(), Arc::new(Count::default()));
    guard.sent(5);
    assert!(keeper.0.lock().unwrap().is_empty());
    drop(guard);
    drop(ready(hub.admit(info("c"), None)).unwrap());
    assert_eq!(*keeper.0.lock().unwrap(), [("a".to_owned(), (5, 0)), ("c".to_owned(), (0, 0))]);
}

#[test]
fn a_stream_is_busy_while_its_publisher_sends() {
    let (hub, now, claim) = (Hub::new(), Instant::now(), Claim::default());
    assert_eq!(hub.is_free(&key(), &claim, now), Ok(()));
    let _publisher = hub.publish_frames(&key(), "a", Arc::new(Count::default()), now).unwrap();
    assert_eq!(hub.is_free(&key(), &claim, now), Err(PublishError::StreamBusy));
    assert_eq!(hub.is_free(&key(), &claim, now + Duration::from_secs(2)), Ok(()), "it has been silent");
}

/// Knows publishers by the first letter of their ids; lets in all but `x…`.
struct Rules(Takeover);

impl Gatekeeper for Rules {
    fn check(&self, visit: &Visit) -> Result<Claim, Denied> {
        let letter = visit.info.id.as_bytes()[0];
        match letter {
            b'x' => Err(Denied::Unauthorized),
            _ => Ok(Claim { takeover: self.0, identity: Some(Identity::of_digest([letter; 32])) }),
        }
    }

    fn admit(&self, _visit: Visit) -> Verdict {
        Box::pin(std::future::ready(Ok(())))
    }

    fn left(&self, _info: &Arc<ClientInfo>, _traffic: &Traffic) {}
}

/// A hub with `rule`, whose publisher `a1` has just sent at `now`.
fn taken(rule: Takeover, now: Instant) -> (Arc<Hub>, Publisher<Frame>, Arc<Count>) {
    let (hub, wake) = (Hub::new(), Arc::new(Count::default()));
    hub.set_gatekeeper(Arc::new(Rules(rule)));
    let pass = ready(hub.admit(publisher("a1", now), None)).unwrap();
    let first = hub.publish_by(&pass, wake.clone(), now).unwrap();
    (hub, first, wake)
}

fn publisher(id: &str, since: Instant) -> ClientInfo {
    ClientInfo { kind: ClientKind::RtmpPublish, since, ..info(id) }
}

#[test]
fn f20_the_same_publisher_takes_over_at_once_and_viewers_go_on() {
    let now = Instant::now();
    let (hub, first, wake) = taken(Takeover::Identity, now);
    let mut viewer = hub.subscribe_frames(&key(), now);
    first.push(&mut vec![frame(1)], now);
    let pass = ready(hub.admit(publisher("a2", now), None)).unwrap();
    let second = hub.publish_by::<Frame>(&pass, Arc::new(Count::default()), now).unwrap();
    assert_eq!(wake.taken(), 1, "the former publisher is told");
    assert!(first.is_replaced() && !first.push(&mut vec![frame(2)], now));
    assert!(second.push(&mut vec![frame(3)], now));
    let mut seen = Vec::new();
    viewer.read(&mut seen, 10);
    assert_eq!(seen.iter().map(|frame| frame.dts).collect::<Vec<_>>(), [1, 3].map(MediaTime::from_millis));
}

#[test]
fn f22_another_publisher_is_refused_unless_the_rule_is_always() {
    let now = Instant::now();
    let later = now + Duration::from_secs(3);
    for (rule, sending, silent) in [
        (Takeover::Silent, false, true),
        (Takeover::Identity, false, true),
        (Takeover::Always, true, true),
        (Takeover::Never, false, false),
    ] {
        let (hub, first, _wake) = taken(rule, now);
        for (at, want) in [(now, sending), (later, silent)] {
            let asked = ready(hub.admit(publisher("b", at), None));
            assert_eq!(asked.is_ok(), want, "{rule:?}");
            if let Err(denied) = asked {
                assert_eq!(denied, Denied::Busy(PublishError::StreamBusy));
            }
        }
        assert!(!first.is_replaced(), "asking changes nothing");
    }
}

#[test]
fn who_may_not_publish_is_not_told_that_somebody_does() {
    let now = Instant::now();
    let (hub, _first, _wake) = taken(Takeover::Silent, now);
    let elsewhere = Hub::new();
    elsewhere.set_gatekeeper(Arc::new(Rules(Takeover::Silent)));
    for hub in [hub, elsewhere] {
        assert_eq!(ready(hub.admit(publisher("x", now), None)).unwrap_err(), Denied::Unauthorized);
    }
}
