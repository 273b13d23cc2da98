//! The gate before the DTLS library: what of the network's records it gets to see.
//!
//! Plaintext handshake messages are reassembled here, within bounds, and handed on whole, in
//! order, once, and a flight at a time; records get numbers of ours, so a forged one with a huge
//! number cannot shut out the genuine ones. Encrypted records wait until there are keys for them.
//! Plaintext alerts, application data and noise do not pass at all. So the library's own buffers,
//! which have no useful bounds, stay small.
//!
//! It knows the shape of a handshake and nothing of its cryptography.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use rtc::dtls::handshake::Handshake;

use super::record::{self, ALERT, CHANGE_CIPHER_SPEC, Fragment, HANDSHAKE, MessageId, Record};
use crate::sdp::DtlsRole;

/// What came of a datagram, besides bytes for the library.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// The body of the first ClientHello; it is the first that the library gets.
    FirstHello(Vec<u8>),
    /// The peer's own certificate, DER. To be judged before the library sees it.
    Certificate(Vec<u8>),
    /// A plaintext fatal alert or close_notify, before there are keys.
    Closed,
    /// A complete message that is none; the handshake cannot go on without it.
    Malformed,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Intake {
    role: DtlsRole,
    established: bool,
    /// Numbers the records that we write for the library.
    record_sequence: u64,
    /// The next message in order.
    next_message: u16,
    partials: VecDeque<Partial>,
    /// Records of messages in order whose flight is not complete.
    held: Vec<u8>,
    /// The flight in `held` began with a certificate, so its proof comes last.
    expects_proof: bool,
    /// The first ClientHello, until its answer has arrived.
    first_hello: Option<Vec<u8>>,
    /// The library has got all that it needs to decrypt.
    has_keys: bool,
    /// It was told that the peer encrypts from now on.
    is_switched: bool,
    /// Encrypted records that came before there were keys, the newest few.
    early: VecDeque<Vec<u8>>,
    repeats_left: u32,
    encrypted_left: u32,
    dropped: u64,
}

/// A message of which not all has come.
#[derive(Debug)]
struct Partial {
    message: MessageId,
    data: Vec<u8>,
    filled: Vec<bool>,
    missing: usize,
}

impl Intake {
    pub(super) const fn new(role: DtlsRole) -> Self {
        Self {
            role,
            established: false,
            record_sequence: 0,
            next_message: 0,
            partials: VecDeque::new(),
            held: Vec::new(),
            expects_proof: false,
            first_hello: None,
            has_keys: false,
            is_switched: false,
            early: VecDeque::new(),
            repeats_left: REPEATS_MAX,
            encrypted_left: ENCRYPTED_MAX,
            dropped: 0,
        }
    }

    /// The handshake is over: from now on only what the keys protect counts, because anyone who
    /// knows the peer's address can write plaintext.
    pub(super) fn establish(&mut self) {
        self.established = true;
        self.encrypted_left = ENCRYPTED_MAX;
        self.partials = VecDeque::new();
        self.held = Vec::new();
        self.first_hello = None;
    }

    /// Records that were of no use.
    pub(super) const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Sorts a datagram: what the library may read goes to `ready`, the rest to `findings`.
    pub(super) fn handle_datagram(&mut self, datagram: &[u8], ready: &mut Vec<u8>, findings: &mut Vec<Finding>) {
        let mut seen = 0;
        for record in record::records(datagram) {
            seen += record.raw.len();
            let used = match record.epoch {
                0 if self.established => false,
                0 => self.handle_plain(record, ready, findings),
                1 => self.handle_encrypted(record, ready),
                // There is no second handshake, so there are no more epochs.
                _ => false,
            };
            if !used {
                self.dropped = self.dropped.saturating_add(1);
            }
        }
        if seen < datagram.len() {
            self.dropped = self.dropped.saturating_add(1);
        }
    }

    fn handle_encrypted(&mut self, record: Record<'_>, ready: &mut Vec<u8>) -> bool {
        let fits = match record.content_type {
            // A Finished. Once established, the client side has no use for a second one: answering
            // it would make the server answer in turn.
            HANDSHAKE => FINISHED_BYTES.contains(&record.body.len()) && !(self.established && self.role == DtlsRole::Active),
            ALERT => ALERT_BYTES.contains(&record.body.len()),
            _ => false,
        };
        if !fits {
            return false;
        }
        if !self.has_keys {
            if self.early.len() >= EARLY_MAX {
                self.early.pop_front();
            }
            self.early.push_back(record.raw.to_vec());
            return true;
        }
        self.pass_encrypted(record.content_type, record.raw, ready)
    }

