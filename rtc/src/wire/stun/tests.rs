//! Vectors of RFC 5769, hostile forms, round trips, and webrtc-rs's STUN as the other side.

use proptest::prelude::*;
use rtc::crypto::providers::AwsLcRsCrypto;
use rtc::stun;

use super::*;

const PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";
const TRANSACTION: TransactionId = TransactionId([0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae]);

/// RFC 5769 section 2.1.
const REQUEST: &str = "000100582112a442b7e7a701bc34d686fa87dfae\
    802200105354554e207465737420636c69656e74002400046e0001ff80290008932ff9b151263b36\
    000600096576746a3a68367659202020000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf";
/// RFC 5769 section 2.2.
const RESPONSE_V4: &str = "0101003c2112a442b7e7a701bc34d686fa87dfae\
    8022000b7465737420766563746f7220002000080001a147e112a643\
    000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96";
/// RFC 5769 section 2.3.
const RESPONSE_V6: &str = "010100482112a442b7e7a701bc34d686fa87dfae\
    8022000b7465737420766563746f7220002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9\
    00080014a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.chars().map(|digit| digit.to_digit(16).unwrap() as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn request() -> Request<'static> {
    Request {
        transaction: TRANSACTION,
        username: "local:remote",
        priority: 0x6e00_01ff,
        role: Role::Controlling(7),
        use_candidate: true,
    }
}

fn emitted(request: &Request<'_>, key: &IntegrityKey) -> Vec<u8> {
    let mut out = vec![0xee; 600];
    let len = request.emit(key, &mut out).unwrap();
    out.truncate(len);
    out
}

/// A request with these attributes, no MAC, and a right FINGERPRINT.
fn with_attributes(attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut data = bytes("000100002112a442b7e7a701bc34d686fa87dfae");
    for (kind, value) in attributes {
        data.extend(kind.to_be_bytes());
        data.extend((value.len() as u16).to_be_bytes());
        data.extend(*value);
        data.resize(data.len().next_multiple_of(4), 0);
    }
    let length = data.len() as u16 - 20 + 8;
    data[2..4].copy_from_slice(&length.to_be_bytes());
    let crc = crc32::crc32(&data) ^ FINGERPRINT_XOR;
    data.extend([0x80, 0x28, 0, 4]);
    data.extend(crc.to_be_bytes());
    data
}

#[test]
fn the_request_of_rfc_5769_is_read_and_verified() {
    let data = bytes(REQUEST);
    let message = Message::parse(&data).unwrap();
    assert_eq!(message.class, Class::Request);
    assert_eq!(message.transaction, TRANSACTION);
    assert_eq!(message.username, Some("evtj:h6vY"));
    assert_eq!(message.priority, Some(0x6e00_01ff));
    assert_eq!(message.role, Some(Role::Controlled(0x932f_f9b1_5126_3b36)));
    assert!(!message.use_candidate && !message.unknown_required && message.fingerprint);
    assert!(message.verify(&IntegrityKey::new(PASSWORD)));
    assert!(!message.verify(&IntegrityKey::new("VOkJxbRl1RmTxUk/WvJxBT")));
    assert_eq!(peek_username(&data), Some("evtj:h6vY"));
}

#[test]
fn the_responses_of_rfc_5769_are_read_and_verified() {
    let v6 = "[2001:db8:1234:5678:11:2233:4455:6677]:32853";
    for (vector, mapped) in [(RESPONSE_V4, "192.0.2.1:32853"), (RESPONSE_V6, v6)] {
        let data = bytes(vector);
        let message = Message::parse(&data).unwrap();
        assert_eq!(message.class, Class::Success);
        assert_eq!(message.mapped, Some(mapped.parse().unwrap()));
        assert!(message.fingerprint && message.verify(&IntegrityKey::new(PASSWORD)));
        assert_eq!(peek_username(&data), None, "only requests name a peer");
    }
}

