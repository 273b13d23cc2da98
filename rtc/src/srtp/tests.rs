//! RFC 7714's vectors, webrtc-rs's SRTP as the other side, and everything that must not be opened.

use proptest::prelude::*;
use rtc::crypto::providers::AwsLcRsCrypto;
use rtc::srtp::context::Context;
use rtc::srtp::protection_profile::ProtectionProfile;

use super::cipher::{Cipher, GcmKeys};
use super::*;
use crate::wire::rtp::Fields;

const PROFILES: [SrtpProfile; 2] = [SrtpProfile::AeadAes128Gcm, SrtpProfile::AesCm128HmacSha1_80];
const KEY: [u8; 16] = *b"0123456789abcdef";
const SALT: [u8; 14] = *b"salt of 14 byt";

fn salt(profile: SrtpProfile) -> &'static [u8] {
    &SALT[..profile.salt_len()]
}

fn pair(profile: SrtpProfile) -> (Protect, Unprotect) {
    let salt = salt(profile);
    (Protect::new(profile, &KEY, salt).unwrap(), Unprotect::new(profile, &KEY, salt).unwrap())
}

/// webrtc-rs's context with the same keys.
fn other(profile: SrtpProfile) -> Context {
    let theirs = match profile {
        SrtpProfile::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
        SrtpProfile::AesCm128HmacSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
    };
    Context::new(&KEY, salt(profile), theirs, None, None, &AwsLcRsCrypto).unwrap()
}

fn header(sequence: u16, ssrc: u32) -> [u8; 12] {
    let mut header = [0; 12];
    let fields = Fields { marker: true, payload_type: 96, sequence, timestamp: 77, ssrc };
    fields.emit(false, &mut header).unwrap();
    header
}

fn sealed(protect: &Protect, index: u64, ssrc: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0xee; payload.len() + 100];
    let len = protect.rtp_into((index >> 16) as u32, &header(index as u16, ssrc), payload, &mut out).unwrap();
    out.truncate(len);
    out
}

fn sealed_rtcp(protect: &mut Protect, packet: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    assert!(protect.rtcp(packet, &mut out));
    out
}

/// An empty receiver report.
const REPORT: [u8; 12] = [0x80, 201, 0, 2, 0, 0, 0, 9, 1, 2, 3, 4];

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// The session keys of RFC 7714 section 16.
fn rfc_7714() -> Cipher {
    let key = core::array::from_fn(|at| at as u8);
    let keys = || GcmKeys::new(&key, *b"Quid pro quo").unwrap();
    Cipher::Gcm { rtp: keys(), rtcp: keys() }
}

#[test]
fn the_rtp_packet_of_rfc_7714_comes_out_and_opens() {
    let plain =
        bytes("8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976 69736120 696e2070 61727465 73207472 6573");
    let expected = bytes(
        "8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a 51c7d19b 36de3adf
         8833899d 7f27beb1 6a9152cf 765ee439 0cce",
    );
    let cipher = rfc_7714();
    let mut out = vec![0; expected.len()];
    cipher.seal_rtp(0x5501_a0b2, 0xf17b, &plain[..12], [&plain[12..], &[]], &mut out).unwrap();
    assert_eq!(out, expected);
    cipher.open_rtp(0x5501_a0b2, 0xf17b, &mut out, 12).unwrap();
    assert_eq!(out[..plain.len()], plain);
}

#[test]
fn the_rtcp_packet_of_rfc_7714_comes_out_and_opens() {
    let plain = bytes(
        "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61 deadbeef deadbeef deadbeef deadbeef deadbeef",
    );
    let expected = bytes(
        "81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d c676a5f1 730d6fda 4ce09b46 86303ded
         0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade 800005d4",
    );
    let cipher = rfc_7714();
    let mut out = vec![0; expected.len()];
    cipher.seal_rtcp(0x4d61_7273, 0x5d4, &plain, &mut out).unwrap();
    assert_eq!(out, expected);
    assert_eq!(cipher.rtcp_trailer(&out), Some(0x8000_05d4));
    cipher.open_rtcp(0x4d61_7273, 0x8000_05d4, &mut out).unwrap();
    assert_eq!(out[..plain.len()], plain);
}