    fn pass_encrypted(&mut self, content_type: u8, raw: &[u8], ready: &mut Vec<u8>) -> bool {
        // The library keeps a little of each genuine handshake record, so they are counted.
        if content_type == HANDSHAKE && !take_one(&mut self.encrypted_left) {
            return false;
        }
        // A ChangeCipherSpec may be lost or late. It carries nothing that the first encrypted
        // record does not say as well.
        if !std::mem::replace(&mut self.is_switched, true) {
            self.write_record(CHANGE_CIPHER_SPEC, &[1], ready);
        }
        ready.extend_from_slice(raw);
        true
    }

    fn handle_plain(&mut self, record: Record<'_>, ready: &mut Vec<u8>, findings: &mut Vec<Finding>) -> bool {
        match (record.content_type, record.body) {
            (HANDSHAKE, body) => {
                let mut used = false;
                for fragment in record::fragments(body) {
                    used |= self.handle_fragment(fragment, ready, findings);
                }
                used
            }
            // RFC 5246 section 7.1. Not waited for: see `pass_encrypted`.
            (CHANGE_CIPHER_SPEC, [1]) => true,
            // RFC 5246 section 7.2: fatal, or close_notify. Other warnings change nothing.
            (ALERT, [2, _] | [_, 0]) => {
                findings.push(Finding::Closed);
                true
            }
            _ => false,
        }
    }

    fn handle_fragment(&mut self, fragment: Fragment<'_>, ready: &mut Vec<u8>, findings: &mut Vec<Finding>) -> bool {
        let message = fragment.message;
        if message.sequence < self.next_message {
            return self.handle_repeat(fragment, ready);
        }
        let ahead = message.sequence - self.next_message;
        if ahead >= MESSAGES_AHEAD_MAX || message.length > MESSAGE_BYTES_MAX || !self.expects(message) {
            return false;
        }
        if !self.store(fragment) {
            return false;
        }
        while let Some(partial) = self.take_complete() {
            self.handle_message(partial, ready, findings);
        }
        true
    }

    /// The peer repeats itself because our flight was lost. Ours is sent again by time; only the
    /// answer to the first ClientHello is not (a server keeps no timer for its cookie request,
    /// RFC 6347 section 4.2.1), so that hello is shown to the library again.
    fn handle_repeat(&mut self, fragment: Fragment<'_>, ready: &mut Vec<u8>) -> bool {
        let Some(hello) = self.first_hello.take() else { return false };
        let repeats = fragment.message.sequence == 0 && fragment.offset == 0 && take_one(&mut self.repeats_left);
        if repeats {
            self.write_record(HANDSHAKE, &hello, ready);
        }
        self.first_hello = Some(hello);
        repeats
    }

    /// Whether a message can come from such a peer at all.
    fn expects(&self, message: MessageId) -> bool {
        match self.role {
            DtlsRole::Passive => {
                (message.message_type == CLIENT_HELLO && message.sequence <= 1)
                    || (matches!(message.message_type, CERTIFICATE | CLIENT_KEY_EXCHANGE | CERTIFICATE_VERIFY)
                        && message.sequence > 0)
            }
            DtlsRole::Active => matches!(
                message.message_type,
                HELLO_VERIFY_REQUEST | SERVER_HELLO | CERTIFICATE | SERVER_KEY_EXCHANGE | CERTIFICATE_REQUEST | SERVER_HELLO_DONE
            ),
        }
    }

    /// Puts a fragment where it belongs. The oldest message makes room for a new one, so that a
    /// good flight still gets through after a flood of bad ones.
    fn store(&mut self, fragment: Fragment<'_>) -> bool {
        if let Some(partial) = self.partials.iter_mut().find(|partial| partial.message == fragment.message) {
            return partial.fill(fragment);
        }
        let mut stored: usize = self.partials.iter().map(|partial| partial.message.length).sum();
        while self.partials.len() >= PARTIALS_MAX || stored + fragment.message.length > PARTIAL_BYTES_MAX {
            match self.partials.pop_front() {
                Some(partial) => stored -= partial.message.length,
                None => return false,
            }
        }
        let mut partial = Partial::new(fragment.message);
        partial.fill(fragment);
        self.partials.push_back(partial);
        true
    }

    fn take_complete(&mut self) -> Option<Partial> {
        let next = self.next_message;
        let index = self.partials.iter().position(|partial| partial.message.sequence == next && partial.missing == 0)?;
        let complete = self.partials.remove(index);
        self.partials.retain(|partial| partial.message.sequence > next);
        self.next_message = self.next_message.saturating_add(1);
        complete
    }

