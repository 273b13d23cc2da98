//! PES packets and their cutting into transport packets (H.222.0 2.4.3).

use super::PACKET_BYTES;

const SYNC: u8 = 0x47;
const HEADER_BYTES: usize = 4;
const PAYLOAD_MAX: usize = PACKET_BYTES - HEADER_BYTES;
/// Times on the wire have 33 bits (H.222.0 2.4.3.7).
const TIME_MASK: i64 = (1 << 33) - 1;

/// A program clock reference, in ticks of 90 kHz.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(pub(super) i64);

/// What a PES header and the first packet's adaptation field say.
#[derive(Debug)]
pub(super) struct Pes {
    pub(super) stream_id: u8,
    /// Ticks of 90 kHz.
    pub(super) pts: i64,
    /// Ticks of 90 kHz; not written where it equals `pts`.
    pub(super) dts: i64,
    pub(super) clock: Option<Clock>,
    pub(super) random_access: bool,
}

/// One elementary stream: its packet identifier and continuity counter.
#[derive(Debug)]
pub(super) struct Pid {
    pid: u16,
    next: u8,
}

impl Pid {
    pub(super) const fn new(pid: u16) -> Self {
        Self { pid, next: 0 }
    }

    /// Appends one PES packet with `payload`, cut and stuffed to whole packets.
    pub(super) fn pes(&mut self, pes: &Pes, payload: &[u8], out: &mut Vec<u8>) {
        let (head, head_len) = pes.header(payload.len());
        let head = &head[..head_len];
        let packets = (head.len() + payload.len()).div_ceil(PAYLOAD_MAX) + 1;
        out.reserve(packets * PACKET_BYTES);
        let field = Field { clock: pes.clock, random_access: pes.random_access };
        let room = PAYLOAD_MAX - field.len() - head.len();
        let (first, mut rest) = payload.split_at(room.min(payload.len()));
        self.packet(true, &field, head, first, out);
        let plain = Field { clock: None, random_access: false };
        while !rest.is_empty() {
            let (next, left) = rest.split_at(PAYLOAD_MAX.min(rest.len()));
            self.packet(false, &plain, &[], next, out);
            rest = left;
        }
    }

    /// Appends a packet that has nothing but a clock reference. The counter stands still for
    /// packets without payload (H.222.0 2.4.3.3).
    pub(super) fn clock_only(&self, clock: Option<Clock>, out: &mut Vec<u8>) {
        let counter = self.next.wrapping_sub(1) & 0x0f;
        out.extend_from_slice(&[SYNC, (self.pid >> 8) as u8 & 0x1f, self.pid as u8, 0x20 | counter]);
        let field = Field { clock, random_access: false };
        field.write(PAYLOAD_MAX, out);
    }

    /// One packet: `head` and `body` together must leave room for `field`. What they do not fill
    /// is stuffed in the adaptation field, before them.
    fn packet(&mut self, start: bool, field: &Field, head: &[u8], body: &[u8], out: &mut Vec<u8>) {
        let free = PAYLOAD_MAX.saturating_sub(head.len() + body.len());
        let control = if free > 0 { 0x30 } else { 0x10 };
        let start_bit = u8::from(start) << 6;
        out.extend_from_slice(&[SYNC, start_bit | (self.pid >> 8) as u8 & 0x1f, self.pid as u8, control | self.next]);
        self.next = (self.next + 1) & 0x0f;
        if free > 0 {
            field.write(free, out);
        }
        out.extend_from_slice(head);
        out.extend_from_slice(body);
    }
}

impl Pes {
    /// The header and its length. `PES_packet_length` may be 0, for unknown, only for video
    /// (H.222.0 2.4.3.7).
    fn header(&self, payload: usize) -> ([u8; 19], usize) {
        let (pts, dts) = (self.pts & TIME_MASK, self.dts & TIME_MASK);
        let both = pts != dts;
        let times = if both { 10 } else { 5 };
        let length = u16::try_from(3 + times + payload).unwrap_or(0).to_be_bytes();
        let mut head = [0; 19];
        // Marker '10' and data_alignment_indicator: the payload starts with a frame's first byte.
        let flags = if both { 0xc0 } else { 0x80 };
        head[..9].copy_from_slice(&[0, 0, 1, self.stream_id, length[0], length[1], 0x84, flags, times as u8]);
        head[9..14].copy_from_slice(&timestamp(if both { 0b0011 } else { 0b0010 }, pts));
        if both {
            head[14..19].copy_from_slice(&timestamp(0b0001, dts));
        }
        (head, 9 + times)
    }
}

/// 33 bits in three parts, each closed by a marker bit (H.222.0 2.4.3.7).
fn timestamp(prefix: u8, time: i64) -> [u8; 5] {
    [
        prefix << 4 | ((time >> 30) as u8 & 0x07) << 1 | 1,
        (time >> 22) as u8,
        (time >> 14) as u8 | 1,
        (time >> 7) as u8,
        (time << 1) as u8 | 1,
    ]
}

/// An adaptation field (H.222.0 2.4.3.4).
#[derive(Debug)]
struct Field {
    clock: Option<Clock>,
    random_access: bool,
}

impl Field {
    /// Bytes it needs, none if it has nothing to say.
    const fn len(&self) -> usize {
        match (self.clock, self.random_access) {
            (Some(_), _) => 8,
            (None, true) => 2,
            (None, false) => 0,
        }
    }

    /// Writes exactly `size` bytes, at least 1 and [`Field::len`], the rest stuffed.
    fn write(&self, size: usize, out: &mut Vec<u8>) {
        let end = out.len() + size;
        out.push((size - 1) as u8);
        if size > 1 {
            out.push(u8::from(self.random_access) << 6 | u8::from(self.clock.is_some()) << 4);
        }
        if let Some(Clock(time)) = self.clock {
            // 33 bits of base, 6 reserved, 9 of extension (27 MHz), which we leave at 0.
            let base = (time & TIME_MASK) as u64;
            let bits = base << 15 | 0x3f << 9;
            out.extend_from_slice(&bits.to_be_bytes()[2..]);
        }
        out.resize(end, 0xff);
    }
}