#[test]
fn webrtc_rs_opens_what_we_seal_over_the_wrap() {
    for profile in PROFILES {
        let (mut protect, _) = pair(profile);
        let mut theirs = other(profile);
        for index in 65_500..65_600_u64 {
            let payload = vec![index as u8; index as usize % 97];
            let opened = theirs.decrypt_rtp(&sealed(&protect, index, 7, &payload)).unwrap();
            assert_eq!(opened[12..], payload, "{profile:?} {index}");
        }
        for _ in 0..3 {
            assert_eq!(theirs.decrypt_rtcp(&sealed_rtcp(&mut protect, &REPORT)).unwrap()[..], REPORT);
        }
    }
}

#[test]
fn we_open_what_webrtc_rs_seals_over_the_wrap() {
    for profile in PROFILES {
        let (_, mut unprotect) = pair(profile);
        let mut theirs = other(profile);
        for index in 65_500..65_600_u64 {
            let mut plain = header(index as u16, 7).to_vec();
            plain.extend(vec![index as u8; index as usize % 97]);
            let mut packet = theirs.encrypt_rtp(&plain).unwrap();
            let opened = unprotect.rtp(&mut packet).unwrap();
            assert_eq!((opened.index, opened.ssrc, opened.header_len), (index, 7, 12));
            assert_eq!(packet[..opened.plain_len], plain);
        }
        for _ in 0..3 {
            let mut packet = theirs.encrypt_rtcp(&REPORT).unwrap();
            let len = unprotect.rtcp(&mut packet).unwrap().plain_len;
            assert_eq!(packet[..len], REPORT);
        }
    }
}

#[test]
fn a_header_with_extensions_stays_readable_and_is_authenticated() {
    for profile in PROFILES {
        let (protect, mut unprotect) = pair(profile);
        let mut head = header(5, 7).to_vec();
        head[0] |= 0x10;
        head.extend([0xbe, 0xde, 0, 1, 0x10, 0xaa, 0, 0]);
        let mut out = [0; 100];
        let len = protect.rtp_into(0, &head, b"payload", &mut out).unwrap();
        assert_eq!(len, head.len() + 7 + profile.tag_len());
        assert_eq!(out[..head.len()], head);
        let mut forged = out;
        forged[17] ^= 1;
        assert_eq!(unprotect.rtp(&mut forged[..len]), Err(UnprotectError::BadTag));
        let opened = unprotect.rtp(&mut out[..len]).unwrap();
        assert_eq!(&out[opened.header_len..opened.plain_len], b"payload");
    }
}

#[test]
fn padding_is_sealed_behind_the_payload() {
    for profile in PROFILES {
        let (protect, mut unprotect) = pair(profile);
        let mut head = header(5, 7);
        head[0] |= 0x20;
        let mut out = [0; 100];
        let len = protect.rtp_padded_into(0, &head, b"payload", &[0, 0, 3], &mut out).unwrap();
        let opened = unprotect.rtp(&mut out[..len]).unwrap();
        assert_eq!(opened.plain_len, 12 + 7 + 3);
        assert_eq!(crate::wire::rtp::Packet::parse(&out[..opened.plain_len]).unwrap().payload, b"payload");
    }
}

#[test]
fn a_payload_in_two_parts_is_sealed_as_one() {
    let payload: Vec<u8> = (0..1_200_u32).map(|n| n as u8).collect();
    for profile in PROFILES {
        let (protect, _) = pair(profile);
        let whole = sealed(&protect, 70_000, 7, &payload);
        for cut in [0, 1, 2, 16, 17, 1_199, 1_200] {
            let (start, rest) = payload.split_at(cut);
            let mut out = vec![0; 1_300];
            let len = protect.rtp_parts_into(1, &header(70_000_u32 as u16, 7), [start, rest], &mut out).unwrap();
            assert_eq!(out[..len], whole, "{profile:?} cut at {cut}");
        }
    }
}

#[test]
fn a_buffer_that_is_too_small_gets_nothing() {
    for profile in PROFILES {
        let (mut protect, _) = pair(profile);
        let need = 12 + 7 + profile.tag_len();
        let mut out = [0; 100];
        for short in 0..need {
            assert_eq!(protect.rtp_into(0, &header(1, 1), b"payload", &mut out[..short]), None);
        }
        for short in 0..12 {
            assert_eq!(protect.rtp_into(0, &header(1, 1)[..short], b"payload", &mut out), None);
        }
        let mut out = vec![1];
        assert!(!protect.rtcp(&REPORT[..7], &mut out));
        assert_eq!(out, [1]);
    }
}

