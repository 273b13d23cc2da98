//! Source description and goodbye (RFC 3550 sections 6.5 and 6.6).

use super::packet_type;
use crate::wire::read::u32_at;

/// The item that names an end point (RFC 3550 section 6.5.1).
const CNAME: u8 = 1;
/// The longest item: its length is one byte.
const ITEM_LEN_MAX: usize = 255;

/// A source description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sdes<'a> {
    chunks: u8,
    body: &'a [u8],
}

impl<'a> Sdes<'a> {
    pub(super) fn parse(chunks: u8, body: &'a [u8]) -> Option<Self> {
        Some(Self { chunks, body })
    }

    /// The canonical names: (SSRC, name as it came). Ends at the first chunk that is cut off.
    pub fn cnames(&self) -> impl Iterator<Item = (u32, &'a [u8])> + use<'a> {
        let mut rest = self.body;
        (0..self.chunks)
            .map_while(move |_| {
                let (chunk, after) = next_chunk(rest)?;
                rest = after;
                Some(chunk)
            })
            .filter_map(|(ssrc, cname)| cname.map(|cname| (ssrc, cname)))
    }
}

/// One chunk's SSRC and name, and what follows the chunk.
#[expect(clippy::type_complexity, reason = "a pair of pairs, used once")]
fn next_chunk(data: &[u8]) -> Option<((u32, Option<&[u8]>), &[u8])> {
    let ssrc = u32_at(data, 0)?;
    let (mut at, mut cname) = (4, None);
    loop {
        let item = *data.get(at)?;
        if item == 0 {
            break;
        }
        let len = usize::from(*data.get(at + 1)?);
        let text = data.get(at + 2..at + 2 + len)?;
        if item == CNAME {
            cname = Some(text);
        }
        at += 2 + len;
    }
    // The zero that ended the list is the first of 1 to 4: chunks start at word boundaries.
    Some(((ssrc, cname), data.get((at + 1).next_multiple_of(4)..)?))
}

/// Appends a source description of one name, which is cut at 255 bytes.
pub fn emit_sdes_cname(ssrc: u32, cname: &str, out: &mut Vec<u8>) {
    let text = cname.as_bytes();
    let text = text.get(..ITEM_LEN_MAX).unwrap_or(text);
    super::emit(packet_type::SDES, 1, out, |out| {
        out.extend(ssrc.to_be_bytes());
        out.extend([CNAME, text.len() as u8]);
        out.extend(text);
        let item_len = 2 + text.len();
        out.extend(std::iter::repeat_n(0, (item_len + 1).next_multiple_of(4) - item_len));
    });
}

/// A goodbye; its reason is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bye<'a> {
    ssrcs: &'a [u8],
}

impl<'a> Bye<'a> {
    pub(super) fn parse(count: u8, body: &'a [u8]) -> Option<Self> {
        Some(Self { ssrcs: body.get(..usize::from(count) * 4)? })
    }

    /// Who leaves. May be empty.
    pub fn ssrcs(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.ssrcs.chunks_exact(4).filter_map(|ssrc| u32_at(ssrc, 0))
    }
}

/// Appends a goodbye of one source.
pub fn emit_bye(ssrc: u32, out: &mut Vec<u8>) {
    super::emit(packet_type::BYE, 1, out, |out| out.extend(ssrc.to_be_bytes()));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Compound, Rtcp};
    use super::*;

    fn cnames(data: &[u8]) -> Vec<(u32, &[u8])> {
        let Some(Rtcp::Sdes(sdes)) = Compound::new(data).next() else { panic!("no source description") };
        sdes.cnames().collect()
    }

    #[test]
    fn names_are_found_among_other_items_and_chunks() {
        let mut data = vec![0x82, 202, 0, 7];
        data.extend([0, 0, 0, 1, 2, 2, b'a', b'b', 1, 1, b'x', 0]);
        data.extend([0, 0, 0, 2, 1, 2, b'y', b'z', 0, 0, 0, 0]);
        data.extend([0; 4]);
        assert_eq!(cnames(&data), [(1, &b"x"[..]), (2, b"yz")]);
    }

    #[test]
    fn a_chunk_that_is_cut_off_ends_the_list() {
        let data = [0x82, 202, 0, 3, 0, 0, 0, 1, 1, 1, b'x', 0, 0, 0, 0, 2];
        assert_eq!(cnames(&data), [(1, &b"x"[..])]);
        let data = [0x81, 202, 0, 2, 0, 0, 0, 1, 1, 9, b'x', 0];
        assert_eq!(cnames(&data), []);
    }

    #[test]
    fn a_goodbye_names_who_leaves() {
        let mut data = Vec::new();
        emit_bye(7, &mut data);
        let Some(Rtcp::Bye(bye)) = Compound::new(&data).next() else { panic!("no goodbye") };
        assert_eq!(bye.ssrcs().collect::<Vec<_>>(), [7]);
        data[0] += 1;
        assert_eq!(Compound::new(&data).next(), None, "more sources than bytes");
    }

    proptest! {
        #[test]
        fn names_round_trip(ssrc: u32, cname in "[ -~]{0,255}") {
            let mut data = Vec::new();
            emit_sdes_cname(ssrc, &cname, &mut data);
            prop_assert_eq!(data.len() % 4, 0);
            prop_assert_eq!(cnames(&data), [(ssrc, cname.as_bytes())]);
        }
    }
}
