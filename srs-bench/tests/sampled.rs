//! Viewers on the independent stack against the real server: alone, and beside the light ones, with which
//! they must agree.

mod server;

use std::{thread, time::Duration};

use server::{Weir, eventually, free_tcp, lossy::Lossy};
use srs_bench::{
    clients::{self, Handle, Kind, Options, Stack},
    measure::{Collector, Count, Stage, Times},
    plan::Plan,
    run::{self, Outcome, Screen},
};

const PATIENCE: Duration = Duration::from_secs(20);

fn start(url: &str, options: Options) -> (Handle, Collector) {
    let collector = Collector::new();
    let options = Options { stack: Stack::Independent, ..options };
    let handle = clients::start(Kind::WebrtcPlay, url, &options, &collector).expect("they start");
    (handle, collector)
}

fn publish(weir: &Weir) -> (Handle, Collector) {
    let collector = Collector::new();
    let handle = clients::start(Kind::RtmpPublish, &weir.rtmp_url("x"), &Options::default(), &collector).expect("it starts");
    assert!(handle.wait_until(PATIENCE, |progress| progress.media > 0));
    (handle, collector)
}

fn sampled(weir: &Weir, publish: &str, play: &str) -> Outcome {
    let scenario = format!(
        "duration = '6s'\n[[publish]]\nurl = '{publish}'\n\
         [[play]]\nurl = '{play}'\nclients = {{ count = 3, sample = 1 }}\n"
    );
    let outcome = run::run(&Plan::parse(&scenario).unwrap(), &mut Screen::silent()).unwrap();
    eventually("everybody has left", || (weir.counters()["rtc"]["players"] == 0).then_some(()));
    outcome
}

#[test]
fn the_independent_stack_agrees_with_the_light_one() {
    let weir = Weir::start();
    for (publish, play) in [(weir.rtmp_url("a"), weir.whep_url("a")), (weir.whip_url("b"), weir.webrtc_url("b"))] {
        let outcome = sampled(&weir, &publish, &play);
        let seen = outcome.groups[1].sampled.as_ref().expect("a sample");
        for (name, least) in [("packets-per-second", 60.0), ("frames-per-second", 20.0)] {
            let row = seen.rows.iter().find(|row| row.name == name).unwrap_or_else(|| panic!("{name}: {outcome}"));
            assert!(row.figures.sampled.is_some_and(|figure| figure > least), "{outcome}");
            assert!(row.differ().is_some_and(|differ| differ < 5.0), "{outcome}");
        }
        assert_eq!(seen.warnings(), Vec::<String>::new(), "{outcome}");
        let json = &outcome.json()["groups"][1]["sampled"];
        assert_eq!((&json["viewers"], &json["with_media"], &json["agrees"]), (&1.into(), &1.into(), &true.into()), "{json}");
        for name in ["loss", "p50-latency", "p50-first-packet", "p50-first-keyframe", "p50-setup"] {
            assert!(json["figures"][name]["light"].is_number() && json["figures"][name]["sampled"].is_number(), "{name}: {json}");
        }
        assert_eq!(outcome.figures.get("asked"), Some(4.0), "it has a tally of its own: {outcome}");
        assert!(outcome.to_string().contains("sampled by an independent stack: 1 viewers, 1 connected"), "{outcome}");
    }
}

#[test]
fn viewers_that_see_less_than_the_independent_stack_do_not_count() {
    let weir = Weir::start();
    let _source = publish(&weir);
    let lossy = Lossy::before(&weir, 7);
    // Only the sampled viewer asks for what is dropped.
    let scenario = format!(
        "duration = '5s'\n[[play]]\nurl = '{}'\nclients = {{ count = 2, sample = 1, without = ['nack', 'rtx'] }}\n",
        lossy.whep_url("x")
    );
    let outcome = run::run(&Plan::parse(&scenario).unwrap(), &mut Screen::silent()).unwrap();
    let text = outcome.to_string();
    assert!(text.contains("WARNING   the independent stack disagrees by") && text.contains("figures do not count"), "{text}");
    let json = outcome.json();
    assert_eq!((&json["counts"], &json["groups"][0]["sampled"]["agrees"]), (&false.into(), &false.into()), "{json}");
}

#[test]
fn sampled_viewers_see_whole_frames_and_leave() {
    let weir = Weir::start();
    let _source = publish(&weir);
    let (handle, collector) = start(&weir.whep_url("x"), Options { count: 2, spread_sources: true, ..Options::default() });
    assert!(handle.wait_until(PATIENCE, |progress| progress.media == 2), "{:?}", collector.snapshot().failures());
    thread::sleep(Duration::from_secs(3));
    handle.stop();
    let end = collector.snapshot();
    assert_eq!(end.failures(), []);
    for (count, wanted) in [(Count::Connected, 2), (Count::Left, 2), (Count::Lost, 0), (Count::FramesLost, 0)] {
        assert_eq!(end.count(count), wanted, "{count:?}");
    }
    assert!(end.count(Count::Frames) > 2 * 60 && end.count(Count::Stamped) == end.count(Count::Frames));
    assert_eq!((end.timed(Times::Setup), end.timed(Times::FirstKeyframe)), (2, 2));
    eventually("they are gone", || (weir.counters()["rtc"]["players"] == 0).then_some(()));
}

#[test]
fn what_a_sampled_viewer_loses_it_asks_for() {
    let weir = Weir::start();
    let _source = publish(&weir);
    let lossy = Lossy::before(&weir, 47);
    let (handle, collector) = start(&lossy.whep_url("x"), Options::default());
    assert!(handle.wait_until(PATIENCE, |progress| progress.media == 1), "{:?}", collector.snapshot().failures());
    thread::sleep(Duration::from_secs(5));
    handle.stop();
    let (end, dropped) = (collector.snapshot(), lossy.dropped());
    assert_eq!(end.failures(), []);
    assert!(dropped > 5 && end.count(Count::Lost) <= dropped, "{} of {dropped}", end.count(Count::Lost));
    assert!(end.count(Count::Late) > 0, "nothing was sent again");
}

#[test]
fn what_goes_wrong_is_told_by_its_stage() {
    let weir = Weir::start();
    let options =
        || Options { media_patience: Duration::from_secs(1), setup_patience: Duration::from_secs(3), ..Options::default() };
    for (url, stage) in [
        (format!("http://{}/whep", free_tcp()), Stage::Connect),
        (format!("http://{}/no/such/thing", weir.api), Stage::Refused),
        (weir.whep_url("none"), Stage::FirstMedia),
    ] {
        let (handle, collector) = start(&url, options());
        assert!(handle.wait_until(PATIENCE, |progress| progress.failed == 1), "{url}");
        let failures = collector.snapshot().failures();
        assert!(failures.len() == 1 && failures[0].stage == stage, "{url}: {failures:?}");
    }
}

#[test]
fn a_server_that_dies_ends_sampled_viewers() {
    let mut weir = Weir::start();
    let _source = publish(&weir);
    let (handle, collector) = start(&weir.whep_url("x"), Options { stall: Duration::from_secs(2), ..Options::default() });
    assert!(handle.wait_until(PATIENCE, |progress| progress.media == 1), "{:?}", collector.snapshot().failures());
    weir.kill();
    assert!(handle.wait_until(PATIENCE, |progress| progress.failed == 1));
    let failures = collector.snapshot().failures();
    assert!(matches!(failures[0].stage, Stage::Ended | Stage::Stalled), "{failures:?}");
    drop(handle);
}
