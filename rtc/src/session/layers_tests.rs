//! The choice of a layer, in virtual time.

use bytes::Bytes;
use weir_source::PacketExtensions;

use super::*;

const HIGH: TrackId = TrackId::VIDEO;

fn track(index: u8) -> TrackId {
    TrackId::new(index).unwrap()
}

struct Viewer {
    layers: Layers,
    start: Instant,
    ms: u64,
    rates: [Option<u64>; 3],
}

impl Viewer {
    fn new(max: Option<&str>) -> Self {
        let mut tracks = Tracks::default();
        for (rank, rid) in (0..).zip(["h", "m", "l"]) {
            let mut made = weir_source::Track::new(track(rank + 1), weir_source::Codec::Vp8, 90_000, 0);
            made.layer = Some(Layer { rid: rid.into(), rank, size: None });
            tracks = tracks.with(made.into());
        }
        let mut layers = Layers::new(max.map(str::to_owned));
        layers.set_tracks(&tracks);
        let rates = [Some(2_000_000), Some(500_000), Some(150_000)];
        Self { layers, start: Instant::now(), ms: 0, rates }
    }

    /// Time passes, decisions are taken five times a second. What is wanted after each.
    fn run(&mut self, ms: u64) -> Vec<TrackId> {
        let end = self.ms + ms;
        let mut wanted = Vec::new();
        while self.ms < end {
            self.ms += 200;
            self.update(Duration::from_secs(10));
            wanted.push(self.layers.wanted());
        }
        wanted
    }

    fn update(&mut self, flowing: Duration) {
        let state = |(index, rate): (u8, &Option<u64>)| LayerState {
            track: track(index),
            bits_per_second: rate.unwrap_or(0),
            flowing: rate.map(|_| flowing),
        };
        let states: Vec<_> = (1..).zip(&self.rates).map(state).collect();
        self.layers.update(self.start + Duration::from_millis(self.ms), &states);
    }

    fn reason(&self) -> LayerReason {
        self.layers.stats(None).unwrap().reason
    }
}

fn packet(track: TrackId, keyframe: bool, ms: i64) -> Packet {
    Packet {
        track,
        epoch: 1,
        seq: 0,
        timestamp: 0,
        capture: MediaTime::from_millis(ms),
        marker: false,
        keyframe,
        extensions: PacketExtensions::default(),
        payload: Bytes::new(),
    }
}

#[test]
fn a_line_that_carries_all_gets_the_best() {
    let mut viewer = Viewer::new(None);
    viewer.update(Duration::ZERO);
    assert_eq!((viewer.layers.wanted(), viewer.reason()), (HIGH, LayerReason::Best));
}

#[test]
fn down_goes_at_once_and_up_only_with_room_that_lasts() {
    let mut viewer = Viewer::new(None);
    viewer.run(1_000);
    viewer.layers.set_budget(Some(600_000));
    assert_eq!(viewer.run(200), [track(2)]);
    assert_eq!(viewer.reason(), LayerReason::Bandwidth);
    viewer.layers.set_budget(Some(2_200_000));
    assert!(viewer.run(5_000).iter().all(|wanted| *wanted == track(2)), "it would only just fit");
    viewer.layers.set_budget(Some(2_400_000));
    let wanted = viewer.run(2_000);
    let up = wanted.iter().position(|wanted| *wanted == HIGH).unwrap();
    assert!((5..=6).contains(&up), "after a second: {up}");
    viewer.layers.set_budget(Some(100_000));
    assert_eq!(viewer.run(200), [track(3)], "past the one between, and never to none");
    assert_eq!(viewer.layers.share(), 100_000 * 1_000 / 150_000);
}

#[test]
fn a_budget_that_swings_around_a_layers_rate_does_not_make_it_flap() {
    let mut viewer = Viewer::new(None);
    viewer.run(1_000);
    let mut changes = 0;
    let mut last = viewer.layers.wanted();
    for round in 0..100 {
        viewer.layers.set_budget(Some(if round % 2 == 0 { 1_900_000 } else { 2_100_000 }));
        for wanted in viewer.run(400) {
            changes += u32::from(wanted != last);
            last = wanted;
        }
    }
    assert_eq!((changes, last), (1, track(2)));
}

