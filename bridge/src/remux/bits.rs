//! Bits of coded headers: reading them, and the emulation prevention around those of H.264.

/// Reads bits from unescaped bytes, most significant first; `None` past the end.
pub(crate) struct BitReader<'a> {
    data: &'a [u8],
    position: usize,
}

impl<'a> BitReader<'a> {
    pub(crate) const fn new(data: &'a [u8]) -> Self {
        Self { data, position: 0 }
    }

    /// The bit that comes next, counted from the first.
    pub(crate) const fn position(&self) -> usize {
        self.position
    }

    pub(crate) fn bit(&mut self) -> Option<bool> {
        let byte = *self.data.get(self.position / 8)?;
        let shift = 7 - self.position % 8;
        self.position += 1;
        Some(byte >> shift & 1 == 1)
    }

    /// `count` bits, at most 32.
    pub(crate) fn bits(&mut self, count: u32) -> Option<u32> {
        let mut value = 0u32;
        for _ in 0..count {
            value = value << 1 | u32::from(self.bit()?);
        }
        Some(value)
    }

    /// An unsigned Exp-Golomb value (ITU-T H.264 9.1); `None` if longer than any legal one.
    pub(crate) fn exp_golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.bit()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        let tail = u64::from(self.bits(zeros)?);
        u32::try_from((1u64 << zeros) - 1 + tail).ok()
    }

    /// A signed Exp-Golomb value (ITU-T H.264 9.1.1).
    pub(crate) fn signed_exp_golomb(&mut self) -> Option<i64> {
        let code = i64::from(self.exp_golomb()?);
        Some(if code % 2 == 1 { (code + 1) / 2 } else { -code / 2 })
    }
}

/// Takes the emulation prevention bytes out (ITU-T H.264 7.4.1).
pub(crate) fn unescape(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len());
    let mut zeros = 0;
    for &byte in data {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
    out
}

/// Puts emulation prevention bytes in (ITU-T H.264 7.4.1.1).
pub(crate) fn escape(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() + 4);
    let mut zeros = 0;
    for &byte in data {
        if zeros >= 2 && byte <= 3 {
            out.push(3);
            zeros = 0;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn exp_golomb_values_are_those_of_the_standard() {
        // 1, 010, 011, 00100: table 9-2.
        let mut bits = BitReader::new(&[0b1010_0110, 0b0100_0000]);
        assert_eq!((0..4).filter_map(|_| bits.exp_golomb()).collect::<Vec<_>>(), [0, 1, 2, 3]);
        let mut bits = BitReader::new(&[0b1010_0110, 0b0100_0000]);
        assert_eq!((0..4).filter_map(|_| bits.signed_exp_golomb()).collect::<Vec<_>>(), [0, 1, -1, 2]);
        assert_eq!(BitReader::new(&[0; 16]).exp_golomb(), None);
        assert_eq!(BitReader::new(&[0, 0, 0, 1]).exp_golomb(), None);
    }

    proptest! {
        #[test]
        fn escaping_is_undone_and_leaves_no_start_code(data in proptest::collection::vec(0u8..5, 0..200)) {
            let escaped = escape(&data);
            prop_assert!(!escaped.windows(3).any(|w| w[0] == 0 && w[1] == 0 && w[2] < 3));
            prop_assert_eq!(unescape(&escaped), data);
        }
    }
}
