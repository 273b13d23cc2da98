//! H.264 that any decoder takes, of whatever size is wanted: Constrained Baseline, one slice a
//! picture, noise in I_PCM macroblocks (H.264 7.3.5) and nothing in the others.
//!
//! No encoder is needed, and no filler either, which servers take out.

/// Bytes of an I_PCM macroblock with the bits before it.
const PCM_BYTES: usize = 386;
const PCM_SAMPLES: usize = 384;
/// Bits of a macroblock with an explicit zero motion vector, and of one of flat colour whose
/// quantiser is changed for the sake of its size.
const ZERO_MOTION_BITS: usize = 5;
/// Deltas of the quantiser take a byte more than none.
const QUANTISER_STEP: i32 = 8;
/// log2_max_frame_num: the picture number is written in so many bits.
const FRAME_NUM_BITS: u32 = 8;

/// Bits, most significant first.
#[derive(Debug, Default)]
struct Bits {
    bytes: Vec<u8>,
    used: u32,
}

impl Bits {
    fn put(&mut self, value: u32, bits: u32) {
        for bit in (0..bits).rev() {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= ((value >> bit & 1) as u8) << (7 - self.used % 8);
            }
            self.used += 1;
        }
    }

    /// Exp-Golomb (H.264 9.1).
    fn ue(&mut self, value: u32) {
        let code = value + 1;
        let bits = 32 - code.leading_zeros();
        self.put(0, bits - 1);
        self.put(code, bits);
    }

    /// Signed Exp-Golomb (H.264 9.1.1).
    fn se(&mut self, value: i32) {
        self.ue(if value > 0 { 2 * value.unsigned_abs() - 1 } else { 2 * value.unsigned_abs() });
    }

    fn align(&mut self) {
        self.used = self.used.next_multiple_of(8);
    }

    fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The NAL unit: stop bit, then emulation prevention (H.264 7.4.1).
    fn unit(mut self, head: u8) -> Vec<u8> {
        self.put(1, 1);
        let mut unit = Vec::with_capacity(self.bytes.len() + 2);
        unit.push(head);
        let mut zeros = 0;
        for byte in self.bytes {
            if zeros == 2 && byte <= 3 {
                unit.push(3);
                zeros = 0;
            }
            zeros = if byte == 0 { zeros + 1 } else { 0 };
            unit.push(byte);
        }
        unit
    }
}

/// Writes the pictures of one stream.
#[derive(Debug)]
pub(crate) struct Coder {
    /// In macroblocks.
    columns: u32,
    rows: u32,
    /// In pixels.
    width: u32,
    height: u32,
    fps: u32,
    frame_num: u32,
    idr_id: u32,
    random: u32,
}

impl Coder {
    /// Sizes are made even, and at least of one macroblock.
    pub(crate) fn new(width: u32, height: u32, fps: u32) -> Self {
        let even = |side: u32| (side & !1).clamp(16, 4_096);
        let (width, height) = (even(width), even(height));
        Self {
            columns: width.div_ceil(16),
            rows: height.div_ceil(16),
            width,
            height,
            fps: fps.max(1),
            frame_num: 0,
            idr_id: 0,
            random: 1,
        }
    }

    fn macroblocks(&self) -> u32 {
        self.columns * self.rows
    }

    /// The lowest level that has room for the pictures (H.264 table A-1).
    fn level(&self) -> u8 {
        let (size, rate) = (self.macroblocks(), self.macroblocks() * self.fps);
        let fits = |level: &&(u8, u32, u32)| size <= level.1 && rate <= level.2;
        let levels = [(31, 3_600, 108_000), (40, 8_192, 245_760), (42, 8_704, 522_240), (51, 36_864, 983_040)];
        levels.iter().find(fits).map_or(52, |level| level.0)
    }