#[test]
fn what_is_written_is_read_back() {
    let key = IntegrityKey::new(PASSWORD);
    let data = emitted(&request(), &key);
    let message = Message::parse(&data).unwrap();
    assert_eq!(message.username, Some("local:remote"));
    assert_eq!(message.priority, Some(0x6e00_01ff));
    assert_eq!(message.role, Some(Role::Controlling(7)));
    assert!(message.use_candidate && message.fingerprint && message.verify(&key));

    let mut out = [0; REPLY_LEN_MAX];
    for mapped in ["192.0.2.1:1", "[2001:db8::1]:65535"] {
        let len = emit_success(&TRANSACTION, mapped.parse().unwrap(), &key, &mut out).unwrap();
        assert!(len < data.len(), "no amplification");
        let message = Message::parse(&out[..len]).unwrap();
        assert_eq!((message.class, message.mapped), (Class::Success, Some(mapped.parse().unwrap())));
        assert!(message.fingerprint && message.verify(&key));
    }

    let len = emit_error(&TRANSACTION, 487, "a reason that is far too long to keep", &key, &mut out).unwrap();
    let message = Message::parse(&out[..len]).unwrap();
    assert_eq!((message.class, message.error_code), (Class::Error, Some(487)));
    assert!(message.fingerprint && message.verify(&key));
}

#[test]
fn a_buffer_that_is_too_small_gets_nothing() {
    let key = IntegrityKey::new(PASSWORD);
    let mut out = [0; 600];
    let len = request().emit(&key, &mut out).unwrap();
    for short in 0..len {
        assert_eq!(request().emit(&key, &mut out[..short]), None);
    }
    let username = "x".repeat(USERNAME_LEN_MAX + 1);
    assert_eq!(Request { username: &username, ..request() }.emit(&key, &mut out), None);
}

#[test]
fn a01_any_length_but_the_right_one_is_refused() {
    let data = bytes(REQUEST);
    for len in 0..data.len() {
        assert!(Message::parse(&data[..len]).is_err(), "{len} bytes");
        let _ = peek_username(&data[..len]);
    }
    for lie in [-4_i16, -3, -2, -1, 1, 2, 3, 4] {
        let mut data = data.clone();
        let length = 0x58_u16.wrapping_add_signed(lie);
        data[2..4].copy_from_slice(&length.to_be_bytes());
        assert_eq!(Message::parse(&data).unwrap_err(), StunError::Header, "length field off by {lie}");
        assert_eq!(peek_username(&data), None);
    }
}

#[test]
fn every_single_bit_is_protected() {
    let key = IntegrityKey::new(PASSWORD);
    let data = bytes(REQUEST);
    for bit in 0..data.len() * 8 {
        let mut data = data.clone();
        data[bit / 8] ^= 1 << (bit % 8);
        let accepted = Message::parse(&data).is_ok_and(|message| message.fingerprint && message.verify(&key));
        assert!(!accepted, "bit {bit}");
    }
}

#[test]
fn a01_a02_malformed_attributes_are_refused() {
    use attribute::*;
    let cases: [(&str, u16, &[u8]); 12] = [
        ("short MAC", MESSAGE_INTEGRITY, &[0; 19]),
        ("no MAC", MESSAGE_INTEGRITY, &[]),
        ("long MAC", MESSAGE_INTEGRITY, &[0; 21]),
        ("username not text", USERNAME, &[0xff, 0xfe]),
        ("username too long", USERNAME, &[b'x'; 509]),
        ("short priority", PRIORITY, &[0; 3]),
        ("nomination with a value", USE_CANDIDATE, &[1]),
        ("short tie-breaker", ICE_CONTROLLING, &[0; 7]),
        ("long tie-breaker", ICE_CONTROLLED, &[0; 9]),
        ("address of no family", XOR_MAPPED_ADDRESS, &[0, 3, 0, 0, 0, 0, 0, 0]),
        ("IPv6 address of 4 bytes", XOR_MAPPED_ADDRESS, &[0, 2, 0, 0, 0, 0, 0, 0]),
        ("error 299", ERROR_CODE, &[0, 0, 2, 99]),
    ];
    for (name, kind, value) in cases {
        assert_eq!(Message::parse(&with_attributes(&[(kind, value)])).unwrap_err(), StunError::Attribute(kind), "{name}");
    }
    for len in 0..20 {
        assert!(Message::parse(&with_attributes(&[(MESSAGE_INTEGRITY, &[0; 20][..len])])).is_err());
    }
    let twice = with_attributes(&[(MESSAGE_INTEGRITY, &[0; 20]), (MESSAGE_INTEGRITY, &[0; 20])]);
    assert_eq!(Message::parse(&twice).unwrap_err(), StunError::Attribute(MESSAGE_INTEGRITY));
}