#[test]
fn a20_a_replayed_packet_is_dropped_and_a_late_one_is_not() {
    for profile in PROFILES {
        let (mut protect, mut unprotect) = pair(profile);
        let packets: Vec<_> = (0..40_u64).map(|at| sealed(&protect, 65_520 + at, 7, b"media")).collect();
        for packet in packets.iter().rev() {
            assert!(unprotect.rtp(&mut packet.clone()).is_ok());
        }
        for packet in &packets {
            assert_eq!(unprotect.rtp(&mut packet.clone()), Err(UnprotectError::Replayed));
        }
        let far = sealed(&protect, 65_520 + 2 * replay::WIDTH, 7, b"media");
        assert!(unprotect.rtp(&mut far.clone()).is_ok());
        let too_old = sealed(&protect, 65_600, 7, b"media");
        assert_eq!(unprotect.rtp(&mut too_old.clone()), Err(UnprotectError::Replayed));

        let report = sealed_rtcp(&mut protect, &REPORT);
        assert!(unprotect.rtcp(&mut report.clone()).is_ok());
        assert_eq!(unprotect.rtcp(&mut report.clone()), Err(UnprotectError::Replayed));
    }
}

#[test]
fn a_stream_is_found_although_it_wrapped_before_its_first_packet_came() {
    for profile in PROFILES {
        let (protect, mut unprotect) = pair(profile);
        // Sent from 65,530 on; what came before 65,540 (on the wire 4) was lost.
        for index in 65_540..65_600_u64 {
            let mut packet = sealed(&protect, index, 7, b"media");
            assert_eq!(unprotect.rtp(&mut packet).map(|opened| opened.index), Ok(index), "{profile:?}");
        }
        let mut late = sealed(&protect, 65_535, 7, b"media");
        assert_eq!(unprotect.rtp(&mut late).map(|opened| opened.index), Ok(65_535));
    }
}

#[test]
fn a18_a21_forged_packets_leave_no_trace() {
    for profile in PROFILES {
        let (protect, mut unprotect) = pair(profile);
        for ssrc in 0..1000 {
            let mut packet = sealed(&protect, 65_000, ssrc, b"media");
            *packet.last_mut().unwrap() ^= 1;
            assert_eq!(unprotect.rtp(&mut packet), Err(UnprotectError::BadTag));
        }
        // Neither did one of them move the window, nor fill the table.
        for ssrc in 0..32 {
            assert!(unprotect.rtp(&mut sealed(&protect, 3, ssrc, b"media")).is_ok());
        }
    }
}

#[test]
fn a21_a_thirty_third_stream_is_refused() {
    for profile in PROFILES {
        let (mut protect, mut unprotect) = pair(profile);
        for ssrc in 0..32_u8 {
            assert!(unprotect.rtp(&mut sealed(&protect, 3, ssrc.into(), b"media")).is_ok());
            let report = [0x80, 201, 0, 1, 0, 0, 0, ssrc];
            assert!(unprotect.rtcp(&mut sealed_rtcp(&mut protect, &report)).is_ok());
        }
        assert_eq!(unprotect.rtp(&mut sealed(&protect, 3, 99, b"media")), Err(UnprotectError::SsrcLimit));
        let report = [0x80, 201, 0, 1, 0, 0, 0, 99];
        assert_eq!(unprotect.rtcp(&mut sealed_rtcp(&mut protect, &report)), Err(UnprotectError::SsrcLimit));
        assert!(unprotect.rtp(&mut sealed(&protect, 4, 0, b"media")).is_ok(), "known streams go on");
    }
}

#[test]
fn every_bit_of_a_packet_is_protected() {
    for profile in PROFILES {
        let (mut protect, _) = pair(profile);
        let packet = sealed(&protect, 7, 7, b"media");
        let report = sealed_rtcp(&mut protect, &REPORT);
        for bit in 0..packet.len() * 8 {
            let mut packet = packet.clone();
            packet[bit / 8] ^= 1 << (bit % 8);
            assert!(pair(profile).1.rtp(&mut packet).is_err(), "bit {bit}");
        }
        for bit in 0..report.len() * 8 {
            let mut report = report.clone();
            report[bit / 8] ^= 1 << (bit % 8);
            assert!(pair(profile).1.rtcp(&mut report).is_err(), "bit {bit}");
        }
    }
}

