//! Two Opus packets as one.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use weir_source::MediaTime;

use crate::transcode::opus_samples;

/// What one packet holds that is put together with the next: 20 ms.
const FRAME: Duration = Duration::from_millis(20);
const FRAME_SAMPLES: usize = 960;
/// By how much two that follow each other may stray from that; times are rounded on their way.
const STRAY: Duration = Duration::from_millis(2);
/// The low two bits of the first byte: how many frames there are (RFC 6716 3.1). One.
const ONE_FRAME: u8 = 0;
/// Two of one length, two of different lengths.
const TWO_EQUAL: u8 = 1;
const TWO_UNEQUAL: u8 = 2;
/// Lengths from here on take two bytes (RFC 6716 3.2.1).
const LONG: usize = 252;

/// Puts packets of 20 ms together to packets of 40 ms.
///
/// A viewer's socket message is what sending costs, not the bytes in it; at 25 pictures a second
/// sound of 40 ms rides with every picture, where every other sound of 20 ms goes alone.
#[derive(Debug, Default)]
pub(super) struct Pairing {
    held: Option<(MediaTime, Bytes)>,
}

impl Pairing {
    /// Takes the next packet; `out` gets what is complete: nothing, one of 40 ms, or what could not
    /// be put together, as it came.
    pub(super) fn push(&mut self, time: MediaTime, packet: Bytes, mut out: impl FnMut(MediaTime, Bytes)) {
        let Some((first_time, first)) = self.held.take() else {
            return self.hold(time, packet, out);
        };
        let follows = (time - first_time).abs_diff(FRAME.as_micros() as i64) <= STRAY.as_micros() as u64;
        match join(&first, &packet).filter(|_| follows) {
            Some(both) => out(first_time, both),
            None => {
                out(first_time, first);
                self.hold(time, packet, out);
            }
        }
    }

    fn hold(&mut self, time: MediaTime, packet: Bytes, mut out: impl FnMut(MediaTime, Bytes)) {
        if is_one_of_20_ms(&packet) {
            self.held = Some((time, packet));
        } else {
            out(time, packet);
        }
    }
}

fn is_one_of_20_ms(packet: &[u8]) -> bool {
    opus_samples(packet) == Some(FRAME_SAMPLES) && packet.first().is_some_and(|toc| toc & 3 == ONE_FRAME)
}

/// Code 1 or 2 of RFC 6716 3.2; `None` unless both have one frame of 20 ms, made the same way.
fn join(first: &[u8], second: &[u8]) -> Option<Bytes> {
    let ((toc, one), (other, two)) = (first.split_first()?, second.split_first()?);
    if toc != other || !is_one_of_20_ms(first) || !is_one_of_20_ms(second) {
        return None;
    }
    let mut both = BytesMut::with_capacity(first.len() + second.len() + 2);
    if one.len() == two.len() {
        both.put_u8(toc | TWO_EQUAL);
    } else {
        both.put_u8(toc | TWO_UNEQUAL);
        put_length(&mut both, one.len())?;
    }
    both.put_slice(one);
    both.put_slice(two);
    Some(both.freeze())
}

/// One byte, or two of which the second counts fours. `None`: longer than a frame may be.
fn put_length(out: &mut BytesMut, length: usize) -> Option<()> {
    if length < LONG {
        out.put_u8(length as u8);
        return Some(());
    }
    let low = LONG + (length - LONG) % 4;
    out.put_u8(low as u8);
    out.put_u8(u8::try_from((length - low) / 4).ok()?);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CELT, fullband, 20 ms, stereo, one frame.
    const TOC: u8 = (31 << 3) | 4;

    fn packet(length: usize) -> Bytes {
        let mut data = vec![TOC];
        data.resize(1 + length, length as u8);
        data.into()
    }

    fn run(steps: &[(i64, Bytes)]) -> Vec<(i64, usize)> {
        let mut pairing = Pairing::default();
        let mut all = Vec::new();
        for (ms, packet) in steps {
            pairing.push(MediaTime::from_millis(*ms), packet.clone(), |time, data| all.push((time.as_millis(), data.len())));
        }
        all
    }

    /// What a decoder takes the frames of a packet to be (RFC 6716 3.2), written after the text.
    fn frames(packet: &[u8]) -> Vec<usize> {
        let body = &packet[1..];
        match packet[0] & 3 {
            0 => vec![body.len()],
            1 => vec![body.len() / 2; 2],
            _ if body[0] < 252 => vec![body[0].into(), body.len() - 1 - usize::from(body[0])],
            _ => {
                let first = usize::from(body[1]) * 4 + usize::from(body[0]);
                vec![first, body.len() - 2 - first]
            }
        }
    }

    #[test]
    fn lengths_are_as_a_decoder_reads_them() {
        for (one, two) in [(0, 0), (0, 3), (251, 251), (251, 1), (252, 1), (253, 9), (255, 0), (256, 300), (1_275, 1_274)] {
            let both = join(&packet(one), &packet(two)).unwrap();
            assert_eq!(frames(&both), [one, two]);
            assert_eq!(both[0] & !3, TOC);
        }
    }

    #[test]
    fn two_that_follow_each_other_become_one() {
        let steps = [0, 20, 40, 61, 80].map(|ms| (ms, packet(240)));
        assert_eq!(run(&steps), [(0, 481), (40, 481)], "the last waits for its second half");
    }

    #[test]
    fn what_does_not_follow_goes_as_it_came() {
        assert_eq!(run(&[(0, packet(9)), (60, packet(9)), (80, packet(9))]), [(0, 10), (60, 19)], "a hole");
        assert_eq!(run(&[(20, packet(9)), (0, packet(9)), (20, packet(9))]), [(20, 10), (0, 19)], "a new timeline");
        let mono = Bytes::from_static(&[31 << 3, 1]);
        assert_eq!(run(&[(0, packet(9)), (20, mono.clone()), (40, mono)]), [(0, 10), (20, 3)], "made another way");
        let two = Bytes::from_static(&[TOC | 1, 1, 1]);
        assert_eq!(run(&[(0, packet(9)), (20, two)]), [(0, 10), (20, 3)], "two already");
        assert_eq!(run(&[(0, Bytes::new()), (20, packet(9))]), [(0, 0)], "empty");
        let ten = Bytes::from_static(&[30 << 3, 1]);
        assert_eq!(run(&[(0, ten.clone()), (10, ten)]), [(0, 2), (10, 2)], "another length");
    }
}