#[test]
fn a01_an_attribute_past_the_end_is_refused() {
    let mut data = bytes("000100082112a442b7e7a701bc34d686fa87dfae");
    data.extend([0, 6, 0, 5, b'a', b'b', b'c', b'd']);
    assert_eq!(Message::parse(&data).unwrap_err(), StunError::Attribute(attribute::USERNAME));
    assert_eq!(peek_username(&data), None);
}

#[test]
fn a02_what_follows_the_mac_is_not_believed() {
    let data = with_attributes(&[(attribute::MESSAGE_INTEGRITY, &[0; 20]), (attribute::USERNAME, b"a:b")]);
    assert_eq!(Message::parse(&data).unwrap().username, None);
    assert_eq!(peek_username(&data), None);
}

#[test]
fn of_a_repeated_attribute_the_first_counts() {
    let data = with_attributes(&[(attribute::USERNAME, b"a:b"), (attribute::USERNAME, b"c:d")]);
    assert_eq!(Message::parse(&data).unwrap().username, Some("a:b"));
}

#[test]
fn a01_only_the_lower_half_of_unknown_attributes_must_be_understood() {
    assert!(!Message::parse(&with_attributes(&[(0xc057, &[0; 4])])).unwrap().unknown_required);
    assert!(Message::parse(&with_attributes(&[(0x7fff, &[])])).unwrap().unknown_required);
}

#[test]
fn a02_the_fingerprint_is_right_last_and_may_be_missing() {
    let right = with_attributes(&[(attribute::USERNAME, b"a:b")]);
    let mut wrong = right.clone();
    *wrong.last_mut().unwrap() ^= 1;
    assert_eq!(Message::parse(&wrong).unwrap_err(), StunError::Fingerprint);

    let mut followed = right.clone();
    followed[3] += 4;
    let crc_at = followed.len() - 4;
    let crc = (crc32::crc32(&followed[..crc_at - 4]) ^ FINGERPRINT_XOR).to_be_bytes();
    followed[crc_at..].copy_from_slice(&crc);
    followed.extend([0xc0, 0x57, 0, 0]);
    assert_eq!(Message::parse(&followed).unwrap_err(), StunError::Fingerprint);

    let mut missing = right;
    missing.truncate(crc_at - 4);
    missing[3] -= 8;
    assert!(!Message::parse(&missing).unwrap().fingerprint);
}

#[test]
fn other_methods_are_refused() {
    let mut data = bytes(REQUEST);
    data[1] = 3;
    assert_eq!(Message::parse(&data).unwrap_err(), StunError::Method);
}

