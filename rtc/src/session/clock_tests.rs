//! The publisher's clock against simulated senders, in virtual time.

use proptest::prelude::*;

use std::time::Instant;

use super::super::{
    config::{SessionConfig, Wall},
    report::SenderReports,
};
use super::*;
use crate::wire::rtcp::SenderInfo;

const AUDIO: TrackId = TrackId::AUDIO;
const VIDEO: TrackId = TrackId::VIDEO;

fn ms(v: i64) -> MediaTime {
    MediaTime::from_millis(v)
}

/// A sender with a crystal that is `ppm` fast, whose video takes `video_delay_us` longer to arrive.
struct Sender {
    ppm: i64,
    ntp: Ntp,
    audio_origin: u32,
    video_origin: u32,
}

impl Sender {
    fn new(ppm: i64) -> Self {
        Self { ppm, ntp: Ntp(0xe000_0000_1234_5678), audio_origin: 0xffff_8000, video_origin: 4_000_000_000 }
    }

    /// The sender's own count of microseconds after `us` of ours.
    fn own_us(&self, us: i64) -> i64 {
        us + us * self.ppm / 1_000_000
    }

    fn timestamp(&self, track: TrackId, us: i64) -> u32 {
        let (origin, rate) = if track == AUDIO { (self.audio_origin, 48_000) } else { (self.video_origin, 90_000) };
        origin.wrapping_add(MediaTime::from_micros(self.own_us(us)).to_ticks(rate) as u32)
    }

    fn ntp(&self, us: i64) -> Ntp {
        self.ntp.plus(Duration::from_micros(self.own_us(us).unsigned_abs()))
    }
}

fn rate(track: TrackId) -> u32 {
    if track == AUDIO { 48_000 } else { 90_000 }
}

/// Runs both tracks for `seconds`; sound arrives after 20 ms, pictures after `video_delay_us`.
/// Returns the difference between the tracks' captures of one moment each 10 ms, from `from_s` on.
fn run(clock: &mut PublisherClock, sender: &Sender, seconds: i64, from_s: i64, video_delay_us: i64, reports: bool) -> Vec<i64> {
    let mut skews = Vec::new();
    let mut last = [None::<Placed>; 2];
    for step in 0..seconds * 100 {
        let us = step * 10_000;
        let mut captured = [MediaTime::ZERO; 2];
        for (index, track) in [AUDIO, VIDEO].into_iter().enumerate() {
            let jitter = (step * 7_919 % 13) * 1_000;
            let delay = if track == AUDIO { 20_000 } else { video_delay_us } + jitter;
            let placed = clock.place(track, rate(track), sender.timestamp(track, us), MediaTime::from_micros(us + delay), true);
            if let Some(last) = last[index] {
                assert!(placed.capture > last.capture, "never back");
                let ticks = placed.timestamp.wrapping_sub(last.timestamp) as i64;
                let step_us = MediaTime::from_ticks(ticks, rate(track)).as_micros();
                assert!((placed.capture - last.capture - step_us).abs() <= 20_000, "no step over 20 ms");
            }
            last[index] = Some(placed);
            captured[index] = placed.capture;
            if reports && step % 100 == if track == AUDIO { 37 } else { 81 } {
                clock.sender_report(track, sender.ntp(us), sender.timestamp(track, us));
            }
        }
        if us >= from_s * 1_000_000 {
            skews.push(captured[1] - captured[0]);
        }
    }
    skews
}

#[test]
fn the_first_packet_is_placed_on_arrival_at_once() {
    let mut clock = PublisherClock::new(MediaTime::ZERO);
    let first = clock.place(VIDEO, 90_000, 0xffff_fff0, ms(700), true);
    assert_eq!(first.capture, ms(700));
    let next = clock.place(VIDEO, 90_000, 0xffff_fff0u32.wrapping_add(3_600), ms(750), true);
    assert_eq!(next.capture, ms(740));
    assert_eq!(next.timestamp - first.timestamp, 3_600, "extended over the wrap");
    let older = clock.place(VIDEO, 90_000, 0xffff_fff0u32.wrapping_sub(900), ms(751), false);
    assert_eq!(older.capture, ms(690), "reordered packets keep their place");
}

#[test]
fn starts_after_the_floor_with_all_tracks_together() {
    let mut clock = PublisherClock::new(ms(5_000));
    assert_eq!(clock.place(AUDIO, 48_000, 0, ms(1_000), true).capture, ms(5_001));
    assert_eq!(clock.place(VIDEO, 90_000, 0, ms(1_100), true).capture, ms(5_101));
}

#[test]
fn reports_bring_picture_and_sound_onto_one_timeline() {
    let mut clock = PublisherClock::new(MediaTime::ZERO);
    let skews = run(&mut clock, &Sender::new(0), 20, 10, 220_000, true);
    assert!(skews.iter().all(|skew| skew.abs() < 20_000), "{:?}", skews.iter().max());
}

#[test]
fn without_reports_tracks_stay_on_arrival() {
    let mut clock = PublisherClock::new(MediaTime::ZERO);
    let skews = run(&mut clock, &Sender::new(0), 20, 0, 60_000, false);
    assert!(skews.iter().all(|skew| (skew - 40_000).abs() < 20_000));
}

