//! What hostile and broken peers send, at each point of a handshake.

use proptest::prelude::*;

use super::super::record;
use super::link::{To, cut};
use super::*;

fn record_with(content_type: u8, epoch: u16, sequence: u64, body: &[u8]) -> Vec<u8> {
    let mut out = vec![content_type, 0xfe, 0xfd];
    out.extend_from_slice(&epoch.to_be_bytes());
    out.extend_from_slice(&sequence.to_be_bytes()[2..]);
    out.extend_from_slice(&(body.len() as u16).to_be_bytes());
    out.extend_from_slice(body);
    out
}

fn fragment_of(message_type: u8, length: u32, sequence: u16, offset: u32, fragment: u32, data: &[u8]) -> Vec<u8> {
    let mut body = vec![message_type];
    body.extend_from_slice(&length.to_be_bytes()[1..]);
    body.extend_from_slice(&sequence.to_be_bytes());
    body.extend_from_slice(&offset.to_be_bytes()[1..]);
    body.extend_from_slice(&fragment.to_be_bytes()[1..]);
    body.extend_from_slice(data);
    record_with(22, 0, 0xffff_ffff_ffff, &body)
}

/// Datagrams that mean nothing and must change nothing, wherever in a handshake they come.
fn noise() -> Vec<Vec<u8>> {
    let mut noise = vec![
        vec![],
        vec![22],
        vec![22; 13],
        vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
        vec![0x2c; 40],
        record_with(22, 0, 0, &[]),
        record_with(22, 0, 0, &[1; 11]),
        record_with(20, 0, 0, &[2]),
        record_with(20, 0, 0, &[1, 1]),
        record_with(20, 0, 0xffff_ffff_ffff, &[1]),
        record_with(21, 0, 0, &[1, 41]),
        record_with(21, 0, 0, &[2]),
        record_with(23, 0, 5, b"data"),
        record_with(23, 1, 5, &[7; 60]),
        record_with(20, 1, 5, &[1]),
        record_with(22, 2, 0xffff_ffff_ffff, &[7; 40]),
        record_with(22, 0xffff, 0xffff_ffff_ffff, &[7; 40]),
        record_with(22, 1, 0xffff_ffff_ffff, &[7; 40]),
        record_with(21, 1, 0xffff_ffff_ffff, &[7; 26]),
        record_with(22, 1, 9, &[]),
        record_with(22, 1, 9, &[0; 1_100]),
        // RFC 6347 section 4.2.3: pieces that are no pieces.
        fragment_of(1, 0xff_ffff, 0, 0, 1, &[0]),
        fragment_of(1, 0xff_ffff, 0, 0xff_fffe, 1, &[0]),
        fragment_of(11, 0xff_ffff, 1, 0xff_ffff, 0xff_ffff, &[0]),
        fragment_of(1, 10, 0, 5, 6, &[0; 6]),
        fragment_of(1, 10, 0, 10, 0, &[]),
        fragment_of(1, 10, 0xffff, 0, 10, &[0; 10]),
        fragment_of(0, 0, 0, 0, 0, &[]),
        fragment_of(99, 4, 1, 0, 4, &[0; 4]),
        fragment_of(20, 12, 1, 0, 12, &[0; 12]),
    ];
    // Beginnings of messages that never go on, for each type and near number.
    for sequence in 0..10 {
        for message_type in [1, 2, 3, 11, 12, 13, 14, 15, 16] {
            noise.push(fragment_of(message_type, 9_000, sequence, 0, 30, &[0xaa; 30]));
            noise.push(fragment_of(message_type, 8_000, sequence, 20, 30, &[0xbb; 30]));
        }
    }
    // Many pieces of one byte, all of one message.
    for offset in 0..300 {
        noise.push(fragment_of(11, 16_000, 3, offset * 2, 1, &[1]));
    }
    noise
}