    /// The sequence parameter set.
    pub(crate) fn sps(&self) -> Vec<u8> {
        let mut bits = Bits::default();
        for byte in [66, 0xc0, self.level()] {
            bits.put(byte.into(), 8);
        }
        bits.ue(0);
        bits.ue(FRAME_NUM_BITS - 4);
        // pic_order_cnt_type 2: output in coding order. One reference frame.
        bits.ue(2);
        bits.ue(1);
        bits.put(0, 1);
        bits.ue(self.columns - 1);
        bits.ue(self.rows - 1);
        bits.put(0b11, 2);
        let (right, bottom) = ((self.columns * 16 - self.width) / 2, (self.rows * 16 - self.height) / 2);
        bits.put(u32::from(right + bottom > 0), 1);
        if right + bottom > 0 {
            [0, right, 0, bottom].into_iter().for_each(|crop| bits.ue(crop));
        }
        // VUI (E.1.1): the frame rate, and that no frame is held back.
        bits.put(0b10_0001, 6);
        bits.put(1, 32);
        bits.put(2 * self.fps, 32);
        bits.put(0b10_0011, 6);
        for limit in [0, 0, 10, 10, 0, 1] {
            bits.ue(limit);
        }
        bits.unit(0x67)
    }

    /// The picture parameter set: CAVLC, with a say over the deblocking filter.
    pub(crate) fn pps(&self) -> Vec<u8> {
        let mut bits = Bits::default();
        bits.ue(0);
        bits.ue(0);
        bits.put(0, 2);
        (0..3).for_each(|_| bits.ue(0));
        bits.put(0, 3);
        (0..3).for_each(|_| bits.se(0));
        bits.put(0b100, 3);
        bits.unit(0x68)
    }

    /// The next picture as one NAL unit of `size` bytes; larger or smaller only where it cannot be.
    pub(crate) fn slice(&mut self, keyframe: bool, size: usize) -> Vec<u8> {
        let mut bits = self.head(keyframe);
        let total = self.macroblocks() as usize;
        // What flat macroblocks take in any case: eight bits each in a keyframe.
        let flat = if keyframe { total } else { 3 };
        let free = size.saturating_sub(1 + bits.len() + flat);
        let pcm = (free / PCM_BYTES).min(total);
        let mut rest = free.saturating_sub(pcm * PCM_BYTES);
        if keyframe {
            // Below noise a flat one takes five bits more.
            rest = rest.saturating_sub((pcm.min(self.columns as usize) + 1) * 5 / 8);
            self.key_macroblocks(&mut bits, pcm, rest);
        } else {
            let moved = (rest * 8 / ZERO_MOTION_BITS).min(total - pcm);
            self.other_macroblocks(&mut bits, pcm, moved);
        }
        bits.unit(if keyframe { 0x65 } else { 0x41 })
    }

    /// slice_header (H.264 7.3.3).
    fn head(&mut self, keyframe: bool) -> Bits {
        if keyframe {
            self.frame_num = 0;
            self.idr_id = (self.idr_id + 1) % 2;
        } else {
            self.frame_num = (self.frame_num + 1) % (1 << FRAME_NUM_BITS);
        }
        let mut bits = Bits::default();
        bits.ue(0);
        bits.ue(if keyframe { 7 } else { 5 });
        bits.ue(0);
        bits.put(self.frame_num, FRAME_NUM_BITS);
        if keyframe {
            bits.ue(self.idr_id);
            bits.put(0, 2);
        } else {
            bits.put(0, 3);
        }
        bits.se(0);
        // disable_deblocking_filter_idc
        bits.ue(1);
        bits
    }

    /// Macroblocks predicted flat, of which the first `longer` take a byte more, then noise, then
    /// flat ones again.
    fn key_macroblocks(&mut self, bits: &mut Bits, pcm: usize, longer: usize) {
        let (total, columns) = (self.macroblocks() as usize, self.columns as usize);
        let longer = longer.min(total - pcm);
        let mut step = QUANTISER_STEP;
        let is_pcm = |place: usize| (longer..longer + pcm).contains(&place);
        for place in 0..total {
            if is_pcm(place) {
                // mb_type 25 in an I slice.
                bits.ue(25);
                self.noise(bits);
                continue;
            }
            // mb_type 3: Intra_16x16, DC prediction, no coefficients but an empty block of DCs.
            bits.ue(3);
            bits.ue(0);
            if place < longer {
                bits.se(step);
                step = -step;
            } else {
                bits.se(0);
            }
            // coeff_token of none by the mean of the neighbours' (9.2.1): 16 beside an I_PCM.
            let left = place % columns > 0 && is_pcm(place - 1);
            let above = place >= columns && is_pcm(place - columns);
            if left || above { bits.put(0b11, 6) } else { bits.put(1, 1) }
        }
    }