#[test]
fn drift_of_a_crystal_is_followed_for_an_hour() {
    for ppm in [-200, -50, 50, 200] {
        let sender = Sender::new(ppm);
        let mut clock = PublisherClock::new(MediaTime::ZERO);
        let skews = run(&mut clock, &sender, 3_600, 10, 120_000, true);
        assert!(skews.iter().all(|skew| skew.abs() < 20_000), "{ppm} ppm: {:?}", skews.iter().max());
        let us = 3_600_000_000;
        let placed = clock.place(AUDIO, 48_000, sender.timestamp(AUDIO, us), MediaTime::from_micros(us + 20_000), true);
        let late = us + 20_000 - placed.capture.as_micros();
        assert!(late.abs() < 60_000, "{ppm} ppm: {late} us from arrival after an hour");
    }
}

/// What a viewer computes from the reports it gets: the wall time of a timestamp, in microseconds
/// after the newest report's.
fn shown_at(report: &SenderInfo, track: TrackId, timestamp: u32) -> i64 {
    let ticks = i64::from(timestamp.wrapping_sub(report.rtp_timestamp).cast_signed());
    MediaTime::from_ticks(ticks, rate(track)).as_micros()
}

#[test]
fn what_viewers_are_told_of_picture_and_sound_agrees_to_20_ms_after_an_hour_of_drift() {
    let made = Instant::now();
    let wall = Wall::new(&SessionConfig::new(made, Duration::from_secs(1_700_000_000)), made);
    for (ppm, video_delay_us) in [(50, 150_000), (-50, 150_000), (50, 20_000), (-50, 400_000)] {
        let (sender, mut clock) = (Sender::new(ppm), PublisherClock::new(MediaTime::ZERO));
        let mut told = [SenderReports::default(), SenderReports::default()];
        let mut worst = 0;
        for step in 0..3_600 * 50 {
            let us = step * 20_000;
            let mut moment = [0_u64; 2];
            let now = MediaTime::from_micros(us + 500_000);
            for (index, track) in [AUDIO, VIDEO].into_iter().enumerate() {
                let jitter = (step * 7_919 % 13) * 1_000;
                let arrival = us + jitter + if track == AUDIO { 20_000 } else { video_delay_us };
                let placed = clock.place(track, rate(track), sender.timestamp(track, us), MediaTime::from_micros(arrival), true);
                let at = made + Duration::from_micros(arrival.unsigned_abs());
                told[index].note(at, 1_000, placed.timestamp, placed.capture);
                moment[index] = placed.timestamp;
                if step % 50 == if track == AUDIO { 18 } else { 40 } {
                    clock.sender_report(track, sender.ntp(us), sender.timestamp(track, us));
                }
            }
            if us < 10_000_000 || step % 50 != 0 {
                continue;
            }
            let instant = made + Duration::from_micros(now.as_micros().unsigned_abs());
            let seen = [AUDIO, VIDEO].map(|track| {
                let index = track.index();
                let report = told[index].report(1, rate(track), instant, now, wall, |ts| ts as u32).expect("media flows");
                (report.ntp, shown_at(&report, track, moment[index] as u32))
            });
            assert_eq!(seen[0].0, seen[1].0, "one wall clock");
            worst = worst.max((seen[0].1 - seen[1].1).abs());
        }
        assert!(worst < 20_000, "{ppm} ppm, pictures {video_delay_us} us late: {worst} us apart");
    }
}

#[test]
fn drift_is_followed_without_reports_too() {
    let sender = Sender::new(200);
    let mut clock = PublisherClock::new(MediaTime::ZERO);
    run(&mut clock, &sender, 600, 0, 40_000, false);
    let us = 600_000_000;
    let placed = clock.place(VIDEO, 90_000, sender.timestamp(VIDEO, us), MediaTime::from_micros(us + 40_000), true);
    assert!((us + 40_000 - placed.capture.as_micros()).abs() < 40_000);
}

#[test]
fn garbage_in_reports_moves_nothing() {
    let mut clock = PublisherClock::new(MediaTime::ZERO);
    let sender = Sender::new(0);
    for n in 0..500i64 {
        let us = n * 20_000;
        let placed = clock.place(AUDIO, 48_000, sender.timestamp(AUDIO, us), MediaTime::from_micros(us + 5_000), true);
        assert!((placed.capture.as_micros() - us - 5_000).abs() < 100);
        match n % 50 {
            10 => clock.sender_report(AUDIO, Ntp(0), sender.timestamp(AUDIO, us)),
            20 => clock.sender_report(AUDIO, sender.ntp(us), 12_345),
            30 => clock.sender_report(AUDIO, sender.ntp(us), sender.timestamp(AUDIO, us)),
            40 => clock.sender_report(AUDIO, Ntp((n as u64) << 40), sender.timestamp(AUDIO, us)),
            _ => clock.sender_report(VIDEO, sender.ntp(us), 0),
        }
    }
}

