//! Datagrams on a stream: RFC 4571 framing, as RFC 6544 section 10.1 has it for ICE over TCP.

/// Bytes before each datagram: its length, big-endian.
pub const HEADER_LEN: usize = 2;
/// The longest datagram taken in: as over UDP, an Ethernet MTU. Nobody has a reason to send more, and
/// what half a datagram may hold of our memory is that much.
pub const FRAME_MAX: usize = 1_500;

/// A frame that says to be longer than [`FRAME_MAX`]. What follows it cannot be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {0} bytes on a stream, more than the 1500 allowed")]
pub struct FrameTooLong(pub usize);

/// The header of a datagram of `len` bytes.
#[must_use]
pub fn header(len: usize) -> Option<[u8; HEADER_LEN]> {
    Some(u16::try_from(len).ok()?.to_be_bytes())
}

/// Cuts what a connection brings into datagrams. It keeps at most one that has not come whole.
#[derive(Debug, Default)]
pub struct Deframer {
    /// Header and what there is of the datagram. Empty between datagrams.
    held: Vec<u8>,
}

impl Deframer {
    /// Gives each datagram in `data`, and the one that it completes, to `take`, until that answers
    /// `false`. Returns how many bytes were used: all unless it did. Datagrams of no bytes are
    /// padding and skipped.
    ///
    /// # Errors
    ///
    /// [`FrameTooLong`]; the connection is of no use any more.
    pub fn feed(&mut self, data: &mut [u8], mut take: impl FnMut(&mut [u8]) -> bool) -> Result<usize, FrameTooLong> {
        let mut used = 0;
        while let Some(rest) = data.get_mut(used..).filter(|rest| !rest.is_empty()) {
            let more = if self.held.is_empty() { self.whole(rest, &mut take) } else { self.complete(rest, &mut take) };
            let (step, goes_on) = more?;
            used += step;
            if !goes_on {
                break;
            }
        }
        Ok(used)
    }

    /// Bytes held of a datagram that has not come whole, its header included.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// `rest` starts with a frame: takes it where it is, or keeps it until it is whole.
    fn whole(&mut self, rest: &mut [u8], take: &mut impl FnMut(&mut [u8]) -> bool) -> Result<(usize, bool), FrameTooLong> {
        if let Some((head, body)) = rest.split_first_chunk_mut::<HEADER_LEN>() {
            let len = checked(*head)?;
            if let Some(frame) = body.get_mut(..len) {
                return Ok((HEADER_LEN + len, len == 0 || take(frame)));
            }
        }
        self.held.extend_from_slice(rest);
        Ok((rest.len(), true))
    }

    /// Adds to the frame that is held.
    fn complete(&mut self, rest: &[u8], take: &mut impl FnMut(&mut [u8]) -> bool) -> Result<(usize, bool), FrameTooLong> {
        let wanted = match self.held.first_chunk::<HEADER_LEN>() {
            Some(head) => HEADER_LEN + checked(*head)?,
            None => HEADER_LEN,
        };
        let step = wanted.saturating_sub(self.held.len()).min(rest.len());
        self.held.extend_from_slice(rest.get(..step).unwrap_or_default());
        let Some(head) = self.held.first_chunk::<HEADER_LEN>() else { return Ok((step, true)) };
        let len = checked(*head)?;
        if self.held.len() < HEADER_LEN + len {
            return Ok((step, true));
        }
        let goes_on = self.held.get_mut(HEADER_LEN..).is_none_or(|frame| frame.is_empty() || take(frame));
        self.held.clear();
        Ok((step, goes_on))
    }
}

fn checked(head: [u8; HEADER_LEN]) -> Result<usize, FrameTooLong> {
    let len = usize::from(u16::from_be_bytes(head));
    if len > FRAME_MAX { Err(FrameTooLong(len)) } else { Ok(len) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames of these lengths, each filled with its own number.
    fn stream(lengths: &[usize]) -> (Vec<u8>, Vec<Vec<u8>>) {
        let frames: Vec<Vec<u8>> = lengths.iter().zip(1..).map(|(len, byte)| vec![byte; *len]).collect();
        let framed = frames.iter().flat_map(|frame| [&header(frame.len()).unwrap()[..], frame].concat()).collect();
        (framed, frames)
    }

    fn feed(deframer: &mut Deframer, data: &[u8], got: &mut Vec<Vec<u8>>) -> Result<usize, FrameTooLong> {
        deframer.feed(&mut data.to_vec(), |frame| {
            got.push(frame.to_vec());
            true
        })
    }

    #[test]
    fn frames_come_whole_wherever_the_stream_is_cut() {
        let (framed, frames) = stream(&[1, 20, FRAME_MAX, 3, 700]);
        for cut in 0..=framed.len() {
            let (mut deframer, mut got) = (Deframer::default(), Vec::new());
            let (first, second) = framed.split_at(cut);
            assert_eq!(feed(&mut deframer, first, &mut got), Ok(first.len()));
            assert!(deframer.held() < HEADER_LEN + FRAME_MAX);
            assert_eq!(feed(&mut deframer, second, &mut got), Ok(second.len()));
            assert_eq!(got, frames, "cut at {cut}");
            assert_eq!(deframer.held(), 0);
        }
    }

    #[test]
    fn frames_come_whole_byte_by_byte() {
        let (framed, frames) = stream(&[4, 300, 1]);
        let (mut deframer, mut got) = (Deframer::default(), Vec::new());
        for byte in framed {
            assert_eq!(feed(&mut deframer, &[byte], &mut got), Ok(1));
        }
        assert_eq!(got, frames);
    }

    #[test]
    fn frames_of_no_bytes_are_skipped() {
        for pieces in [&[&[0, 0, 0, 0, 0, 1, 7][..]][..], &[&[0], &[0, 0], &[0, 0], &[1], &[7]]] {
            let (mut deframer, mut got) = (Deframer::default(), Vec::new());
            for piece in pieces {
                assert_eq!(feed(&mut deframer, piece, &mut got), Ok(piece.len()));
            }
            assert_eq!(got, [[7]]);
        }
    }

    #[test]
    fn a_frame_that_is_too_long_ends_the_stream_with_its_header() {
        let too_long = header(FRAME_MAX + 1).unwrap();
        let (mut deframer, mut got) = (Deframer::default(), Vec::new());
        assert_eq!(feed(&mut deframer, &too_long, &mut got), Err(FrameTooLong(FRAME_MAX + 1)));
        let mut deframer = Deframer::default();
        assert_eq!(feed(&mut deframer, &too_long[..1], &mut got), Ok(1));
        assert_eq!(feed(&mut deframer, &too_long[1..], &mut got), Err(FrameTooLong(FRAME_MAX + 1)));
        assert!(got.is_empty() && deframer.held() <= HEADER_LEN);
    }

    #[test]
    fn who_takes_may_stop_and_learns_where() {
        let (framed, _) = stream(&[5, 6, 7]);
        for cut in 0..7 {
            let (mut deframer, mut count) = (Deframer::default(), 0);
            let mut stop = |_: &mut [u8]| {
                count += 1;
                false
            };
            let mut used = deframer.feed(&mut framed[..cut].to_vec(), &mut stop).unwrap();
            used += deframer.feed(&mut framed[used..].to_vec(), &mut stop).unwrap();
            assert_eq!((used, count), (7, 1), "the first frame and no more, cut at {cut}");
        }
    }
}
