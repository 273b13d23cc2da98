//! RTP header extensions (RFC 8285): elements of a block, and the values we know by negotiated id.

use super::Ntp;
use super::read::{u16_at, u24_at, u64_at};

/// The `defined by profile` field of the one-byte form (RFC 8285 section 4.2).
const ONE_BYTE: u16 = 0xbede;
/// The same of the two-byte form, whose low 4 bits are free (RFC 8285 section 4.3).
const TWO_BYTE: u16 = 0x1000;
/// The longest element of the one-byte form.
const ONE_BYTE_LEN_MAX: usize = 16;
/// The highest id of the one-byte form; 15 ends the block.
const ONE_BYTE_ID_MAX: u8 = 14;

/// The negotiated id of each extension, 1 to 14 each, as `a=extmap` gives them (RFC 8285 section 5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtensionIds {
    /// `urn:ietf:params:rtp-hdrext:sdes:mid`
    pub mid: Option<u8>,
    /// `urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id`
    pub rid: Option<u8>,
    /// `urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id`
    pub repaired_rid: Option<u8>,
    /// `http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01`
    pub transport_cc: Option<u8>,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time`
    pub abs_send_time: Option<u8>,
    /// `urn:ietf:params:rtp-hdrext:ssrc-audio-level`
    pub audio_level: Option<u8>,
    /// `urn:3gpp:video-orientation`
    pub video_orientation: Option<u8>,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/playout-delay`
    pub playout_delay: Option<u8>,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time`
    pub abs_capture_time: Option<u8>,
    /// `https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension`
    pub dependency_descriptor: Option<u8>,
}

/// The extension block of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extensions<'a> {
    profile: u16,
    data: &'a [u8],
}

impl<'a> Extensions<'a> {
    /// No extensions.
    pub const EMPTY: Extensions<'static> = Extensions { profile: 0, data: &[] };

    /// The block with this `defined by profile` field and content.
    #[must_use]
    pub fn new(profile: u16, data: &'a [u8]) -> Self {
        Self { profile, data }
    }

    /// The elements: (id, value). Ends at the first one that lies about its length. A block of
    /// neither form has none.
    #[must_use]
    pub fn iter(&self) -> Elements<'a> {
        let known = self.profile == ONE_BYTE || self.profile & 0xfff0 == TWO_BYTE;
        Elements { one_byte: self.profile == ONE_BYTE, rest: if known { self.data } else { &[] } }
    }
}

impl<'a> IntoIterator for &Extensions<'a> {
    type Item = (u8, &'a [u8]);
    type IntoIter = Elements<'a>;

    fn into_iter(self) -> Elements<'a> {
        self.iter()
    }
}

/// Iterator over the elements of a block.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    one_byte: bool,
    rest: &'a [u8],
}

impl<'a> Iterator for Elements<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        // RFC 8285 section 4.1: zero bytes between elements are padding.
        let start = self.rest.iter().position(|byte| *byte != 0)?;
        let rest = self.rest.get(start..)?;
        self.rest = &[];
        let (id, len, body) = match *rest {
            [head, ref body @ ..] if self.one_byte => (head >> 4, usize::from(head & 0x0f) + 1, body),
            [id, len, ref body @ ..] if !self.one_byte => (id, usize::from(len), body),
            _ => return None,
        };
        // RFC 8285 section 4.2: id 15 ends the block, and so does id 0 with a length.
        if id == 0 || (self.one_byte && id > ONE_BYTE_ID_MAX) {
            return None;
        }
        let (value, after) = body.split_at_checked(len)?;
        self.rest = after;
        Some((id, value))
    }
}

/// The known extensions of one packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Values<'a> {
    /// Which media section the packet belongs to (RFC 8843 section 15).
    pub mid: Option<&'a str>,
    /// Which encoding of a simulcast (RFC 8852 section 3).
    pub rid: Option<&'a str>,
    /// Which encoding a retransmission is of (RFC 8852 section 3).
    pub repaired_rid: Option<&'a str>,
    /// Sequence number over all streams of the transport.
    pub transport_seq: Option<u16>,
    /// When the packet was sent.
    pub abs_send_time: Option<AbsSendTime>,
    /// Audio level, as its byte: see [`AudioLevel`].
    pub audio_level: Option<AudioLevel>,
    /// Video orientation (3GPP TS 26.114 section 7.4.5), as its byte.
    pub video_orientation: Option<u8>,
    /// Playout delay, minimum and maximum in 12 bits each of 10 ms, as its bytes.
    pub playout_delay: Option<[u8; 3]>,
    /// When the frame was captured.
    pub abs_capture_time: Option<AbsCaptureTime>,
    /// AV1 dependency descriptor, as it came.
    pub dependency_descriptor: Option<&'a [u8]>,
}

/// Seconds modulo 64 in 6.18 fixed point; 24 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbsSendTime(pub u32);

impl AbsSendTime {
    /// The 24 bits that stand for `at`.
    #[must_use]
    pub fn from_ntp(at: Ntp) -> Self {
        Self((at.0 >> 14) as u32 & 0x00ff_ffff)
    }
}

/// Client-to-mixer audio level (RFC 6464 section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioLevel(pub u8);

impl AudioLevel {
    /// The sender thinks that this is speech.
    #[must_use]
    pub fn is_voice(self) -> bool {
        self.0 & 0x80 != 0
    }

    /// Loudness in -dBov: 0 is the loudest, 127 is silence.
    #[must_use]
    pub fn level(self) -> u8 {
        self.0 & 0x7f
    }
}

/// Absolute capture time: when the first audio sample or the frame was captured, on whose clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbsCaptureTime {
    /// Capture time on the capturer's clock.
    pub at: Ntp,
    /// What to add to the capturer's clock to get the sender's, in 32.32 fixed-point seconds.
    pub clock_offset: Option<i64>,
}

impl<'a> Values<'a> {
    /// The values in `extensions` that have an id in `ids`. A value of an impossible length is left out.
    #[must_use]
    pub fn read(extensions: &Extensions<'a>, ids: &ExtensionIds) -> Self {
        let mut values = Self::default();
        for (id, value) in extensions {
            values.set(Some(id), value, ids);
        }
        values
    }

    fn set(&mut self, id: Option<u8>, value: &'a [u8], ids: &ExtensionIds) {
        if id == ids.transport_cc {
            self.transport_seq = u16_at(value, 0);
        } else if id == ids.mid {
            self.mid = str::from_utf8(value).ok();
        } else if id == ids.rid {
            self.rid = str::from_utf8(value).ok();
        } else if id == ids.repaired_rid {
            self.repaired_rid = str::from_utf8(value).ok();
        } else if id == ids.abs_send_time {
            self.abs_send_time = u24_at(value, 0).map(AbsSendTime);
        } else if id == ids.audio_level {
            self.audio_level = value.first().copied().map(AudioLevel);
        } else if id == ids.video_orientation {
            self.video_orientation = value.first().copied();
        } else if id == ids.playout_delay {
            self.playout_delay = value.first_chunk().copied();
        } else if id == ids.abs_capture_time {
            let clock_offset = u64_at(value, 8).map(u64::cast_signed);
            self.abs_capture_time = u64_at(value, 0).map(|at| AbsCaptureTime { at: Ntp(at), clock_offset });
        } else if id == ids.dependency_descriptor {
            self.dependency_descriptor = Some(value);
        }
    }

    /// Whether some value with an id does not fit the one-byte form.
    fn needs_two_bytes(&self, ids: &ExtensionIds) -> bool {
        let misfits =
            |id: Option<u8>, len: usize| id.is_some_and(|id| id > ONE_BYTE_ID_MAX || !(1..=ONE_BYTE_LEN_MAX).contains(&len));
        self.mid.is_some_and(|mid| misfits(ids.mid, mid.len()))
            || self.rid.is_some_and(|rid| misfits(ids.rid, rid.len()))
            || self.repaired_rid.is_some_and(|rid| misfits(ids.repaired_rid, rid.len()))
            || self.dependency_descriptor.is_some_and(|value| misfits(ids.dependency_descriptor, value.len()))
    }
}

/// Writes the `values` that have an id in `ids` as one block, its 4-byte head included; returns the
/// length, 0 if there is nothing to write, or `None` if `out` is too small.
///
/// The one-byte form is used unless a value needs the other. Ids out of 1 to 14 are not written.
#[must_use]
pub fn emit(values: &Values<'_>, ids: &ExtensionIds, out: &mut [u8]) -> Option<usize> {
    let mut block = Block { one_byte: !values.needs_two_bytes(ids), out, len: 4 };
    if let Some(seq) = values.transport_seq {
        block.put(ids.transport_cc, &seq.to_be_bytes())?;
    }
    if let Some(mid) = values.mid {
        block.put(ids.mid, mid.as_bytes())?;
    }
    if let Some(rid) = values.rid {
        block.put(ids.rid, rid.as_bytes())?;
    }
    if let Some(rid) = values.repaired_rid {
        block.put(ids.repaired_rid, rid.as_bytes())?;
    }
    if let Some(AbsSendTime(time)) = values.abs_send_time {
        let [_, a, b, c] = time.to_be_bytes();
        block.put(ids.abs_send_time, &[a, b, c])?;
    }
    if let Some(AudioLevel(level)) = values.audio_level {
        block.put(ids.audio_level, &[level])?;
    }
    if let Some(orientation) = values.video_orientation {
        block.put(ids.video_orientation, &[orientation])?;
    }
    if let Some(delay) = values.playout_delay {
        block.put(ids.playout_delay, &delay)?;
    }
    if let Some(AbsCaptureTime { at, clock_offset }) = values.abs_capture_time {
        let mut value = [0; 16];
        value[..8].copy_from_slice(&at.0.to_be_bytes());
        value[8..].copy_from_slice(&clock_offset.unwrap_or(0).to_be_bytes());
        block.put(ids.abs_capture_time, if clock_offset.is_some() { &value } else { &value[..8] })?;
    }
    if let Some(descriptor) = values.dependency_descriptor {
        block.put(ids.dependency_descriptor, descriptor)?;
    }
    block.finish()
}

/// A block being written; `len` counts its head, which is written last.
struct Block<'o> {
    one_byte: bool,
    out: &'o mut [u8],
    len: usize,
}

impl Block<'_> {
    fn put(&mut self, id: Option<u8>, value: &[u8]) -> Option<()> {
        let Some(id) = id.filter(|id| (1..=ONE_BYTE_ID_MAX).contains(id)) else { return Some(()) };
        let len = u8::try_from(value.len()).ok()?;
        let body = if self.one_byte {
            *self.out.get_mut(self.len)? = id << 4 | len.saturating_sub(1);
            self.len + 1
        } else {
            self.out.get_mut(self.len..self.len + 2)?.copy_from_slice(&[id, len]);
            self.len + 2
        };
        self.out.get_mut(body..body + value.len())?.copy_from_slice(value);
        self.len = body + value.len();
        Some(())
    }

    fn finish(self) -> Option<usize> {
        if self.len == 4 {
            return Some(0);
        }
        let end = self.len.next_multiple_of(4);
        self.out.get_mut(self.len..end)?.fill(0);
        let [p0, p1] = if self.one_byte { ONE_BYTE } else { TWO_BYTE }.to_be_bytes();
        let [w0, w1] = u16::try_from(end / 4 - 1).ok()?.to_be_bytes();
        *self.out.first_chunk_mut()? = [p0, p1, w0, w1];
        Some(end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const IDS: ExtensionIds = ExtensionIds {
        mid: Some(1),
        rid: Some(2),
        repaired_rid: Some(10),
        transport_cc: Some(3),
        abs_send_time: Some(4),
        audio_level: Some(5),
        video_orientation: Some(6),
        playout_delay: Some(7),
        abs_capture_time: Some(8),
        dependency_descriptor: Some(9),
    };

    fn parse(block: &[u8]) -> Extensions<'_> {
        assert_eq!(usize::from(u16_at(block, 2).unwrap()) * 4 + 4, block.len());
        Extensions::new(u16_at(block, 0).unwrap(), &block[4..])
    }

    fn elements(profile: u16, data: &[u8]) -> Vec<(u8, Vec<u8>)> {
        Extensions::new(profile, data).iter().map(|(id, value)| (id, value.to_vec())).collect()
    }

    #[test]
    fn one_byte_elements_are_read_around_padding() {
        let data = [0x10, 0xaa, 0, 0, 0x21, 1, 2, 0, 0x30, 7];
        assert_eq!(elements(ONE_BYTE, &data), [(1, vec![0xaa]), (2, vec![1, 2]), (3, vec![7])]);
    }

    #[test]
    fn a22_two_byte_elements_may_be_empty() {
        let data = [1, 0, 0, 200, 2, 5, 6, 0];
        assert_eq!(elements(TWO_BYTE | 0x5, &data), [(1, vec![]), (200, vec![5, 6])]);
    }

    #[test]
    fn a22_reading_ends_where_the_block_stops_making_sense() {
        let reserved = [0x10, 1, 0xf0, 2, 0x20, 3];
        assert_eq!(elements(ONE_BYTE, &reserved), [(1, vec![1])], "id 15");
        let zero_with_length = [0x10, 1, 0x01, 2, 3, 0x20, 3];
        assert_eq!(elements(ONE_BYTE, &zero_with_length), [(1, vec![1])], "id 0 with a length");
        assert_eq!(elements(ONE_BYTE, &[0x1f, 1, 2]), [], "past the end");
        assert_eq!(elements(TWO_BYTE, &[1]), [], "head cut off");
        assert_eq!(elements(TWO_BYTE, &[1, 9, 0]), [], "past the end");
        assert_eq!(elements(0x1234, &[0x10, 1]), [], "another profile");
    }

    #[test]
    fn values_come_back_as_written() {
        let values = Values {
            mid: Some("0"),
            rid: Some("hi"),
            repaired_rid: Some("lo"),
            transport_seq: Some(0xabcd),
            abs_send_time: Some(AbsSendTime(0x12_3456)),
            audio_level: Some(AudioLevel(0x80 | 30)),
            video_orientation: Some(1),
            playout_delay: Some([1, 2, 3]),
            abs_capture_time: Some(AbsCaptureTime { at: Ntp(0x1122_3344_5566_7788), clock_offset: Some(-5) }),
            dependency_descriptor: Some(&[1, 2, 3]),
        };
        let mut out = [0xee; 100];
        let len = emit(&values, &IDS, &mut out).unwrap();
        assert_eq!(out[..2], [0xbe, 0xde]);
        assert_eq!(Values::read(&parse(&out[..len]), &IDS), values);
        for short in 0..len {
            assert_eq!(emit(&values, &IDS, &mut out[..short]), None, "{short} of {len} bytes");
        }
    }

    #[test]
    fn a_long_value_moves_the_block_to_the_two_byte_form() {
        let values = Values { transport_seq: Some(7), dependency_descriptor: Some(&[5; 40]), ..Values::default() };
        let mut out = [0; 100];
        let len = emit(&values, &IDS, &mut out).unwrap();
        assert_eq!(out[..2], [0x10, 0]);
        assert_eq!(Values::read(&parse(&out[..len]), &IDS), values);
    }

    #[test]
    fn what_is_not_negotiated_is_neither_written_nor_read() {
        let values = Values { mid: Some("0"), transport_seq: Some(9), ..Values::default() };
        let mut out = [0; 32];
        assert_eq!(emit(&values, &ExtensionIds::default(), &mut out), Some(0));
        let len = emit(&values, &IDS, &mut out).unwrap();
        let only_mid = ExtensionIds { mid: Some(1), ..ExtensionIds::default() };
        let read = Values::read(&parse(&out[..len]), &only_mid);
        assert_eq!(read, Values { mid: Some("0"), ..Values::default() });
    }

    #[test]
    fn absolute_send_time_is_the_middle_of_the_ntp_time() {
        let at = Ntp((65 << 32) + (1 << 31));
        assert_eq!(AbsSendTime::from_ntp(at), AbsSendTime((1 << 18) + (1 << 17)));
    }

    proptest! {
        #[test]
        fn no_block_panics(profile in prop_oneof![Just(ONE_BYTE), Just(TWO_BYTE), any::<u16>()], data: Vec<u8>) {
            let block = Extensions::new(profile, &data);
            prop_assert!(block.iter().count() <= data.len());
            let _ = Values::read(&block, &IDS);
        }

        #[test]
        fn any_values_round_trip(mid in "[a-z0-9]{1,30}", seq: u16, at: u64, descriptor in proptest::collection::vec(any::<u8>(), 1..200)) {
            let values = Values {
                mid: Some(&mid),
                transport_seq: Some(seq),
                abs_capture_time: Some(AbsCaptureTime { at: Ntp(at), clock_offset: None }),
                dependency_descriptor: Some(&descriptor),
                ..Values::default()
            };
            let mut out = [0; 400];
            let len = emit(&values, &IDS, &mut out).unwrap();
            prop_assert_eq!(Values::read(&parse(&out[..len]), &IDS), values);
        }
    }
}