    /// Macroblocks that say that nothing moved, then noise, then skipped ones.
    fn other_macroblocks(&mut self, bits: &mut Bits, pcm: usize, moved: usize) {
        // mb_skip_run 0, P_L0_16x16, two zero vector differences, no coefficients.
        (0..moved).for_each(|_| bits.put(0b11111, 5));
        for _ in 0..pcm {
            bits.ue(0);
            // mb_type 5 + 25 in a P slice.
            bits.ue(30);
            self.noise(bits);
        }
        let skipped = self.macroblocks() - (pcm + moved) as u32;
        if skipped > 0 {
            bits.ue(skipped);
        }
    }

    fn noise(&mut self, bits: &mut Bits) {
        bits.align();
        for _ in 0..PCM_SAMPLES {
            self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Never zero: no emulation prevention.
            bits.bytes.push((self.random >> 24) as u8 | 1);
        }
        bits.used += 8 * PCM_SAMPLES as u32;
    }
}

/// The NAL units of a frame in which each has a length of four bytes before it; ends at the first
/// that makes no sense.
pub(crate) fn units(mut frame: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (len, rest) = frame.split_first_chunk::<4>()?;
        let unit = rest.get(..usize::try_from(u32::from_be_bytes(*len)).ok()?)?;
        frame = &rest[unit.len()..];
        Some(unit)
    })
}

/// Appends a NAL unit with its length before it.
pub(crate) fn put_unit(frame: &mut Vec<u8>, unit: &[u8]) {
    frame.extend((unit.len() as u32).to_be_bytes());
    frame.extend_from_slice(unit);
}

/// AVCDecoderConfigurationRecord (ISO/IEC 14496-15 5.3.3.1).
pub(crate) fn configuration(sps: &[u8], pps: &[u8]) -> Vec<u8> {
    let at = |place: usize| sps.get(place).copied().unwrap_or(0);
    let mut record = vec![1, at(1), at(2), at(3), 0xff, 0xe1];
    record.extend((sps.len() as u16).to_be_bytes());
    record.extend_from_slice(sps);
    record.push(1);
    record.extend((pps.len() as u16).to_be_bytes());
    record.extend_from_slice(pps);
    record
}

/// The first of each parameter set of an AVCDecoderConfigurationRecord whose NAL units have lengths
/// of four bytes.
pub(crate) fn parameter_sets(record: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let take = |bytes: &[u8]| {
        let (len, rest) = bytes.split_first_chunk::<2>()?;
        let unit = rest.get(..u16::from_be_bytes(*len).into())?;
        Some((unit.to_vec(), rest[unit.len()..].to_vec()))
    };
    let (_, body) = record.split_at_checked(6)?;
    (record[4] & 3 == 3 && record[5] & 0x1f > 0).then_some(())?;
    let (sps, mut rest) = take(body)?;
    for _ in 1..record[5] & 0x1f {
        rest = take(&rest)?.1;
    }
    let (count, body) = rest.split_first()?;
    (*count > 0).then_some(())?;
    Some((sps, take(body)?.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_has_the_size_that_was_asked_for() {
        let mut coder = Coder::new(640, 360, 25);
        for size in (200..6_000).step_by(37) {
            let len = coder.slice(false, size).len();
            assert!(len.abs_diff(size) <= 3, "{len} instead of {size}");
        }
        for size in (1_500..40_000).step_by(211) {
            let len = coder.slice(true, size).len();
            assert!(len.abs_diff(size) <= 100, "{len} instead of {size}");
        }
        assert!(coder.slice(false, 0).len() < 16);
        assert!(coder.slice(true, 0).len() < 1_000);
        assert!(coder.slice(true, 10_000_000).len() < 400_000, "no more than there are macroblocks");
    }

    #[test]
    fn parameter_sets_are_read_back_from_the_configuration() {
        let coder = Coder::new(1_280, 720, 30);
        let record = configuration(&coder.sps(), &coder.pps());
        assert_eq!(parameter_sets(&record), Some((coder.sps(), coder.pps())));
        for len in 0..record.len() {
            assert_eq!(parameter_sets(&record[..len]), None);
        }
    }

    #[test]
    fn units_of_a_frame_end_where_it_makes_no_sense() {
        let mut frame = Vec::new();
        put_unit(&mut frame, &[1, 2]);
        put_unit(&mut frame, &[3]);
        frame.extend([0xff; 5]);
        assert_eq!(units(&frame).collect::<Vec<_>>(), [&[1, 2][..], &[3]]);
    }
}
