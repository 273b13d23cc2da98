//! What the server tells of its sessions: the timeline, and the likely cause of trouble.

use std::time::{Duration, Instant};

use weir_rtc::{EndReason, RtcConfig, SessionReport, Stage, sdp::Direction};

use crate::{
    media::Stream,
    peer::{Peer, run_for, run_until},
    server::Server,
    strangers::{Checker, bind, send},
};

/// The report of the only session, or the only one of this direction.
fn report(server: &Server, direction: Direction) -> SessionReport {
    let mut all = server.rtc.reports();
    all.retain(|report| report.info.direction == direction);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

fn names(report: &SessionReport) -> Vec<&'static str> {
    report.timeline.iter().map(|moment| moment.event.name()).collect()
}

/// Waits until a cause is told that says `part`.
#[track_caller]
fn wait_for_cause(server: &Server, direction: Direction, part: &str) -> SessionReport {
    let limit = Instant::now() + Duration::from_secs(5);
    loop {
        let report = report(server, direction);
        if report.cause.as_deref().is_some_and(|cause| cause.contains(part)) {
            return report;
        }
        assert!(Instant::now() < limit, "{part}: {:?} {:?}", report.cause, names(&report));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_session_without_trouble_is_told_from_its_offer_to_its_end() {
    let server = Server::start(1);
    let (mut publisher, published) = server.publish("a");
    let mut stream = Stream::new();
    let (mut viewer, opened) = server.play("a");
    run_until(&mut [&mut viewer], "the viewer connects", |peers| peers[0].is_connected());
    stream.run(&mut [&mut publisher, &mut viewer], 70);

    let told = report(&server, Direction::Publish);
    assert_eq!(names(&told), ["offer", "answer", "check", "nominated", "handshake", "connected", "media", "keyframe"]);
    assert!(told.timeline.windows(2).all(|pair| pair[0].at <= pair[1].at));
    assert_eq!((told.stage, told.cause.as_deref(), told.end), (Stage::Flowing, None, None));
    let told = report(&server, Direction::Play);
    let expected =
        ["offer", "answer", "check", "nominated", "handshake", "connected", "stream_came", "media", "keyframe", "report"];
    let mut seen = names(&told);
    seen.sort_unstable();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(seen, expected);
    assert_eq!(told.cause, None);

    // No secret is in it.
    let text =
        format!("{:?}{:?}", told.timeline, told.timeline.iter().map(|m| m.event.text(Direction::Play)).collect::<Vec<_>>());
    let pwd = opened.answer.lines().find_map(|line| line.strip_prefix("a=ice-pwd:")).expect("a password");
    assert!(!text.contains(&opened.session) && !text.contains(pwd) && text.contains("127.0.0.1"), "{text}");

    viewer.close();
    let limit = Instant::now() + Duration::from_secs(5);
    while report(&server, Direction::Play).end.is_none() {
        assert!(Instant::now() < limit);
        run_for(&mut [&mut publisher, &mut viewer], Duration::from_millis(10));
    }
    assert!(server.rtc.close(&published.session));
    let ends = |direction| report(&server, direction).end.map(|(reason, _)| reason);
    assert_eq!((ends(Direction::Play), ends(Direction::Publish)), (Some(EndReason::PeerClosed), Some(EndReason::Deleted)));
    assert_eq!(report(&server, Direction::Publish).cause, None);
}

#[test]
fn who_was_never_heard_is_told_where_it_was_waited_for_even_when_it_is_gone() {
    let server = Server::with(RtcConfig { workers: 1, unheard_max: Duration::from_millis(1_500), ..RtcConfig::default() });
    server.open_only(&mut Peer::viewer(), Direction::Play, "a");
    assert_eq!(report(&server, Direction::Play).cause, None, "it has just come");
    let place = format!("no STUN arrived at {}/udp", server.rtc.candidates()[0]);
    let waiting = wait_for_cause(&server, Direction::Play, &place);
    assert_eq!((waiting.stage, waiting.end), (Stage::Waiting, None));
    server.wait_for_nobody();
    let gone = report(&server, Direction::Play);
    assert_eq!(gone.end.map(|(reason, _)| reason), Some(EndReason::NeverHeard));
    assert!(gone.cause.is_some_and(|cause| cause.contains(&place)));
    assert!(server.rtc.report(&gone.info.id).is_some(), "it is found by its client's id");
    assert!(server.rtc.info(&gone.info.session).is_none(), "and not by its name");
}

#[test]
fn a_wrong_password_and_a_handshake_that_does_not_begin_are_told_apart() {
    let server = Server::start(2);
    let (checker, socket) = (Checker::open(&server, "a"), bind());
    for _ in 0..3 {
        send(&socket, checker.server, &checker.check(&checker.opened.username, "another password of nobody"));
    }
    let place = format!("STUN arrived from {}, but its password was wrong", socket.local_addr().expect("bound"));
    let told = wait_for_cause(&server, Direction::Publish, &place);
    assert_eq!(names(&told), ["offer", "answer", "bad_check"], "told once");
    assert!(checker.is_answered(&socket));
    wait_for_cause(&server, Direction::Publish, "did not begin DTLS");
}

#[test]
fn a_viewer_is_told_what_it_waits_for() {
    let server = Server::start(1);
    let (mut viewer, _) = server.play("a");
    run_until(&mut [&mut viewer], "the viewer connects", |peers| peers[0].is_connected());
    wait_for_cause(&server, Direction::Play, "the viewer waits: nobody publishes live/a");
    let (mut publisher, _) = server.publish("a");
    wait_for_cause(&server, Direction::Play, "has a publisher, which has sent no packet");
    wait_for_cause(&server, Direction::Publish, "no media: the publisher is connected but has sent no packet");
    let mut stream = Stream::new();
    stream.frame = 1;
    stream.run(&mut [&mut publisher, &mut viewer], 40);
    // Frame 30 was a keyframe; before it only sound went out.
    assert_eq!(report(&server, Direction::Publish).cause, None);
    let names = names(&report(&server, Direction::Publish));
    assert!(names.contains(&"keyframes_asked") && names.contains(&"keyframe"), "{names:?}");
}

#[test]
fn a_publisher_without_a_keyframe_is_the_cause() {
    let server = Server::start(1);
    let (mut viewer, _) = server.play("a");
    let (mut publisher, _) = server.publish("a");
    let mut stream = Stream::new();
    stream.frame = 31;
    stream.run(&mut [&mut publisher, &mut viewer], 20);
    std::thread::sleep(Duration::from_millis(700));
    wait_for_cause(&server, Direction::Publish, "no keyframe from the publisher yet");
    wait_for_cause(&server, Direction::Play, "only sound goes out: no keyframe from the publisher of live/a yet");
}

#[test]
fn an_ended_server_has_told_why() {
    let server = Server::start(1);
    server.open_only(&mut Peer::viewer(), Direction::Play, "a");
    let (_publisher, _) = server.publish("b");
    server.shutdown();
    let ends: Vec<_> = server.rtc.reports().into_iter().filter_map(|report| report.end).map(|(reason, _)| reason).collect();
    assert_eq!(ends, [EndReason::Shutdown, EndReason::Shutdown]);
}