#[test]
fn webrtc_rs_accepts_our_messages() {
    let key = IntegrityKey::new(PASSWORD);
    let mut reply = [0; REPLY_LEN_MAX];
    let len = emit_success(&TRANSACTION, "[2001:db8::7]:4000".parse().unwrap(), &key, &mut reply).unwrap();
    for data in [&emitted(&request(), &key), &reply[..len]] {
        let mut message = stun::message::Message::new();
        message.unmarshal_binary(data).unwrap();
        stun::integrity::MessageIntegrity::check(&mut message, PASSWORD.as_bytes(), &AwsLcRsCrypto).unwrap();
        stun::fingerprint::FINGERPRINT.check(&message).unwrap();
    }
    let mut message = stun::message::Message::new();
    message.unmarshal_binary(&reply[..len]).unwrap();
    let mut mapped = stun::xoraddr::XorMappedAddress::default();
    stun::message::Getter::get_from(&mut mapped, &message).unwrap();
    assert_eq!((mapped.ip, mapped.port), ("2001:db8::7".parse().unwrap(), 4000));
}

#[test]
fn we_accept_messages_of_webrtc_rs() {
    let mut message = stun::message::Message::new();
    let username = stun::attributes::ATTR_USERNAME;
    let integrity = stun::integrity::MessageIntegrity::new_raw_integrity_with_provider(PASSWORD, &AwsLcRsCrypto);
    message
        .build(&[
            Box::new(stun::message::BINDING_REQUEST),
            Box::new(stun::message::TransactionId(TRANSACTION.0)),
            Box::new(stun::textattrs::TextAttribute::new(username, "abcd:efgh1".to_owned())),
            Box::new(integrity),
            Box::new(stun::fingerprint::FINGERPRINT),
        ])
        .unwrap();
    let ours = Message::parse(&message.raw).unwrap();
    assert_eq!((ours.transaction, ours.username), (TRANSACTION, Some("abcd:efgh1")));
    assert!(ours.fingerprint && ours.verify(&IntegrityKey::new(PASSWORD)));
}

proptest! {
    #[test]
    fn no_bytes_panic(data in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Message::parse(&data);
        let _ = peek_username(&data);
    }

    #[test]
    fn no_attributes_panic(mut body in proptest::collection::vec(any::<u8>(), 0..300), kinds: Vec<u8>) {
        body.resize(body.len() / 4 * 4, 0);
        // Small types and lengths, so that the walk goes on.
        for (at, kind) in (0..body.len()).step_by(12).zip(kinds) {
            body[at..at + 4].copy_from_slice(&[0, kind & 0x3f, 0, 8]);
        }
        let mut data = bytes("000100002112a442b7e7a701bc34d686fa87dfae");
        data[2..4].copy_from_slice(&(body.len() as u16).to_be_bytes());
        data.extend(body);
        if let Ok(message) = Message::parse(&data) {
            let _ = message.verify(&IntegrityKey::new(PASSWORD));
        }
        let _ = peek_username(&data);
    }

    #[test]
    fn requests_round_trip(id: [u8; 12], username in "[a-zA-Z0-9+/]{4,40}:[a-zA-Z0-9+/]{4,40}", priority: u32, tie: u64, nominate: bool, controlling: bool) {
        let role = if controlling { Role::Controlling(tie) } else { Role::Controlled(tie) };
        let request = Request { transaction: TransactionId(id), username: &username, priority, role, use_candidate: nominate };
        let key = IntegrityKey::new(&username);
        let data = emitted(&request, &key);
        let message = Message::parse(&data).unwrap();
        prop_assert_eq!(message.transaction, request.transaction);
        prop_assert_eq!(message.username, Some(username.as_str()));
        prop_assert_eq!((message.priority, message.role, message.use_candidate), (Some(priority), Some(role), nominate));
        prop_assert!(message.fingerprint && message.verify(&key));
        prop_assert_eq!(peek_username(&data), Some(username.as_str()));
    }

    #[test]
    fn addresses_round_trip(id: [u8; 12], ip: std::net::IpAddr, port: u16) {
        let key = IntegrityKey::new(PASSWORD);
        let mut out = [0; REPLY_LEN_MAX];
        let mapped = SocketAddr::new(ip, port);
        let len = emit_success(&TransactionId(id), mapped, &key, &mut out).unwrap();
        prop_assert_eq!(Message::parse(&out[..len]).unwrap().mapped, Some(mapped));
    }
}