#[test]
fn a12_noise_before_every_datagram_changes_nothing() {
    for victim in [To::First, To::Second] {
        let now = Instant::now();
        let (mut server, mut client) = ours(now);
        let noise = noise();
        let mut link = Link::new(now, |to, _, data| {
            let before = if to == victim { &noise[..] } else { &[] };
            before.iter().cloned().chain([data]).map(|datagram| (Duration::ZERO, datagram)).collect()
        });
        link.run(&mut server, &mut client, Duration::from_secs(14));
        assert_agreed(server.keys.as_ref().expect("server"), client.keys.as_ref().expect("client"));
        let noisy = if victim == To::First { &server } else { &client };
        assert!(noisy.dtls.dropped() > 100);
    }
}

#[test]
fn a12_a_flood_of_future_messages_takes_bounded_time_and_room() {
    let now = Instant::now();
    let (mut server, mut client) = ours(now);
    for round in 0..500_u32 {
        for sequence in 0..20 {
            server.handle_datagram(now, &fragment_of(16, 16_000, sequence, round, 500, &[0; 500]));
        }
        server.handle_datagram(now, &record_with(22, 1, u64::from(round), &[9; 40]));
    }
    Link::perfect(now).run(&mut server, &mut client, Duration::from_secs(14));
    assert_agreed(server.keys.as_ref().expect("server"), client.keys.as_ref().expect("client"));
}

#[test]
fn a14_a_certificate_that_was_not_announced_gives_no_keys() {
    let stranger = Identity::generate().unwrap();
    for wrong_side in [DtlsRole::Passive, DtlsRole::Active] {
        let now = Instant::now();
        let (server, client) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        let expected = |role: DtlsRole, real: &Identity| announce(if role == wrong_side { &stranger } else { real });
        let mut a = Ours::new(Dtls::new(&server, DtlsRole::Passive, expected(DtlsRole::Passive, &client), now));
        let mut b = Ours::new(Dtls::new(&client, DtlsRole::Active, expected(DtlsRole::Active, &server), now));
        Link::perfect(now).run(&mut a, &mut b, Duration::from_secs(20));
        let (fooled, other) = if wrong_side == DtlsRole::Passive { (&a, &b) } else { (&b, &a) };
        assert_eq!(fooled.failure(), Some(&DtlsError::BadFingerprint));
        assert!(fooled.keys.is_none() && other.keys.is_none());
        assert_eq!(other.end, Some(Ok(())), "the alert tells the other side at once");
    }
}

#[test]
fn a14_nothing_announced_gives_no_keys() {
    let now = Instant::now();
    let (server, client) = (Identity::generate().unwrap(), Identity::generate().unwrap());
    let mut a = Ours::new(Dtls::new(&server, DtlsRole::Passive, vec![], now));
    let mut b = Ours::new(Dtls::new(&client, DtlsRole::Active, announce(&server), now));
    Link::perfect(now).run(&mut a, &mut b, Duration::from_secs(20));
    assert_eq!(a.failure(), Some(&DtlsError::BadFingerprint));
    assert!(b.keys.is_none());
}

#[test]
fn a16_plaintext_cannot_end_an_established_session() {
    let now = Instant::now();
    let (mut server, mut client) = ours(now);
    Link::perfect(now).run(&mut server, &mut client, Duration::from_secs(1));
    for peer in [&mut server, &mut client] {
        for datagram in [
            record_with(21, 0, 50, &[2, 40]),
            record_with(21, 0, 51, &[1, 0]),
            record_with(21, 1, 52, &[2, 40]),
            record_with(23, 0, 53, &[0; 10]),
            record_with(22, 0, 54, &[1; 40]),
            record_with(20, 0, 55, &[1]),
            fragment_of(1, 40, 0, 0, 40, &[0; 40]),
            fragment_of(1, 40, 9, 0, 40, &[0; 40]),
        ] {
            peer.handle_datagram(now, &datagram);
        }
        assert!(peer.end.is_none() && peer.poll_transmit().is_none());
    }
}

#[test]
fn a_fatal_alert_in_the_handshake_ends_it() {
    let now = Instant::now();
    for alert in [[2, 40], [1, 0]] {
        let (mut server, _) = ours(now);
        server.handle_datagram(now, &record_with(21, 0, 0, &alert));
        assert_eq!(server.end, Some(Ok(())));
    }
}