#[test]
fn a_wall_clock_that_is_set_is_followed_after_two_reports() {
    let mut clock = PublisherClock::new(MediaTime::ZERO);
    let mut sender = Sender::new(0);
    run(&mut clock, &sender, 10, 10, 100_000, true);
    sender.ntp = Ntp(0xe100_0000_0000_0000);
    let before = clock.ntp_offset_us;
    clock.sender_report(AUDIO, sender.ntp(10_000_000), sender.timestamp(AUDIO, 10_000_000));
    assert_eq!(clock.ntp_offset_us, before, "one report is not believed");
    clock.sender_report(AUDIO, sender.ntp(10_000_000), sender.timestamp(AUDIO, 10_000_000));
    assert_ne!(clock.ntp_offset_us, before);
    clock.sender_report(VIDEO, sender.ntp(10_000_000), sender.timestamp(VIDEO, 10_000_000));
    let captures = [AUDIO, VIDEO].map(|track| clock.tracks[track.index()].as_ref().unwrap());
    assert!(captures.iter().all(|clock| clock.ntp_us.is_some()));
    let moves = captures.map(|clock| clock.target_us - clock.offset_us);
    assert!(moves.iter().all(|us| us.abs() < 20_000), "nothing moves by it: {moves:?}");
}

#[test]
fn a_jump_of_timestamps_goes_on_where_it_stood() {
    let mut clock = PublisherClock::new(MediaTime::ZERO);
    let first = clock.place(VIDEO, 90_000, 1_000, ms(100), true);
    let jumped = clock.place(VIDEO, 90_000, 2_000_000_000, ms(140), true);
    assert_eq!(jumped.capture, ms(140));
    assert_eq!(jumped.timestamp - first.timestamp, 40 * 90, "timestamps and captures move together");
    let next = clock.place(VIDEO, 90_000, 2_000_003_600, ms(180), true);
    assert_eq!((next.capture, next.timestamp - first.timestamp), (ms(180), 80 * 90));
    let back = clock.place(VIDEO, 90_000, 5_000, ms(200), true);
    assert!(back.capture > next.capture && back.timestamp > next.timestamp);
}

#[test]
fn a_packet_repaired_late_is_no_jump() {
    let mut clock = PublisherClock::new(MediaTime::ZERO);
    clock.place(VIDEO, 90_000, 0, ms(100), true);
    let newest = clock.place(VIDEO, 90_000, 1_500 * 90, ms(1_600), true);
    let late = clock.place(VIDEO, 90_000, 300 * 90, ms(1_610), false);
    assert_eq!((late.capture, newest.timestamp - late.timestamp), (ms(400), 1_200 * 90));
    let next = clock.place(VIDEO, 90_000, 1_540 * 90, ms(1_640), true);
    assert_eq!((next.capture, next.timestamp - newest.timestamp), (ms(1_640), 40 * 90));
    let before_a_break = clock.place(VIDEO, 90_000, 3_000_000_000, ms(1_650), false);
    assert_eq!(before_a_break, next, "it moves nothing");
}

#[test]
fn a_pause_with_running_timestamps_is_no_jump() {
    let mut clock = PublisherClock::new(MediaTime::ZERO);
    let first = clock.place(VIDEO, 90_000, 0, ms(10), true);
    let after = clock.place(VIDEO, 90_000, 60_000 * 90, ms(60_010), true);
    assert_eq!((after.capture, after.timestamp - first.timestamp), (ms(60_010), 60_000 * 90));
}

#[test]
fn a_pause_with_stopped_timestamps_returns_to_arrival() {
    let mut clock = PublisherClock::new(MediaTime::ZERO);
    let mut last = clock.place(VIDEO, 90_000, 0, ms(0), true);
    for n in 1..400i64 {
        let arrival = 30_000 + n * 40;
        let placed = clock.place(VIDEO, 90_000, (n * 3_600) as u32, ms(arrival), true);
        assert!(placed.capture > last.capture);
        let ticks = (placed.timestamp - last.timestamp) as i64;
        assert!((placed.capture - last.capture - MediaTime::from_ticks(ticks, 90_000).as_micros()).abs() <= 20_000);
        last = placed;
        if n > 200 {
            assert!((placed.capture - ms(arrival)).abs() < 50_000);
        }
    }
}

proptest! {
    #[test]
    fn no_input_panics_and_newest_captures_never_go_back(
        steps in proptest::collection::vec((any::<u32>(), 0i64..5_000_000, any::<bool>(), any::<u64>()), 1..100),
    ) {
        let mut clock = PublisherClock::new(MediaTime::ZERO);
        let (mut arrival, mut highest) = (MediaTime::ZERO, None);
        for (timestamp, wait, report, ntp) in steps {
            arrival = arrival.offset(wait);
            if report {
                clock.sender_report(VIDEO, Ntp(ntp), timestamp);
            }
            let placed = clock.place(VIDEO, 90_000, timestamp, arrival, true);
            if let Some((stamp, capture)) = highest {
                prop_assert!(placed.timestamp <= stamp || placed.capture >= capture);
            }
            highest = highest.max(Some((placed.timestamp, placed.capture)));
        }
    }
}
