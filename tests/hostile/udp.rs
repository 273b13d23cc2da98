//! Attacks on the media port: noise, STUN that is cut, lies or is signed with another key, media
//! and handshakes from addresses that proved nothing, and a peer with another's certificate (A01,
//! A03 to A05, A10, A12, A14, A17, A19).

use std::{net::UdpSocket, time::Duration};

use weir_rtc::{
    dtls::{Dtls, Identity},
    sdp::DtlsRole,
};

use super::{
    Arena,
    noise::Noise,
    rtc::{Handshake, Player, hear, quiet_socket},
};

/// What the server answers to the wrong people.
fn assert_silence(socket: &UdpSocket, what: &str) {
    let heard = hear(socket, Duration::from_millis(400));
    assert!(heard.is_empty(), "{what}: {} datagrams came back", heard.len());
}

/// Every first byte and every small length, and noise up to the largest datagram.
pub(crate) fn noise_on_the_media_port_is_not_answered(arena: &Arena<'_>) {
    let mut noise = Noise::new(0x0d9);
    let socket = quiet_socket();
    let send = |bytes: &[u8]| socket.send_to(bytes, arena.server.rtc).expect("it is sent");
    for first in 0..=255_u8 {
        let len = noise.below(1_500);
        let mut bytes = noise.bytes(1 + len);
        bytes[0] = first;
        send(&bytes);
    }
    for first in [0, 3, 4, 20, 22, 25, 63, 64, 128, 0x90, 0xa0, 0xbf, 192, 255] {
        for len in 0..=64 {
            let mut bytes = noise.bytes(len);
            bytes.iter_mut().take(1).for_each(|byte| *byte = first);
            send(&bytes);
        }
    }
    send(&noise.bytes(65_000));
    assert_silence(&socket, "noise");
}

/// RTP, RTCP and ClientHellos from an address that no ICE check has proven.
pub(crate) fn strangers_are_not_answered(arena: &Arena<'_>) {
    let mut noise = Noise::new(0x57a);
    let sockets: Vec<UdpSocket> = (0..8).map(|_| quiet_socket()).collect();
    let hello = client_hello();
    let null_cipher = with_null_ciphers(&hello);
    for round in 0..40 {
        for socket in &sockets {
            let mut media = noise.bytes(40 + round);
            for (first, second) in [(0x80, 96), (0x90, 0xef), (0x81, 200), (0x81, 205)] {
                media[0] = first;
                media[1] = second;
                socket.send_to(&media, arena.server.rtc).expect("it is sent");
            }
            for bytes in [&hello, &null_cipher] {
                socket.send_to(bytes, arena.server.rtc).expect("it is sent");
            }
        }
    }
    for socket in &sockets {
        assert_silence(socket, "media and hellos");
    }
}

fn client_hello() -> Vec<u8> {
    let identity = Identity::generate().expect("a certificate");
    let mut dtls = Dtls::new(&identity, DtlsRole::Active, Vec::new(), std::time::Instant::now());
    dtls.poll_transmit().expect("a ClientHello").to_vec()
}

/// The suites replaced by TLS_NULL_WITH_NULL_NULL. They stand behind record (13 bytes), handshake
/// header (12), version (2), random (32), session id and cookie (RFC 6347 section 4.2.1).
fn with_null_ciphers(hello: &[u8]) -> Vec<u8> {
    let mut bytes = hello.to_vec();
    let cookie_at = 60 + usize::from(bytes[59]);
    let suites_at = cookie_at + 1 + usize::from(bytes[cookie_at]);
    let len = usize::from(u16::from_be_bytes([bytes[suites_at], bytes[suites_at + 1]]));
    bytes[suites_at + 2..suites_at + 2 + len].fill(0);
    bytes
}

