//! The parts alone: records, hellos, fingerprints, key layout.

use rtc::crypto::SecretVec;

use super::super::hello::ClientHello;
use super::super::record::{self, fragments, records};
use super::*;

#[test]
fn the_engine_can_move_between_threads() {
    fn is_send<T: Send>() {}
    is_send::<Dtls>();
    is_send::<Identity>();
}

#[test]
fn an_identity_is_one_certificate_and_each_is_another() {
    let (a, b) = (Identity::generate().unwrap(), Identity::generate().unwrap());
    assert_eq!(a.clone().fingerprint_sha256(), a.fingerprint_sha256());
    assert_ne!(a.fingerprint_sha256(), b.fingerprint_sha256());
    let text = a.fingerprint_sha256();
    assert_eq!(text.len(), 95);
    assert!(text.split(':').all(|pair| pair.len() == 2 && pair == pair.to_uppercase()));
}

#[test]
fn records_end_at_the_first_that_is_cut() {
    let mut datagram = Vec::new();
    record::write_record(&mut datagram, 22, 7, b"one");
    record::write_record(&mut datagram, 20, 8, &[1]);
    assert_eq!(records(&datagram).map(|r| (r.content_type, r.epoch, r.body.len())).collect::<Vec<_>>(), [(22, 0, 3), (20, 0, 1)]);
    datagram.pop();
    assert_eq!(records(&datagram).count(), 1);
    for length in 0..13 {
        assert_eq!(records(&datagram[..length]).count(), 0);
    }
    datagram[1] = 3;
    assert_eq!(records(&datagram).count(), 0, "TLS over TCP");
}

#[test]
fn a12_fragments_lie_within_their_message() {
    let fragment = |length: u8, offset: u8, size: u8, data: &[u8]| {
        let mut body = vec![1, 0, 0, length, 0, 5, 0, 0, offset, 0, 0, size];
        body.extend_from_slice(data);
        body
    };
    assert_eq!(fragments(&fragment(4, 0, 4, &[9; 4])).count(), 1);
    assert_eq!(fragments(&fragment(4, 2, 2, &[9; 2])).map(|f| (f.message.sequence, f.offset)).collect::<Vec<_>>(), [(5, 2)]);
    assert_eq!(fragments(&fragment(0, 0, 0, &[])).count(), 1);
    assert_eq!(fragments(&fragment(4, 3, 2, &[9; 2])).count(), 0);
    assert_eq!(fragments(&fragment(4, 0, 0, &[])).count(), 0);
    assert_eq!(fragments(&fragment(4, 0, 4, &[9; 3])).count(), 0);
}

/// A hello as Chromium sends it, in short: unknown suites, groups and 1.3 extensions around.
fn hello(session_id: &[u8], profiles: &[u16]) -> Vec<u8> {
    let mut body = vec![0xfe, 0xfd];
    body.extend_from_slice(&[7; 32]);
    body.push(session_id.len() as u8);
    body.extend_from_slice(session_id);
    body.push(0);
    body.extend_from_slice(&[0, 6, 0x13, 0x01, 0xc0, 0x2b, 0xcc, 0xa9, 1, 0]);
    let mut extensions = vec![0, 43, 0, 5, 4, 0xfe, 0xfc, 0xfe, 0xfd, 0xff, 1, 0, 1, 0];
    extensions.extend_from_slice(&[0, 14, 0, (profiles.len() * 2 + 3) as u8, 0, (profiles.len() * 2) as u8]);
    profiles.iter().for_each(|profile| extensions.extend_from_slice(&profile.to_be_bytes()));
    extensions.push(0);
    extensions.extend_from_slice(&[0, 23, 0, 0]);
    body.extend_from_slice(&(extensions.len() as u16).to_be_bytes());
    body.extend_from_slice(&extensions);
    body
}

#[test]
fn a_hello_tells_its_srtp_profiles() {
    let parsed = ClientHello::parse(&hello(&[], &[1, 8, 7, 1, 7])).unwrap();
    assert_eq!(parsed.profiles, [SrtpProfile::AesCm128HmacSha1_80, SrtpProfile::AeadAes128Gcm]);
    assert!(!parsed.resumes);
    assert!(ClientHello::parse(&hello(&[3; 32], &[1])).unwrap().resumes);
    assert!(ClientHello::parse(&hello(&[], &[8, 2])).unwrap().profiles.is_empty());
}

#[test]
fn a_cut_hello_is_malformed_at_every_length() {
    let whole = hello(&[], &[1, 7]);
    for length in 0..whole.len() {
        assert_eq!(ClientHello::parse(&whole[..length]), None, "{length}");
    }
    let mut longer = whole;
    longer.push(0);
    assert_eq!(ClientHello::parse(&longer), None);
}

#[test]
fn a14_the_strongest_announced_hash_decides() {
    let certificate = b"not really one";
    let real = |algorithm| Fingerprint { algorithm, digest: digest_of(certificate, algorithm).as_ref().to_vec() };
    let wrong = |algorithm: HashAlgorithm| Fingerprint { algorithm, digest: vec![0; algorithm.len_bytes()] };
    use HashAlgorithm::{Sha1, Sha256, Sha384, Sha512};
    for (announced, expected) in [
        (vec![real(Sha256)], true),
        (vec![real(Sha384)], true),
        (vec![real(Sha512)], true),
        (vec![wrong(Sha256), real(Sha256)], true),
        (vec![wrong(Sha1), real(Sha256)], true),
        (vec![real(Sha256), wrong(Sha512)], false),
        (vec![real(Sha1), wrong(Sha256)], false),
        (vec![real(Sha1)], false),
        (vec![], false),
    ] {
        assert_eq!(is_announced(certificate, &announced), expected, "{announced:?}");
    }
}

#[test]
fn exported_keys_are_split_by_role() {
    let exported = SecretVec::new((0..60).collect());
    let client = KeyingMaterial::split(SrtpProfile::AesCm128HmacSha1_80, DtlsRole::Active, &exported).unwrap();
    assert_eq!((client.local_key[0], client.remote_key[0], client.local_salt[0], client.remote_salt[0]), (0, 16, 32, 46));
    assert_eq!((client.local_salt.len(), client.remote_salt.len()), (14, 14));
    let server = KeyingMaterial::split(SrtpProfile::AesCm128HmacSha1_80, DtlsRole::Passive, &exported).unwrap();
    assert_agreed(&server, &client);
    assert!(KeyingMaterial::split(SrtpProfile::AesCm128HmacSha1_80, DtlsRole::Active, &SecretVec::new(vec![0; 59])).is_none());
    assert!(!format!("{client:?}").contains("16"));
}
