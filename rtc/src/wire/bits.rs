//! Numbers that begin and end anywhere in a byte, or `None` past the end.

/// Reads a header from its highest bit on.
pub(crate) struct Bits<'a> {
    data: &'a [u8],
    /// Bits read so far.
    at: usize,
}

impl<'a> Bits<'a> {
    pub(crate) const fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }

    /// An unsigned number of so many bits, at most 32.
    pub(crate) fn number(&mut self, bits: u32) -> Option<u32> {
        (0..bits).try_fold(0, |value, _| Some(value << 1 | self.bit()?))
    }

    pub(crate) fn bit(&mut self) -> Option<u32> {
        let byte = *self.data.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Some(bit.into())
    }

    pub(crate) fn flag(&mut self) -> Option<bool> {
        Some(self.bit()? == 1)
    }

    /// One of `count` values, the first of them in fewer bits (AV1 RTP 1.0 A.4, `ns(n)`).
    pub(crate) fn one_of(&mut self, count: u32) -> Option<u32> {
        let width = count.checked_ilog2()? + 1;
        let short = 1u32.checked_shl(width)?.checked_sub(count)?;
        let value = self.number(width - 1)?;
        if value < short {
            return Some(value);
        }
        Some((value << 1 | self.bit()?) - short)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_across_bytes_and_not_beyond_the_end() {
        let mut bits = Bits::new(&[0b1010_0111, 0b1100_0000]);
        assert_eq!((bits.number(3), bits.number(7), bits.flag()), (Some(5), Some(0b001_1111), Some(false)));
        assert_eq!((bits.number(5), bits.bit()), (Some(0), None));
        assert_eq!(bits.number(0), Some(0));
    }

    #[test]
    fn one_of_five_takes_two_bits_or_three() {
        let mut bits = Bits::new(&[0b0001_1011, 0b0111_0000]);
        let read: Vec<_> = std::iter::from_fn(|| bits.one_of(5)).take(5).collect();
        assert_eq!(read, [0, 1, 2, 3, 4]);
        assert_eq!(Bits::new(&[]).one_of(1), Some(0), "there is nothing to tell");
        assert_eq!(Bits::new(&[0]).one_of(0), None);
    }
}