#[test]
fn a_layer_that_is_not_sent_is_left_and_comes_back_once_it_has_settled() {
    let mut viewer = Viewer::new(None);
    viewer.run(1_000);
    viewer.rates[0] = None;
    assert_eq!(viewer.run(200), [track(2)]);
    assert_eq!(viewer.reason(), LayerReason::Missing);
    viewer.rates[0] = Some(1_000_000);
    viewer.update(Duration::from_millis(900));
    assert_eq!(viewer.layers.wanted(), track(2));
    viewer.update(Duration::from_millis(1_000));
    assert_eq!((viewer.layers.wanted(), viewer.reason()), (HIGH, LayerReason::Best));
    viewer.rates = [None; 3];
    assert_eq!(viewer.run(200), [HIGH], "with none there is nothing to choose");
}

#[test]
fn none_better_than_asked_for_is_given() {
    let mut viewer = Viewer::new(Some("m"));
    viewer.run(1_000);
    assert_eq!((viewer.layers.wanted(), viewer.reason()), (track(2), LayerReason::Asked));
    viewer.rates[1] = None;
    viewer.run(1_000);
    assert_eq!((viewer.layers.wanted(), viewer.reason()), (track(3), LayerReason::Missing));
    viewer.rates[2] = None;
    viewer.run(1_000);
    assert_eq!(viewer.layers.wanted(), HIGH, "rather too good than none");
    let mut other = Viewer::new(Some("unknown"));
    other.run(1_000);
    assert_eq!(other.layers.wanted(), HIGH);
}

#[test]
fn a_layer_begins_at_its_keyframe_and_the_old_one_goes_on_until_then() {
    let mut viewer = Viewer::new(None);
    viewer.run(1_000);
    let admit = |viewer: &mut Viewer, index, keyframe, current| viewer.layers.admit(&packet(track(index), keyframe, 0), current);
    assert_eq!(admit(&mut viewer, 1, false, Some(track(2))), Admission::Wish);
    assert_eq!(admit(&mut viewer, 2, false, Some(track(2))), Admission::Take);
    assert_eq!(admit(&mut viewer, 3, true, Some(track(2))), Admission::Leave);
    assert_eq!(admit(&mut viewer, 1, true, Some(track(2))), Admission::Take);
    assert_eq!(admit(&mut viewer, 2, true, Some(HIGH)), Admission::Leave);
    // Whoever has nothing takes what comes, but nothing better than its line carries.
    assert_eq!(admit(&mut viewer, 3, true, None), Admission::Take);
    viewer.layers.set_budget(Some(600_000));
    viewer.run(200);
    assert_eq!(admit(&mut viewer, 1, true, None), Admission::Leave);
}

#[test]
fn who_joins_waits_for_the_best_layer_that_is_cached() {
    let mut viewer = Viewer::new(None);
    viewer.run(1_000);
    let admit = |viewer: &mut Viewer, index, ms| viewer.layers.admit(&packet(track(index), true, ms), None);
    let mut cached = TrackSet::of(track(3));
    viewer.layers.join(MediaTime::from_millis(1_000), cached);
    assert_eq!(admit(&mut viewer, 3, 100), Admission::Take, "no better one is there");
    cached.insert(track(2));
    viewer.layers.join(MediaTime::from_millis(1_000), cached);
    assert_eq!((admit(&mut viewer, 3, 100), admit(&mut viewer, 2, 100)), (Admission::Leave, Admission::Take));
    assert_eq!(admit(&mut viewer, 3, 1_000), Admission::Take, "it did not come");
}

#[test]
fn a_keyframe_whose_start_came_late_is_no_place_to_change_at_once() {
    let mut viewer = Viewer::new(None);
    viewer.run(1_000);
    let (at, old) = (|seq, keyframe| Packet { seq, ..packet(HIGH, keyframe, 0) }, Some(track(2)));
    assert_eq!(viewer.layers.admit(&at(11, false), old), Admission::Wish);
    assert_eq!(viewer.layers.admit(&at(10, true), old), Admission::Wish, "what follows it has gone by");
    assert_eq!(viewer.layers.admit(&at(21, false), old), Admission::Wish);
    assert_eq!(viewer.layers.admit(&at(20, true), old), Admission::Take, "it is so always");
    assert_eq!(viewer.layers.admit(&at(10, true), None), Admission::Take, "better than nothing");
}
