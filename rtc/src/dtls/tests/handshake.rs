//! Handshakes that should succeed, and how they end.

use super::link::{To, cut};
use super::*;

const GCM: SrtpProtectionProfile = SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm;
const GCM_256: SrtpProtectionProfile = SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm;
const CM: SrtpProtectionProfile = SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80;

fn passive_against(profiles: &[SrtpProtectionProfile], has_certificate: bool) -> (Ours, Theirs) {
    let now = Instant::now();
    let mut client = Theirs::client(now, profiles, has_certificate);
    let identity = Identity::generate().unwrap();
    let mut server = Ours::new(Dtls::new(&identity, DtlsRole::Passive, client.fingerprint.clone(), now));
    Link::perfect(now).run(&mut server, &mut client, Duration::from_secs(20));
    (server, client)
}

#[test]
fn a_client_of_the_library_connects_and_gcm_is_chosen_whatever_its_order() {
    for (profiles, chosen) in [
        (&[GCM, CM][..], SrtpProfile::AeadAes128Gcm),
        (&[CM, GCM], SrtpProfile::AeadAes128Gcm),
        (&[CM, GCM_256, GCM], SrtpProfile::AeadAes128Gcm),
        (&[GCM], SrtpProfile::AeadAes128Gcm),
        (&[CM], SrtpProfile::AesCm128HmacSha1_80),
        (&[GCM_256, CM], SrtpProfile::AesCm128HmacSha1_80),
    ] {
        let (server, client) = passive_against(profiles, true);
        let keys = server.keys.expect("connected");
        assert_eq!(keys.profile, chosen, "{profiles:?}");
        assert!(client.is_complete && client.failed.is_none());
        assert_agreed(&keys, &client.keys(chosen));
    }
}

#[test]
fn without_a_common_profile_there_is_an_alert_and_no_keys() {
    for profiles in [&[GCM_256][..], &[]] {
        let (server, client) = passive_against(profiles, true);
        assert!(matches!(server.failure(), Some(DtlsError::Handshake(text)) if text.contains("SRTP profile")));
        assert!(server.keys.is_none() && !client.is_complete && client.failed.is_some());
    }
}

#[test]
fn a_client_without_a_certificate_is_refused() {
    let (server, client) = passive_against(&[GCM], false);
    assert!(matches!(server.failure(), Some(DtlsError::Handshake(_))), "{:?}", server.end);
    assert!(server.keys.is_none() && client.failed.is_some());
}

#[test]
fn our_active_and_our_passive_side_agree_on_gcm() {
    let now = Instant::now();
    let (mut server, mut client) = ours(now);
    let mut link = Link::perfect(now);
    link.run(&mut server, &mut client, Duration::from_secs(1));
    let (server, client) = (server.keys.unwrap(), client.keys.unwrap());
    assert_eq!(server.profile, SrtpProfile::AeadAes128Gcm);
    assert_agreed(&server, &client);
}

#[test]
fn connected_peers_have_no_timer() {
    let now = Instant::now();
    let (mut server, mut client) = ours(now);
    Link::perfect(now).run(&mut server, &mut client, Duration::from_secs(1));
    assert_eq!((server.poll_timeout(), client.poll_timeout()), (None, None));
    server.handle_timeout(now + Duration::from_secs(60));
    assert!(server.end.is_none());
}

fn connects_in_spite_of(what: &str, fate: impl FnMut(To, usize, Vec<u8>) -> link::Fate) {
    let now = Instant::now();
    let (mut server, mut client) = ours(now);
    let mut link = Link::new(now, fate);
    link.run(&mut server, &mut client, Duration::from_secs(14));
    assert_agreed(
        server.keys.as_ref().unwrap_or_else(|| panic!("{what}: server {:?}", server.end)),
        client.keys.as_ref().unwrap_or_else(|| panic!("{what}: client {:?}", client.end)),
    );
    assert!(server.end.is_none() && client.end.is_none());
}

#[test]
fn any_one_datagram_may_be_lost() {
    for lost in 0..12 {
        connects_in_spite_of(
            &format!("loss of {lost}"),
            |_, index, data| {
                if index == lost { vec![] } else { vec![(Duration::ZERO, data)] }
            },
        );
    }
}

#[test]
fn any_two_datagrams_may_be_lost() {
    for (a, b) in (0..9).flat_map(|a| (a + 1..10).map(move |b| (a, b))) {
        connects_in_spite_of(&format!("loss of {a} and {b}"), |_, index, data| {
            if index == a || index == b { vec![] } else { vec![(Duration::ZERO, data)] }
        });
    }
}

#[test]
fn every_nth_datagram_may_be_lost() {
    for nth in 2..6 {
        for phase in 0..nth {
            // Counted each way alone: a loss in step with question and answer would never end.
            let mut count = [0, 1];
            connects_in_spite_of(&format!("loss of every {nth}th from {phase}"), |to, _, data| {
                let index = &mut count[usize::from(to == To::First)];
                *index += 1;
                if *index % nth == phase { vec![] } else { vec![(Duration::ZERO, data)] }
            });
        }
    }
}

