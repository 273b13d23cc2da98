//! Jobs in a real hub: started by the first reader, ended by the last, both ways and back.

use std::time::Instant;

use bytes::Bytes;
use weir_source::{
    Codec, Frame, Hub, MediaKind, MediaTime, Packet, PacketExtensions, Publisher, Read, StreamKey, Track, TrackId, Tracks, Wake,
};

use super::*;
use crate::{LaneReader, remux::h264::Packetizer, transcode::opus_samples};

const SPS_NAL: &[u8] = &[
    0x67, 0x64, 0x00, 0x1e, 0xac, 0xd9, 0x40, 0xa0, 0x2f, 0xf9, 0x70, 0x11, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00, 0x00, 0x03, 0x00,
    0x3c, 0x0f, 0x16, 0x2d, 0x96,
];
/// An Opus packet of 20 ms that every decoder takes.
const OPUS: &[u8] = &[0xfc, 0xff, 0xfe];
/// Longer than any of this takes on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Asked(AtomicUsize);

impl Wake for Asked {
    fn wake(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

struct House {
    hub: Arc<Hub>,
    bridge: Arc<RemuxBridge>,
    key: StreamKey,
}

impl House {
    fn new() -> Self {
        let hub = Hub::new();
        let bridge = RemuxBridge::new(Handle::current(), Pool::new(1));
        hub.set_bridge(bridge.clone());
        Self { hub, bridge, key: StreamKey::new("live", "s").expect("a name") }
    }

    /// Everything that was started has ended, and nothing is left.
    async fn is_empty(&self) -> bool {
        let idle = async {
            while self.bridge.stats().running() > 0 || self.bridge.pool().stats().jobs.load(Ordering::Relaxed) > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, idle).await.is_ok() && self.hub.list().is_empty()
    }
}

fn video_track() -> Arc<Track> {
    let mut sets = h264::ParameterSets::default();
    sets.store(&Bytes::from_static(SPS_NAL));
    sets.store(&Bytes::from_static(&[0x68, 0xef, 0x8f, 0xcb]));
    let mut track = Track::new(TrackId::VIDEO, Codec::H264, 90_000, 0);
    track.config = sets.record().expect("complete");
    Arc::new(track)
}

fn picture(track: &Arc<Track>, index: i64, keyframe_every: i64) -> Frame {
    let keyframe = index % keyframe_every == 0;
    let data = if keyframe { &[0, 0, 0, 3, 0x65, 0x88, 0x80][..] } else { &[0, 0, 0, 3, 0x41, 0x9a, 0x80] };
    let time = MediaTime::from_millis(1_000 + 40 * index);
    Frame::new(Arc::clone(track), time, time, keyframe, Bytes::from_static(data))
}

fn sound_packet(index: u64) -> Packet {
    Packet {
        track: TrackId::AUDIO,
        epoch: 0,
        seq: index,
        timestamp: 5_000 + index * 960,
        capture: MediaTime::from_millis(1_000 + 20 * index as i64),
        marker: false,
        keyframe: false,
        extensions: PacketExtensions::default(),
        payload: Bytes::from_static(OPUS),
    }
}

/// The two tracks of a browser.
fn browser_tracks() -> Tracks {
    Tracks::default().with(Arc::new(Track::new(TrackId::AUDIO, Codec::Opus, 48_000, 2))).with(Arc::new(Track::new(
        TrackId::VIDEO,
        Codec::H264,
        90_000,
        0,
    )))
}

fn push<T: weir_source::LaneItem>(publisher: &Publisher<T>, items: impl IntoIterator<Item = T>) {
    assert!(publisher.push(&mut items.into_iter().collect(), Instant::now()));
}

/// Reads until `enough`.
async fn read<T: weir_source::LaneItem>(reader: &mut LaneReader<T>, enough: impl Fn(&[T]) -> bool) -> Vec<T> {
    let mut seen = Vec::new();
    let reading = async {
        while !enough(&seen) {
            assert_eq!(reader.read(&mut seen, 100).await, Read::Ok);
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("in time");
    seen
}

fn sounds(frames: &[Frame]) -> usize {
    frames.iter().filter(|frame| frame.kind() == MediaKind::Audio).count()
}

fn packets_of(packets: &[Packet], track: TrackId) -> Vec<&Packet> {
    packets.iter().filter(|packet| packet.track == track).collect()
}

#[tokio::test]
async fn viewers_of_a_frames_publisher_get_packets_while_one_is_there() {
    let house = House::new();
    let now = Instant::now();
    let publisher: Publisher<Frame> = house.hub.publish(&house.key, "a", Arc::new(Asked::default()), now).expect("free");
    let mut sound_track = Track::new(TrackId::AUDIO, Codec::Opus, 48_000, 2);
    sound_track.config = Bytes::new();
    let (video, audio) = (video_track(), Arc::new(sound_track));
    publisher.set_tracks(Tracks::default().with(video.clone()).with(audio.clone()));
    push(&publisher, (0..30).map(|index| picture(&video, index, 25)));
    let sound =
        |ms| Frame::new(audio.clone(), MediaTime::from_millis(ms), MediaTime::from_millis(ms), true, Bytes::from_static(OPUS));
    push(&publisher, [sound(1_600), sound(2_100)]);
    assert_eq!(house.bridge.stats().running(), 0, "nobody reads the packets");

    let mut reader = LaneReader::new(house.hub.subscribe_packets(&house.key, now), NotifyWake::new());
    assert_eq!(house.bridge.stats().running(), 1);
    let packets = read(&mut reader, |packets| packets.len() >= 7).await;
    let pictures = packets_of(&packets, TrackId::VIDEO);
    assert!(pictures[0].keyframe && !pictures[1].keyframe, "from the last keyframe on");
    assert_eq!(pictures[0].capture, MediaTime::from_millis(2_000));
    assert_eq!(pictures.len(), 6);
    let heard: Vec<_> = packets_of(&packets, TrackId::AUDIO).iter().map(|packet| packet.capture.as_millis()).collect();
    assert_eq!(heard, [2_100], "old sound is of no use");
    let tracks = reader.subscriber().tracks();
    let fmtp = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=64001e";
    assert_eq!(tracks.video().map(|track| track.fmtp.as_str()), Some(fmtp));
    assert_eq!(tracks.audio().map(|track| (track.codec, track.clock_rate, track.channels)), Some((Codec::Opus, 48_000, 2)));

    drop(reader);
    drop(publisher);
    assert!(house.is_empty().await);
}

#[tokio::test]
async fn players_of_a_packets_publisher_get_pictures_and_sound() {
    let house = House::new();
    let now = Instant::now();
    let asked = Arc::new(Asked::default());
    let publisher: Publisher<Packet> = house.hub.publish(&house.key, "a", asked.clone(), now).expect("free");
    publisher.set_tracks(browser_tracks());
    let mut reader = LaneReader::new(house.hub.subscribe_frames(&house.key, now), NotifyWake::new());
    let asking = async {
        while asked.0.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("a keyframe is asked for at once");

    let (mut packetizer, mut pictures, track) = (Packetizer::default(), Vec::new(), video_track());
    (0..50).for_each(|index| packetizer.push(&picture(&track, index, 25), &mut pictures));
    push(&publisher, pictures);
    push(&publisher, (0..100).map(sound_packet));
    let frames = read(&mut reader, |frames| sounds(frames) >= 90 && frames.len() - sounds(frames) == 50).await;
    let tracks = reader.subscriber().tracks();
    let video = tracks.video().expect("known");
    assert_eq!(video.video.as_ref().map(|info| (info.width, info.height)), Some((640, 360)));
    let audio = tracks.audio().expect("known");
    assert_eq!((audio.codec, audio.clock_rate, &audio.config[..2]), (Codec::Aac, 48_000, &[0x11, 0x90][..]));
    for kind in [MediaKind::Audio, MediaKind::Video] {
        let times: Vec<_> = frames.iter().filter(|frame| frame.kind() == kind).map(|frame| frame.dts).collect();
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]));
        assert!((times[0] - MediaTime::from_millis(1_000)).abs() <= 22_000, "{kind:?} starts in its place");
    }
    assert_eq!(house.bridge.stats().holes(), 0);

    drop(reader);
    assert!(publisher.source().tracks(Lane::Frames).list.is_empty() || house.bridge.stats().running() > 0);
    drop(publisher);
    assert!(house.is_empty().await);
}

#[tokio::test]
async fn sound_goes_to_aac_and_back_to_opus_through_two_sources() {
    let house = House::new();
    let now = Instant::now();
    let publisher: Publisher<Packet> = house.hub.publish(&house.key, "a", Arc::new(Asked::default()), now).expect("free");
    publisher.set_tracks(browser_tracks());
    let mut reader = LaneReader::new(house.hub.subscribe_frames(&house.key, now), NotifyWake::new());
    push(&publisher, (0..100).map(sound_packet));
    let aac = read(&mut reader, |frames| sounds(frames) >= 90).await;

    let key = StreamKey::new("live", "relayed").expect("a name");
    let relay: Publisher<Frame> = house.hub.publish(&key, "b", Arc::new(Asked::default()), now).expect("free");
    let mut viewer = LaneReader::new(house.hub.subscribe_packets(&key, now), NotifyWake::new());
    relay.set_track(aac[0].track.clone());
    for frames in aac.chunks(10) {
        push(&relay, frames.to_vec());
    }
    let opus = read(&mut viewer, |packets| packets.len() >= 20).await;
    for pair in opus.windows(2) {
        assert_eq!(pair[1].timestamp - pair[0].timestamp, 960);
        assert_eq!(pair[1].capture - pair[0].capture, 20_000);
    }
    drop((reader, viewer, publisher, relay));
    assert!(house.is_empty().await);
}

#[tokio::test]
async fn opus_of_an_rtmp_publisher_goes_two_frames_a_packet_where_the_vhost_says_so() {
    let house = House::new();
    house.bridge.set_settings(PerVhost::all(RemuxConfig { opus_pairs: true, ..RemuxConfig::default() }));
    let now = Instant::now();
    let relay: Publisher<Frame> = house.hub.publish(&house.key, "b", Arc::new(Asked::default()), now).expect("free");
    let mut viewer = LaneReader::new(house.hub.subscribe_packets(&house.key, now), NotifyWake::new());
    let track = Arc::new(Track::new(TrackId::AUDIO, Codec::Opus, 48_000, 2));
    relay.set_track(track.clone());
    let sound = |index| {
        let packet = sound_packet(index);
        Frame::new(track.clone(), packet.capture, packet.capture, true, packet.payload)
    };
    push(&relay, (0..20).map(sound));
    let opus = read(&mut viewer, |packets| packets.len() >= 10).await;
    assert_eq!(opus.len(), 10);
    assert!(opus.iter().all(|packet| opus_samples(&packet.payload) == Some(1_920)));
    assert!(opus.windows(2).all(|pair| pair[1].timestamp - pair[0].timestamp == 1_920));
    drop((viewer, relay));
    assert!(house.is_empty().await);
}

#[tokio::test]
async fn codecs_that_are_not_bridged_leave_their_track_out() {
    let house = House::new();
    let now = Instant::now();
    let publisher: Publisher<Packet> = house.hub.publish(&house.key, "a", Arc::new(Asked::default()), now).expect("free");
    publisher.set_tracks(browser_tracks().with(Arc::new(Track::new(TrackId::VIDEO, Codec::Vp8, 90_000, 0))));
    let mut reader = LaneReader::new(house.hub.subscribe_frames(&house.key, now), NotifyWake::new());
    push(&publisher, [Packet { track: TrackId::VIDEO, keyframe: true, ..sound_packet(0) }]);
    push(&publisher, (0..20).map(sound_packet));
    let frames = read(&mut reader, |frames| sounds(frames) >= 10).await;
    assert_eq!(frames.len(), sounds(&frames));
    assert!(reader.subscriber().tracks().video().is_none());
    drop((reader, publisher));
    assert!(house.is_empty().await);
}

#[tokio::test]
async fn nothing_is_left_after_many_joins_and_leaves() {
    let house = House::new();
    let now = Instant::now();
    let publisher: Publisher<Packet> = house.hub.publish(&house.key, "a", Arc::new(Asked::default()), now).expect("free");
    publisher.set_tracks(browser_tracks());
    for round in 0..50 {
        let mut reader = LaneReader::new(house.hub.subscribe_frames(&house.key, now), NotifyWake::new());
        push(&publisher, (round * 10..round * 10 + 10).map(sound_packet));
        if round % 2 == 0 {
            read(&mut reader, |frames| !frames.is_empty()).await;
        }
    }
    drop(publisher);
    assert!(house.is_empty().await);
}