    fn handle_message(&mut self, partial: Partial, ready: &mut Vec<u8>, findings: &mut Vec<Finding>) {
        let message = partial.message;
        let whole = record::whole_message(message, &partial.data);
        let certificate = if message.message_type == CERTIFICATE { end_entity(&partial.data) } else { Some(None) };
        // The library would drop what it cannot read without a word, and wait for ever. It also
        // allocates whatever a certificate claims to need, so that is looked at first.
        let Some(certificate) = certificate.filter(|_| Handshake::unmarshal(&mut whole.as_slice()).is_ok()) else {
            findings.push(Finding::Malformed);
            return;
        };
        if let Some(certificate) = certificate {
            self.expects_proof = true;
            findings.push(Finding::Certificate(certificate.to_vec()));
        }
        self.first_hello = None;
        if message.message_type == CLIENT_HELLO && message.sequence == 0 {
            self.first_hello = Some(whole.clone());
            findings.push(Finding::FirstHello(partial.data));
        }
        let mut held = std::mem::take(&mut self.held);
        self.write_record(HANDSHAKE, &whole, &mut held);
        // A part of a flight would stop the library's timer, so it gets whole ones.
        let (completes, gives_keys) = match message.message_type {
            CLIENT_HELLO | HELLO_VERIFY_REQUEST => (true, false),
            SERVER_HELLO_DONE | CERTIFICATE_VERIFY => (true, true),
            // RFC 5246 section 7.4.6: a client without a certificate sends no proof.
            CLIENT_KEY_EXCHANGE => (!self.expects_proof, !self.expects_proof),
            _ => (false, false),
        };
        if completes {
            ready.append(&mut held);
        }
        self.held = held;
        if gives_keys {
            self.has_keys = true;
            for raw in std::mem::take(&mut self.early) {
                let content_type = raw.first().copied().unwrap_or_default();
                self.pass_encrypted(content_type, &raw, ready);
            }
        }
    }

    fn write_record(&mut self, content_type: u8, body: &[u8], out: &mut Vec<u8>) {
        record::write_record(out, content_type, self.record_sequence, body);
        self.record_sequence += 1;
    }
}

impl Partial {
    fn new(message: MessageId) -> Self {
        // The length was checked against MESSAGE_BYTES_MAX.
        let length = message.length;
        Self { message, data: vec![0; length], filled: vec![false; length], missing: length }
    }

    /// The first to say what stands at a place is believed.
    fn fill(&mut self, fragment: Fragment<'_>) -> bool {
        let places = self.data.iter_mut().zip(&mut self.filled).skip(fragment.offset);
        for ((place, filled), byte) in places.zip(fragment.data) {
            if !*filled {
                *place = *byte;
                *filled = true;
                self.missing -= 1;
            }
        }
        true
    }
}

/// The first certificate of a list (RFC 5246 section 7.4.2). `None` if the list is malformed,
/// `Some(None)` if it is empty.
fn end_entity(message: &[u8]) -> Option<Option<&[u8]>> {
    let (mut list, rest) = split_u24(message)?;
    if !rest.is_empty() {
        return None;
    }
    let mut first = None;
    for _ in 0..CERTIFICATES_MAX {
        if list.is_empty() {
            return Some(first);
        }
        let (certificate, rest) = split_u24(list)?;
        first = first.or(Some(certificate));
        list = rest;
    }
    None
}

/// Splits at a length of three bytes that stands in front.
fn split_u24(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&[a, b, c], rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(u32::from_be_bytes([0, a, b, c]) as usize)
}

fn take_one(budget: &mut u32) -> bool {
    match budget.checked_sub(1) {
        Some(left) => {
            *budget = left;
            true
        }
        None => false,
    }
}

const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const HELLO_VERIFY_REQUEST: u8 = 3;
const CERTIFICATE: u8 = 11;
const SERVER_KEY_EXCHANGE: u8 = 12;
const CERTIFICATE_REQUEST: u8 = 13;
const SERVER_HELLO_DONE: u8 = 14;
const CERTIFICATE_VERIFY: u8 = 15;
const CLIENT_KEY_EXCHANGE: u8 = 16;

/// A chain of two RSA-4096 certificates has 4 KiB; nobody needs four times that.
const MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// One message of the largest size and the rest of its flight.
const PARTIAL_BYTES_MAX: usize = 24 * 1024;

/// The longest flight has five messages; as many again for forged ones beside them.
const PARTIALS_MAX: usize = 10;

/// As many messages as a flight can have.
const MESSAGES_AHEAD_MAX: u16 = 8;

/// A client that doubles from 50 ms repeats its hello nine times before the handshake times out.
const REPEATS_MAX: u32 = 16;

/// One Finished for each repeated flight needs ten; the rest is for forged ones.
const ENCRYPTED_MAX: u32 = 256;

/// The Finished of one flight, its repeat, and an alert.
const EARLY_MAX: usize = 4;

/// Far more than a chain that fits MESSAGE_BYTES_MAX needs.
const CERTIFICATES_MAX: usize = 9;

/// A Finished has 12 bytes and 12 of header (RFC 5246 section 7.4.9); protection adds 16 to 50.
const FINISHED_BYTES: RangeInclusive<usize> = 40..=128;

/// An alert has 2 bytes; protection adds 16 to 50.
const ALERT_BYTES: RangeInclusive<usize> = 18..=96;
