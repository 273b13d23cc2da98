//! What WHIP and WHEP promise of a session whose media flows.

use std::time::{Duration, Instant};

use weir_rtc::{
    AnswerError, EndReason, RestartError, RtcConfig,
    sdp::{Direction, IceCredentials},
};

use crate::{
    media::Stream,
    peer::{Peer, run_for, run_until},
    server::Server,
    strangers::{Checker, bind},
};

#[test]
fn h10_delete_says_goodbye_ends_consent_and_frees_everything() {
    let server = Server::start(2);
    let (mut publisher, published) = server.publish("a");
    let mut stream = Stream::new();
    stream.run(&mut [&mut publisher], 3);
    assert!(server.rtc.close(&published.session));
    assert!(!server.rtc.close(&published.session), "once");
    assert_eq!(server.gauges(), [0; 4]);
    run_until(&mut [&mut publisher], "close_notify comes", |peers| !peers[0].is_connected());

    let (checker, socket) = (Checker::open(&server, "b"), bind());
    assert!(checker.is_answered(&socket));
    assert!(server.rtc.close(&checker.opened.session));
    assert!(!checker.is_answered(&socket), "no check is answered any more");
    server.wait_for_nobody();
}

#[test]
fn h28_a_restart_that_is_refused_changes_nothing_and_media_flows_on() {
    let server = Server::start(1);
    let (mut publisher, published) = server.publish("a");
    let (mut viewer, _) = server.play("a");
    run_until(&mut [&mut viewer], "the viewer connects", |peers| peers[0].is_connected());
    let mut stream = Stream::new();
    stream.run(&mut [&mut publisher, &mut viewer], 5);
    let before = server.rtc.info(&published.session).map(|info| (info.etag, info.username));
    let remote = IceCredentials { ufrag: "theirs".to_owned(), pwd: "P2uYro0UCOQ4zxjKXaWCBui1".to_owned() };
    assert_eq!(server.rtc.restart_ice(&published.session, Some("\"stale\""), remote), Err(RestartError::Changed));
    viewer.got.clear();
    stream.run(&mut [&mut publisher, &mut viewer], 10);
    assert!(viewer.got.len() >= 20, "{}", viewer.got.len());
    assert_eq!(server.rtc.info(&published.session).map(|info| (info.etag, info.username)), before);
}

/// An offer with nothing of a stream in H.264.
fn offer_without_pictures() -> String {
    Peer::viewer().offer().replace("H264/90000", "X264/90000")
}

#[test]
fn w04_w06_a_viewer_that_answers_our_offer_sees_the_stream() {
    let server = Server::start(2);
    let (mut publisher, _) = server.publish("a");
    let mut stream = Stream::new();
    stream.run(&mut [&mut publisher], 5);
    assert!(server.post(offer_without_pictures(), Direction::Play, "a", false).is_err(), "who cannot answer is refused");
    let opened = server.post(offer_without_pictures(), Direction::Play, "a", true).expect("it is made an offer");
    assert_eq!(opened.answer_within, Some(Duration::from_secs(30)));
    assert!(server.rtc.info(&opened.session).is_some_and(|info| info.awaits_answer));
    let (mut viewer, answer) = Peer::answering(&opened.answer);
    assert!(matches!(server.rtc.answer(&opened.session, "v=0"), Err(AnswerError::Negotiate(_))));
    server.rtc.answer(&opened.session, &answer).expect("it fits");
    assert_eq!(server.rtc.answer(&opened.session, &answer), Err(AnswerError::NotAsked), "once");
    run_until(&mut [&mut publisher, &mut viewer], "the viewer connects", |peers| peers[1].is_connected());
    stream.run(&mut [&mut publisher, &mut viewer], 40);
    assert!(viewer.got.len() > 60, "{}", viewer.got.len());
    let report = server.rtc.reports().into_iter().find(|report| report.info.direction == Direction::Play).expect("it is there");
    let names: Vec<_> = report.timeline.iter().map(|moment| moment.event.name()).collect();
    assert_eq!(names[..4], ["offer", "counter_offer", "client_answer", "check"]);
    assert!(server.rtc.close(&opened.session));
}

#[test]
fn w05_an_offer_of_ours_that_is_not_answered_in_time_is_void() {
    let config = RtcConfig { workers: 1, answer_within: Duration::from_millis(300), ..RtcConfig::default() };
    let server = Server::with(config);
    let opened = server.post(offer_without_pictures(), Direction::Play, "a", true);
    let opened = opened.expect("nobody publishes: it is offered all there is");
    let (mut late, answer) = Peer::answering(&opened.answer);
    run_for(&mut [&mut late], Duration::from_millis(400));
    assert_eq!(server.rtc.answer(&opened.session, &answer), Err(AnswerError::NoSession));
    server.wait_for_nobody();
    let report = server.rtc.reports().remove(0);
    assert_eq!(report.end.map(|(reason, _)| reason), Some(EndReason::NeverAnswered));
    assert!(report.cause.is_some_and(|cause| cause.contains("counter-offer (406)")));
}

#[test]
fn checks_that_come_before_the_answer_wait_for_it() {
    let server = Server::start(2);
    let opened = server.post(offer_without_pictures(), Direction::Play, "a", true).expect("it is made an offer");
    let (mut viewer, answer) = Peer::answering(&opened.answer);
    // A browser checks as soon as it has made its answer.
    run_for(&mut [&mut viewer], Duration::from_millis(300));
    let began = Instant::now();
    server.rtc.answer(&opened.session, &answer).expect("it fits");
    run_until(&mut [&mut viewer], "the viewer connects", |peers| peers[0].is_connected());
    assert!(began.elapsed() < Duration::from_secs(5));
}