#[test]
fn rtcp_in_plain_text_is_refused() {
    for profile in PROFILES {
        let (mut protect, mut unprotect) = pair(profile);
        let mut report = sealed_rtcp(&mut protect, &REPORT);
        let flag_at = if profile == SrtpProfile::AeadAes128Gcm { report.len() - 4 } else { report.len() - 14 };
        report[flag_at] &= 0x7f;
        assert_eq!(unprotect.rtcp(&mut report), Err(UnprotectError::Unencrypted));
    }
}

#[test]
fn a17_packets_cut_at_every_length_are_dropped_and_leave_no_trace() {
    for profile in PROFILES {
        let (mut protect, mut unprotect) = pair(profile);
        let packets: Vec<_> = (0..4).map(|index| sealed(&protect, 65_534 + index, 7, b"some media of a few bytes")).collect();
        let reports: Vec<_> = (0..4).map(|_| sealed_rtcp(&mut protect, &REPORT)).collect();
        for (packet, report) in packets.iter().zip(&reports) {
            for cut in 0..packet.len() {
                assert!(unprotect.rtp(&mut packet[..cut].to_vec()).is_err(), "{profile:?}: {cut} bytes");
            }
            for cut in 0..report.len() {
                assert!(unprotect.rtcp(&mut report[..cut].to_vec()).is_err(), "{profile:?}: {cut} bytes");
            }
            // None of them moved a window: the whole one is taken, once.
            assert!(unprotect.rtp(&mut packet.clone()).is_ok() && unprotect.rtcp(&mut report.clone()).is_ok());
            for _ in 0..100 {
                assert_eq!(unprotect.rtp(&mut packet.clone()), Err(UnprotectError::Replayed));
                assert_eq!(unprotect.rtcp(&mut report.clone()), Err(UnprotectError::Replayed));
            }
            // The other kind's packets are nobody's.
            assert!(unprotect.rtp(&mut report.clone()).is_err() && unprotect.rtcp(&mut packet.clone()).is_err());
        }
    }
}

#[test]
fn a17_garbage_of_every_length_is_dropped() {
    for profile in PROFILES {
        let (_, mut unprotect) = pair(profile);
        for len in 0..=64 {
            for first in [0x00, 0x16, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xff] {
                let mut packet = vec![0x55; len];
                if let Some(byte) = packet.first_mut() {
                    *byte = first;
                }
                assert!(unprotect.rtp(&mut packet.clone()).is_err(), "{len} bytes from {first:#x}");
                assert!(unprotect.rtcp(&mut packet).is_err(), "{len} bytes from {first:#x}");
            }
        }
    }
}

#[test]
fn keys_of_a_wrong_length_are_refused() {
    for profile in PROFILES {
        let length = Err(KeyError::Length(profile));
        assert_eq!(Protect::new(profile, &KEY[..15], salt(profile)).map(drop), length);
        assert_eq!(Unprotect::new(profile, &KEY, &[]).map(drop), length);
    }
}

#[test]
fn profiles_have_their_identifiers() {
    for profile in PROFILES {
        assert_eq!(SrtpProfile::from_id(profile.id()), Some(profile));
    }
    assert_eq!(SrtpProfile::from_id(2), None);
}

proptest! {
    #[test]
    fn no_bytes_panic(mut data in proptest::collection::vec(any::<u8>(), 0..200), first in 0x80_u8..0xc0) {
        for profile in PROFILES {
            let (mut protect, mut unprotect) = pair(profile);
            let _ = unprotect.rtp(&mut data.clone());
            let _ = unprotect.rtcp(&mut data.clone());
            if let Some(byte) = data.first_mut() {
                *byte = first;
            }
            prop_assert!(unprotect.rtp(&mut data.clone()).is_err());
            prop_assert!(unprotect.rtcp(&mut data.clone()).is_err());
            let _ = protect.rtcp(&data, &mut Vec::new());
        }
    }

    #[test]
    fn packets_round_trip(start in 0_u64..1 << 40, ssrc: u32, payload: Vec<u8>, steps in proptest::collection::vec(1_u64..30_000, 0..20)) {
        for profile in PROFILES {
            let (protect, mut unprotect) = pair(profile);
            // A stream starts with a roll-over count of 0, and this one before its wrap.
            let mut index = start & 0x7fff;
            for step in &steps {
                let mut packet = sealed(&protect, index, ssrc, &payload);
                let opened = unprotect.rtp(&mut packet).unwrap();
                prop_assert_eq!(opened.index, index);
                prop_assert_eq!(&packet[opened.header_len..opened.plain_len], &payload);
                index += step;
            }
        }
    }
}