#[test]
fn a_third_of_all_datagrams_may_be_lost_at_random() {
    for seed in 1..40_u64 {
        let mut state = seed;
        connects_in_spite_of(&format!("seed {seed}"), move |_, _, data| {
            // A linear congruential generator is random enough to lose packets.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            if (state >> 33) % 3 == 0 { vec![] } else { vec![(Duration::ZERO, data)] }
        });
    }
}

#[test]
fn datagrams_may_come_twice_and_thrice() {
    connects_in_spite_of("copies", |_, _, data| [0, 1, 30].map(|delay| (Duration::from_millis(delay), data.clone())).to_vec());
}

#[test]
fn datagrams_may_overtake_each_other() {
    for period in 2..5 {
        connects_in_spite_of(&format!("every {period}th late"), |_, index, data| {
            vec![(Duration::from_millis(if index % period == 0 { 70 } else { 0 }), data)]
        });
    }
}

#[test]
fn messages_may_come_in_small_pieces_backwards() {
    for size in [16, 100, 500] {
        connects_in_spite_of(&format!("pieces of {size}"), |_, _, data| {
            let pieces = cut(&data, size);
            let count = pieces.len() as u64;
            pieces.into_iter().zip(0..).map(|(piece, i)| (Duration::from_micros((count - i) * 10), piece)).collect()
        });
    }
}

#[test]
fn records_of_a_flight_may_come_alone_and_some_never_the_first_time() {
    for lost in 0..20 {
        let mut count = 0;
        connects_in_spite_of(&format!("piece {lost} lost"), move |_, _, data| {
            let mut fate = Vec::new();
            for piece in cut(&data, 2_000) {
                if count != lost {
                    fate.push((Duration::ZERO, piece));
                }
                count += 1;
            }
            fate
        });
    }
}

#[test]
fn a_flight_is_repeated_after_50_ms_and_then_ever_later_until_time_is_out() {
    let now = Instant::now();
    let (_, mut client) = ours(now);
    let mut sent = Vec::new();
    let mut at = now;
    loop {
        while let Some(datagram) = client.poll_transmit() {
            sent.push(((at - now).as_millis(), datagram));
        }
        let Some(next) = client.poll_timeout() else { break };
        at = next;
        client.handle_timeout(at);
    }
    let times: Vec<_> = sent.iter().map(|(time, _)| *time).collect();
    assert_eq!(times, [0, 50, 150, 350, 750, 1_550, 3_150, 6_350, 15_000]);
    assert_eq!(client.failure(), Some(&DtlsError::Timeout));
    // A repeat is the same message under a new record number (RFC 6347 section 4.1).
    assert_eq!(sent[0].1[13..], sent[1].1[13..]);
    assert_ne!(sent[0].1[..13], sent[1].1[..13]);
}

#[test]
fn silence_ends_the_passive_side_after_15_s() {
    let now = Instant::now();
    let (mut server, _) = ours(now);
    assert_eq!(server.poll_timeout(), Some(now + Duration::from_secs(15)));
    server.handle_timeout(now + Duration::from_millis(14_999));
    assert!(server.end.is_none());
    server.handle_timeout(now + Duration::from_secs(15));
    assert_eq!(server.failure(), Some(&DtlsError::Timeout));
    assert_eq!(server.poll_timeout(), None);
}

#[test]
fn close_notify_goes_both_ways_and_twice_does_no_harm() {
    for server_closes in [true, false] {
        let now = Instant::now();
        let (mut server, mut client) = ours(now);
        let mut link = Link::new(now, |_, _, data| vec![(Duration::ZERO, data.clone()), (Duration::ZERO, data)]);
        link.run(&mut server, &mut client, Duration::from_secs(1));
        let (closing, other) = if server_closes { (&mut server, &mut client) } else { (&mut client, &mut server) };
        closing.dtls.close(link.now);
        closing.dtls.close(link.now);
        link.run(closing, other, Duration::from_secs(1));
        assert_eq!(other.end, Some(Ok(())));
        assert!(closing.end.is_none(), "who closes knows it");
    }
}

#[test]
fn the_library_understands_our_close() {
    let now = Instant::now();
    let mut client = Theirs::client(now, &[GCM], true);
    let identity = Identity::generate().unwrap();
    let mut server = Ours::new(Dtls::new(&identity, DtlsRole::Passive, client.fingerprint.clone(), now));
    let mut link = Link::perfect(now);
    link.run(&mut server, &mut client, Duration::from_secs(1));
    server.dtls.close(link.now);
    link.run(&mut server, &mut client, Duration::from_secs(1));
    assert!(client.is_closed);
}