/// Bare Binding requests, and thousands that name sessions which are not there.
pub(crate) fn stun_of_nobody_is_not_answered(arena: &Arena<'_>) {
    let mut noise = Noise::new(0x575);
    let sockets: Vec<UdpSocket> = (0..8).map(|_| quiet_socket()).collect();
    let mut bare = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    bare.extend(noise.bytes(12));
    for n in 0..5_000_usize {
        let socket = &sockets[n % sockets.len()];
        let bytes = if n % 50 == 0 { bare.clone() } else { named_request(&mut noise) };
        socket.send_to(&bytes, arena.server.rtc).expect("it is sent");
        // What the receive buffer holds, so that the loop reads them all.
        if n % 500 == 499 {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    for socket in &sockets {
        assert_silence(socket, "STUN of nobody");
    }
}

fn named_request(noise: &mut Noise) -> Vec<u8> {
    let (ours, theirs) = (noise.word(8), noise.word(8));
    let username = format!("{ours}:{theirs}");
    let request = weir_rtc::wire::stun::Request {
        transaction: weir_rtc::wire::stun::TransactionId([7; 12]),
        username: &username,
        priority: 1,
        role: weir_rtc::wire::stun::Role::Controlling(1),
        use_candidate: true,
    };
    let key = weir_rtc::wire::stun::IntegrityKey::new("somebodyelsespassword01");
    let mut bytes = vec![0; 512];
    let len = request.emit(&key, &mut bytes).expect("room");
    bytes.truncate(len);
    bytes
}

/// A session's own check, spoilt in every way by somebody who has seen its user name: before the
/// player comes, and while it watches. The player connects and sees its stream all the same.
pub(crate) fn a_session_survives_forged_checks_media_and_handshakes(arena: &Arena<'_>) {
    let player = Player::open(arena, "canary", None);
    let attacker = quiet_socket();
    forge(&player, &attacker);
    assert_silence(&attacker, "forged checks before the player came");

    player.prove();
    forge(&player, &attacker);
    let hello = client_hello();
    for _ in 0..50 {
        attacker.send_to(&hello, player.server).expect("it is sent");
    }
    let Handshake::Connected(keys) = player.shake_hands() else { panic!("the right player is refused") };
    assert!(player.watch(&keys, Duration::from_secs(2)) > 10, "the right player sees the canary");

    forge(&player, &attacker);
    let mut noise = Noise::new(0x5e55);
    for len in 0..=64 {
        for (first, second) in [(0x80, 96), (0x90, 96), (0xbf, 111), (0x81, 200), (0x81, 205), (0x84, 206)] {
            let mut bytes = noise.bytes(len);
            bytes.iter_mut().zip([first, second]).for_each(|(byte, value)| *byte = value);
            attacker.send_to(&bytes, player.server).expect("it is sent");
            // From the proven address too: it has no keys for these.
            player.socket.send_to(&bytes, player.server).expect("it is sent");
        }
    }
    assert_silence(&attacker, "forged checks and media while it watches");
    assert!(player.watch(&keys, Duration::from_secs(1)) > 10, "the right player still sees the canary");
    player.leave();
}

/// The player's check with other keys, cut at every length, and with lengths that lie.
fn forge(player: &Player, attacker: &UdpSocket) {
    let send = |bytes: &[u8]| attacker.send_to(bytes, player.server).expect("it is sent");
    for key in ["", "wrongwrongwrongwrong0123", &player.pwd.to_uppercase(), &player.username] {
        if key != player.pwd {
            send(&player.check(key));
        }
    }
    let right = player.check(&player.pwd);
    for len in 0..right.len() {
        send(&right[..len]);
    }
    let told = u16::from_be_bytes([right[2], right[3]]);
    for lie in [told - 4, told - 1, told + 1, told + 4, 0, 0xffff] {
        let mut bytes = right.clone();
        bytes[2..4].copy_from_slice(&lie.to_be_bytes());
        send(&bytes);
    }
    // The first attribute's length, and every single bit of what the MAC covers.
    for lie in [0_u16, 3, 500, 0xffff] {
        let mut bytes = right.clone();
        bytes[22..24].copy_from_slice(&lie.to_be_bytes());
        send(&bytes);
    }
    for bit in (0..right.len() * 8).step_by(5) {
        let mut bytes = right.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        send(&bytes);
    }
}

/// A peer that proves its address but has another certificate than its offer announced gets an
/// alert and not one media packet.
pub(crate) fn a_wrong_fingerprint_gets_no_media(arena: &Arena<'_>) {
    let somebody = Identity::generate().expect("a certificate");
    let player = Player::open(arena, "canary", Some(&somebody));
    player.prove();
    let Handshake::Refused = player.shake_hands() else { panic!("a wrong certificate is accepted") };
    assert!(player.hear(Duration::from_millis(800)).is_empty(), "something came after the refusal");
}

/// A proven peer whose DTLS makes no sense: its session ends or waits for its time to be over.
pub(crate) fn broken_handshakes_end_their_own_session(arena: &Arena<'_>) {
    let mut noise = Noise::new(0xd715);
    let hello = client_hello();
    for round in 0..6 {
        let player = Player::open(arena, "canary", None);
        player.prove();
        for n in 0..60 {
            let mut bytes = match (round + n) % 3 {
                0 => noise.bytes(13 + n),
                1 => hello[..13 + noise.below(hello.len() - 13)].to_vec(),
                _ => hello.clone(),
            };
            // A handshake record; of most, the lengths or fragment offsets are changed.
            bytes[..3].copy_from_slice(&[22, 0xfe, 0xfd]);
            if n % 4 != 0 {
                let at = 11 + noise.below(bytes.len().min(25) - 11);
                bytes[at] = noise.byte();
            }
            player.socket.send_to(&bytes, player.server).expect("it is sent");
        }
        let media = player.hear(Duration::from_millis(200)).into_iter().filter(|bytes| bytes.first().is_some_and(|b| *b >= 128));
        assert_eq!(media.count(), 0, "media without keys");
    }
}