#[test]
fn a_broken_message_is_answered_by_a_fatal_alert() {
    for (message_type, body) in [(1, vec![0; 40]), (1, vec![0xff; 400]), (1, vec![])] {
        let now = Instant::now();
        let (mut server, _) = ours(now);
        let length = body.len() as u32;
        server.handle_datagram(now, &fragment_of(message_type, length, 0, 0, length, &body));
        assert!(matches!(server.failure(), Some(DtlsError::Handshake(_))), "{message_type} {length}");
        let alert = server.poll_transmit().expect("an alert");
        assert_eq!((alert[0], alert[13]), (21, 2));
    }
}

#[test]
fn a_certificate_message_that_lies_about_its_lengths_is_refused() {
    for body in [
        &[0xff, 0xff, 0xff][..],
        &[0, 0, 3, 0xff, 0xff, 0xff],
        &[0, 0, 3, 0, 0, 0, 9],
        &[0, 0, 2, 0, 0],
        &[0, 0, 30, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ] {
        let now = Instant::now();
        let (mut server, mut client) = ours(now);
        let body = body.to_vec();
        let mut link = Link::new(now, move |to, _, data| {
            let lie = |piece: Vec<u8>| {
                let is_certificate = piece[0] == record::HANDSHAKE && piece[3..5] == [0, 0] && piece[13] == 11;
                if !is_certificate {
                    return piece;
                }
                let sequence = u16::from_be_bytes([piece[17], piece[18]]);
                fragment_of(11, body.len() as u32, sequence, 0, body.len() as u32, &body)
            };
            let pieces = cut(&data, 5_000);
            pieces.into_iter().map(|piece| (Duration::ZERO, if to == To::First { lie(piece) } else { piece })).collect()
        });
        link.run(&mut server, &mut client, Duration::from_secs(20));
        assert!(matches!(server.failure(), Some(DtlsError::Handshake(_))), "{:?}", server.end);
        assert!(server.keys.is_none() && client.keys.is_none());
    }
}

/// Every datagram of a handshake, as (to the server, bytes).
fn recorded() -> Vec<(To, Vec<u8>)> {
    let now = Instant::now();
    let (mut server, mut client) = ours(now);
    let mut all = Vec::new();
    Link::new(now, |to, _, data: Vec<u8>| {
        all.push((to, data.clone()));
        vec![(Duration::ZERO, data)]
    })
    .run(&mut server, &mut client, Duration::from_secs(1));
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_datagrams_are_survived(datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..60)) {
        let now = Instant::now();
        let (mut server, mut client) = ours(now);
        for datagram in &datagrams {
            server.handle_datagram(now, datagram);
            client.handle_datagram(now, datagram);
        }
        prop_assert!(server.keys.is_none() && client.keys.is_none());
    }

    #[test]
    fn damaged_handshakes_are_survived(
        edits in prop::collection::vec((0..12_usize, any::<prop::sample::Index>(), any::<u8>()), 1..6),
        size in 20..1_500_usize,
    ) {
        let now = Instant::now();
        let (mut server, mut client) = ours(now);
        let mut link = Link::new(now, |_, index, data| {
            cut(&data, size).into_iter().map(|mut piece| {
                for (at, place, value) in &edits {
                    if *at == index {
                        let place = place.index(piece.len());
                        piece[place] ^= value;
                    }
                }
                (Duration::ZERO, piece)
            }).collect()
        });
        link.run(&mut server, &mut client, Duration::from_secs(20));
        if let (Some(server), Some(client)) = (&server.keys, &client.keys) {
            assert_agreed(server, client);
        }
    }

    #[test]
    fn records_of_other_handshakes_are_survived(
        order in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 1..30),
    ) {
        let now = Instant::now();
        let (mut server, mut client) = ours(now);
        let other = recorded();
        for (index, to_server) in order {
            let (_, datagram) = &other[index.index(other.len())];
            let peer = if to_server { &mut server } else { &mut client };
            peer.handle_datagram(now, datagram);
        }
        prop_assert!(server.keys.is_none() && client.keys.is_none());
    }
}
