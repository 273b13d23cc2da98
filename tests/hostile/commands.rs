//! RTMP commands and control messages out of turn (A57, A60).

use super::{
    Arena,
    noise::Noise,
    rtmp::{self, COMMAND, DATA, End, Rtmp, USER_CONTROL, message, null, number, opening, result, text},
};

const ABORT: u8 = 2;
const WINDOW_ACK_SIZE: u8 = 5;
const SET_PEER_BANDWIDTH: u8 = 6;
const AGGREGATE: u8 = 22;

fn command(stream_id: u32, values: &[Vec<u8>]) -> Vec<u8> {
    message(3, COMMAND, stream_id, &values.concat())
}

/// Commands that do not fit the state are refused one by one, or end their connection; none is
/// half obeyed.
pub(crate) fn commands_out_of_turn_are_refused(arena: &Arena<'_>) {
    let mut twice = Rtmp::opened(arena.server.rtmp, "live");
    twice.send(&opening("live"));
    assert_eq!(twice.end(), End::Closed, "connect twice");

    let mut many = Rtmp::opened(arena.server.rtmp, "live");
    for n in 0..12 {
        many.send(&command(0, &[text("createStream"), number(f64::from(10 + n)), null()]));
    }
    assert!(many.hears(&[text("_error"), number(21.0)].concat()), "streams without end");

    let mut both = Rtmp::publisher(arena.server.rtmp, "outofturn");
    both.play("outofturn");
    assert!(both.hears(b"NetStream.Play.StreamNotFound"), "play while publishing");
    both.publish("another");
    assert!(both.hears(b"NetStream.Publish.BadName"), "publish twice");
    for id in [f64::NAN, f64::INFINITY, -1.0, 0.0, 2.0, 1e300, 1.5] {
        both.send(&command(1, &[text("deleteStream"), number(0.0), null(), number(id)]));
    }
    for name in ["releaseStream", "FCPublish", "getStreamLength", "_checkbw", "", "\0", &"x".repeat(3_000)] {
        both.send(&command(1, &[text(name), number(f64::NAN), null(), text("canary")]));
    }
    assert!(both.is_served(1), "it publishes on");

    // Media without a publish, and commands without their arguments.
    let mut early = Rtmp::opened(arena.server.rtmp, "live");
    early.send(&message(4, rtmp::AUDIO, 1, &[0xaf, 0, 0x12, 0x10]));
    early.send(&message(6, rtmp::VIDEO, 1, &[0x17, 1, 0, 0, 0]));
    early.send(&message(4, DATA, 1, &[text("@setDataFrame"), text("onMetaData")].concat()));
    for name in ["publish", "play", "pause", "deleteStream", "closeStream"].into_iter().skip(2) {
        early.send(&command(1, &[text(name)]));
    }
    assert!(early.is_served(2));
    early.send(&command(1, &[text("publish")]));
    assert!(early.hears(b"NetStream.Publish.BadName"), "publish without a name");
}

/// Control messages and aggregates whose values lie. Answers stay few: there is nothing to gain
/// from asking.
pub(crate) fn lying_control_messages_are_ignored(arena: &Arena<'_>) {
    let mut noise = Noise::new(0xc0);
    let mut client = Rtmp::publisher(arena.server.rtmp, "control");
    for window in [0_u32, 1, 2, 0x7fff_ffff, u32::MAX] {
        client.send(&message(2, WINDOW_ACK_SIZE, 0, &window.to_be_bytes()));
        client.send(&message(2, SET_PEER_BANDWIDTH, 0, &[&window.to_be_bytes()[..], &[9]].concat()));
        client.send(&message(2, ABORT, 0, &window.to_be_bytes()));
    }
    client.send(&message(2, WINDOW_ACK_SIZE, 0, &1_u32.to_be_bytes()));
    for kind in [ABORT, 3, USER_CONTROL, WINDOW_ACK_SIZE, SET_PEER_BANDWIDTH] {
        for len in 0..9 {
            let body = noise.bytes(len);
            // A ping is asked for below; here it would only be counted among those answered.
            client.send(&message(2, kind, 0, &body));
        }
    }
    for n in 0..200 {
        let len = noise.below(60);
        let mut body = noise.bytes(len);
        // An inner message whose length is more than there is, or nothing.
        if let Some(size) = body.get_mut(1..4) {
            size.copy_from_slice(if n % 2 == 0 { &[0xff, 0xff, 0xff] } else { &[0, 0, 0] });
        }
        client.send(&message(4, AGGREGATE, 1, &body));
    }
    for n in 0..1_000_u32 {
        client.send(&message(2, 30 + (n % 200) as u8, n, &[1; 20]));
        client.send(&message(2, USER_CONTROL, 0, &[&6_u16.to_be_bytes()[..], &n.to_be_bytes()].concat()));
    }
    assert!(client.end_within(std::time::Duration::from_millis(1_200)) == End::Open, "it publishes on");
    // A pong is 18 bytes and ten a second are answered; an acknowledgement is 16 bytes and one is
    // due each 64 KiB.
    assert!(client.heard_bytes() < 2_000, "{} bytes came back", client.heard_bytes());
    assert!(client.is_served(77));

    // One more connection while all that went on.
    assert!(Rtmp::greeted(arena.server.rtmp).answers(&opening("live"), &result(2.0)));
}
