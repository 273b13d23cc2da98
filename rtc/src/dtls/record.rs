//! DTLS records and the handshake fragments in them, as bytes (RFC 6347 sections 4.1 and 4.2.2).

pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(super) const ALERT: u8 = 21;
pub(super) const HANDSHAKE: u8 = 22;

pub(super) const RECORD_HEADER_BYTES: usize = 13;
pub(super) const HANDSHAKE_HEADER_BYTES: usize = 12;

/// DTLS 1.2 on the wire.
pub(super) const VERSION_1_2: [u8; 2] = [0xfe, 0xfd];

/// One record of a datagram.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    pub(super) content_type: u8,
    pub(super) epoch: u16,
    pub(super) body: &'a [u8],
    /// Header and body as they came.
    pub(super) raw: &'a [u8],
}

/// One fragment of a handshake message, lying within it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fragment<'a> {
    pub(super) message: MessageId,
    pub(super) offset: usize,
    pub(super) data: &'a [u8],
}

/// What all fragments of a message have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MessageId {
    pub(super) sequence: u16,
    pub(super) message_type: u8,
    pub(super) length: usize,
}

/// The records of a datagram up to the first that is none: the rest is not trusted to be framed
/// (RFC 6347 section 4.1.2.7: silently).
pub(super) fn records(mut datagram: &[u8]) -> impl Iterator<Item = Record<'_>> {
    std::iter::from_fn(move || {
        let header = datagram.get(..RECORD_HEADER_BYTES)?;
        let &[content_type, major, minor, epoch_high, epoch_low, _, _, _, _, _, _, length_high, length_low] = header else {
            return None;
        };
        // A first ClientHello may still say 1.0 (RFC 6347 section 4.2.1).
        if major != 0xfe || !matches!(minor, 0xfd | 0xff) {
            return None;
        }
        let end = RECORD_HEADER_BYTES + usize::from(u16::from_be_bytes([length_high, length_low]));
        let raw = datagram.get(..end)?;
        datagram = datagram.get(end..)?;
        let epoch = u16::from_be_bytes([epoch_high, epoch_low]);
        Some(Record { content_type, epoch, body: raw.get(RECORD_HEADER_BYTES..)?, raw })
    })
}

/// The fragments of a handshake record, up to the first that contradicts itself.
pub(super) fn fragments(mut body: &[u8]) -> impl Iterator<Item = Fragment<'_>> {
    std::iter::from_fn(move || {
        let header = body.get(..HANDSHAKE_HEADER_BYTES)?;
        let &[message_type, l0, l1, l2, s0, s1, o0, o1, o2, f0, f1, f2] = header else { return None };
        let u24 = |a: u8, b: u8, c: u8| u32::from_be_bytes([0, a, b, c]) as usize;
        let (length, offset, fragment) = (u24(l0, l1, l2), u24(o0, o1, o2), u24(f0, f1, f2));
        let end = HANDSHAKE_HEADER_BYTES + fragment;
        let data = body.get(HANDSHAKE_HEADER_BYTES..end)?;
        body = body.get(end..)?;
        // An empty piece of a message that is not empty says nothing, and a flood of them costs.
        if offset + fragment > length || (fragment == 0 && length != 0) {
            return None;
        }
        let message = MessageId { sequence: u16::from_be_bytes([s0, s1]), message_type, length };
        Some(Fragment { message, offset, data })
    })
}

/// Appends a plaintext record.
pub(super) fn write_record(out: &mut Vec<u8>, content_type: u8, sequence: u64, body: &[u8]) {
    let [_, _, sequence @ ..] = sequence.to_be_bytes();
    // Everything written here is bounded far below.
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX);
    out.push(content_type);
    out.extend_from_slice(&VERSION_1_2);
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&sequence);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(body.get(..usize::from(length)).unwrap_or(body));
}

/// A whole handshake message in one fragment.
pub(super) fn whole_message(message: MessageId, body: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(message.length).unwrap_or(u32::MAX).to_be_bytes();
    let mut out = Vec::with_capacity(HANDSHAKE_HEADER_BYTES + body.len());
    out.push(message.message_type);
    out.extend_from_slice(&length);
    out.extend_from_slice(&message.sequence.to_be_bytes());
    out.extend_from_slice(&[0; 3]);
    out.extend_from_slice(&length);
    out.extend_from_slice(body);
    out
}
