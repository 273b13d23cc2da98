//! MPEG-TS as it comes (ISO/IEC 13818-1 2.4.3): the frames of the first H.264 stream, by the starts of
//! their PES packets. Nothing but the start of a frame is kept.

use crate::measure::Stamp;

const PACKET_LEN: usize = 188;
const SYNC: u8 = 0x47;
/// Bytes of a frame that are looked at: access unit delimiter, parameter sets, stamp, first slice.
const START_MAX: usize = 512;
/// stream_id of video (2.4.3.7, table 2-22).
const VIDEO_IDS: std::ops::RangeInclusive<u8> = 0xe0..=0xef;

/// One frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) keyframe: bool,
    pub(super) stamp: Option<Stamp>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct TsReader {
    packet: Vec<u8>,
    video: Option<u16>,
    start: Vec<u8>,
}

impl TsReader {
    /// Gives each frame to `take`, when the next one begins.
    pub(super) fn feed(&mut self, mut data: &[u8], mut take: impl FnMut(Frame)) {
        while !data.is_empty() {
            let used = data.len().min(PACKET_LEN - self.packet.len());
            let (part, rest) = data.split_at(used);
            self.packet.extend_from_slice(part);
            data = rest;
            if self.packet.len() == PACKET_LEN {
                let packet = std::mem::take(&mut self.packet);
                self.handle(&packet, &mut take);
                self.packet = packet;
                self.packet.clear();
            }
        }
    }

    /// The segment is over: so is its last frame.
    pub(super) fn finish(&mut self, take: impl FnMut(Frame)) {
        self.packet.clear();
        self.end_frame(take);
    }

    fn handle(&mut self, packet: &[u8], take: &mut impl FnMut(Frame)) {
        let &[SYNC, high, low, control, ..] = packet else { return };
        let pid = u16::from(high & 0x1f) << 8 | u16::from(low);
        let payload_at = match control >> 4 & 3 {
            1 => 4,
            3 => 5 + usize::from(packet.get(4).copied().unwrap_or(0)),
            _ => return,
        };
        let Some(payload) = packet.get(payload_at..) else { return };
        let mut units = payload;
        if high & 0x40 != 0
            && let &[0, 0, 1, id, _, _, _, _, header_len, ..] = payload
            && VIDEO_IDS.contains(&id)
            && self.video.is_none_or(|video| video == pid)
        {
            self.video = Some(pid);
            self.end_frame(take);
            units = payload.get(9 + usize::from(header_len)..).unwrap_or_default();
        }
        if self.video == Some(pid) {
            let kept = units.len().min(START_MAX.saturating_sub(self.start.len()));
            self.start.extend_from_slice(units.get(..kept).unwrap_or_default());
        }
    }

    fn end_frame(&mut self, mut take: impl FnMut(Frame)) {
        if self.start.is_empty() {
            return;
        }
        let mut frame = Frame { keyframe: false, stamp: None };
        let starts: Vec<usize> =
            self.start.windows(3).enumerate().filter(|(_, w)| *w == [0, 0, 1]).map(|(at, _)| at + 3).collect();
        for (place, at) in starts.iter().enumerate() {
            let end = starts.get(place + 1).map_or(self.start.len(), |next| next - 3);
            let unit = self.start.get(*at..end).unwrap_or_default();
            frame.keyframe |= unit.first().is_some_and(|head| head & 0x1f == 5);
            frame.stamp = frame.stamp.or_else(|| Stamp::find(unit));
        }
        self.start.clear();
        take(frame);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(start: bool, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![SYNC, if start { 0x41 } else { 0x01 }, 0];
        let stuffing = PACKET_LEN - 4 - payload.len();
        match stuffing {
            0 => packet.push(0x10),
            _ => {
                packet.extend([0x30, stuffing as u8 - 1]);
                packet.extend(vec![0xff; stuffing - 1]);
            }
        }
        packet.extend(payload);
        packet
    }

    fn frame(units: &[&[u8]]) -> Vec<u8> {
        let mut payload = vec![0, 0, 1, 0xe0, 0, 0, 0x80, 0x80, 5, 0, 0, 0, 0, 0];
        for unit in units {
            payload.extend([0, 0, 0, 1]);
            payload.extend(*unit);
        }
        payload.chunks(184).enumerate().flat_map(|(n, part)| packet(n == 0, part)).collect()
    }

    #[test]
    fn frames_are_found_at_every_split() {
        let stamp = Stamp { counter: 3, sent_micros: 9 };
        let mut segment = packet(true, &[0, 0, 0xb0]);
        segment.extend(frame(&[&[9, 0x10], &[0x67; 30], &[0x68, 1], &stamp.write(), &[0x65; 300]]));
        segment.extend(frame(&[&[9, 0x30], &[0x41; 30]]));
        for split in 0..segment.len() {
            let (mut reader, mut found) = (TsReader::default(), Vec::new());
            reader.feed(&segment[..split], |frame| found.push(frame));
            reader.feed(&segment[split..], |frame| found.push(frame));
            reader.finish(|frame| found.push(frame));
            let expected = [Frame { keyframe: true, stamp: Some(stamp) }, Frame { keyframe: false, stamp: None }];
            assert_eq!(found, expected, "split at {split}");
        }
    }

    #[test]
    fn what_is_no_ts_has_no_frames() {
        let mut reader = TsReader::default();
        reader.feed(&[0x47; 1_000], |_| panic!("a frame"));
        reader.feed(&[0xff; 1_000], |_| panic!("a frame"));
        reader.finish(|_| panic!("a frame"));
    }
}
