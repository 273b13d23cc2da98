//! RTP padding (RFC 3550 5.1) that makes packets of one message equally long.
//!
//! The kernel cuts a message into segments of one size (UDP_SEGMENT), only the last may be shorter.
//! Packets that differ by a few bytes are therefore made as long as the longest of them.

/// What the length byte can say (RFC 3550 5.1).
const PADDING_MAX: usize = 255;

/// How long a packet is to be made, where padding can do it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fill {
    /// As long as it is.
    #[default]
    None,
    /// So many bytes of payload and padding together.
    Payload(usize),
    /// So many bytes on the wire.
    Wire(usize),
    /// So many bytes of padding, 255 at most.
    Exactly(u8),
}

impl Fill {
    /// The bytes of padding for a packet with `payload` bytes of payload that is `wire` bytes long
    /// without. None if it is too long already or too short for padding to do.
    pub(super) fn padding(self, payload: usize, wire: usize) -> u8 {
        let missing = match self {
            Self::None => None,
            Self::Payload(wanted) => wanted.checked_sub(payload),
            Self::Wire(wanted) => wanted.checked_sub(wire),
            Self::Exactly(padding) => Some(usize::from(padding)),
        };
        missing.filter(|missing| *missing <= PADDING_MAX).and_then(|missing| u8::try_from(missing).ok()).unwrap_or(0)
    }
}

/// The padding of one packet: zeros, and its own length in the last byte.
pub(super) struct Padding {
    bytes: [u8; PADDING_MAX],
    len: u8,
}

impl Padding {
    pub(super) fn new(len: u8) -> Self {
        let mut bytes = [0; PADDING_MAX];
        if let Some(last) = usize::from(len).checked_sub(1).and_then(|last| bytes.get_mut(last)) {
            *last = len;
        }
        Self { bytes, len }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pads_up_to_what_is_wanted_if_one_byte_can_say_it() {
        assert_eq!(Fill::None.padding(100, 140), 0);
        assert_eq!(Fill::Payload(110).padding(100, 140), 10);
        assert_eq!(Fill::Wire(150).padding(100, 140), 10);
        assert_eq!(Fill::Wire(139).padding(100, 140), 0, "too long already");
        assert_eq!(Fill::Wire(140 + 255).padding(100, 140), 255);
        assert_eq!(Fill::Wire(140 + 256).padding(100, 140), 0, "too short");
        assert_eq!(Fill::Exactly(7).padding(100, 140), 7);
    }

    #[test]
    fn padding_ends_with_its_length() {
        assert_eq!(Padding::new(0).as_bytes(), b"");
        assert_eq!(Padding::new(1).as_bytes(), [1]);
        assert_eq!(Padding::new(4).as_bytes(), [0, 0, 0, 4]);
        assert_eq!(Padding::new(255).as_bytes().last(), Some(&255));
    }
}
