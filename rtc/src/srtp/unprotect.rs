//! The peer's side of SRTP: opens what comes, once, and only if the peer wrote it.

use std::fmt;

use smallvec::SmallVec;

use super::cipher::{Cipher, ENCRYPTED, RTCP_CLEAR_LEN};
use super::replay::ReplayWindow;
use super::{KeyError, SrtpProfile};
use crate::wire::read::{u8_at, u32_at};
use crate::wire::rtp;

/// Streams of one peer that are kept track of, RTP and RTCP each. Three simulcast layers with
/// retransmission and audio are 8; 32 leave room for re-starts with new SSRCs. About 9 KiB each way.
const STREAMS_MAX: usize = 32;
/// A stream whose first packet is below this may have wrapped already: what came before is as much
/// as a sender of 20 Mb/s emits in a second or two while the handshake ends.
const WRAPPED_START_MAX: u16 = 4096;
/// How far ahead of the newest a report may be to be taken for its sender's next one: what a peer may
/// have sent in a second that was lost.
const RTCP_AHEAD_MAX: u64 = 64;
/// Packets longer than this are not tried twice. Nothing on the Internet's paths is.
const RETRY_LEN_MAX: usize = 1500;

/// Why a packet was not opened. It is the peer's fault, or somebody's between: count and drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnprotectError {
    /// No RTP or RTCP header, or no room for the tag.
    #[error("not an SRTP packet")]
    Malformed,
    /// Seen before, or too old to tell.
    #[error("SRTP packet replayed")]
    Replayed,
    /// The tag is wrong: damaged, forged, or of other keys.
    #[error("SRTP authentication failed")]
    BadTag,
    /// A stream beyond the 32 that one peer may have.
    #[error("too many SRTP streams")]
    SsrcLimit,
    /// An RTCP packet whose encryption flag is not set: RFC 8827 section 6.5 forbids it.
    #[error("SRTCP packet not encrypted")]
    Unencrypted,
}

/// An RTP packet that was opened in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unprotected {
    /// Its source.
    pub ssrc: u32,
    /// Its extended sequence number: roll-over count and sequence number, 48 bits.
    pub index: u64,
    /// Where the payload starts.
    pub header_len: usize,
    /// Length of header, payload and padding; the tag behind it is gone.
    pub plain_len: usize,
    /// No later packet of its source came before.
    pub newest: bool,
}

/// A compound RTCP packet that was opened in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnprotectedRtcp {
    /// Its length, from the start on.
    pub plain_len: usize,
    /// No later one of its sender came before.
    pub newest: bool,
}

/// Opens a peer's RTP and RTCP with its keys.
pub struct Unprotect {
    cipher: Cipher,
    rtp: Streams,
    rtcp: Streams,
}

impl Unprotect {
    /// Derives the session keys from the peer's master key and salt.
    ///
    /// # Errors
    /// The lengths are not the profile's.
    pub fn new(profile: SrtpProfile, key: &[u8], salt: &[u8]) -> Result<Self, KeyError> {
        Ok(Self { cipher: Cipher::new(profile, key, salt)?, rtp: Streams::default(), rtcp: Streams::default() })
    }

    /// The negotiated profile.
    #[must_use]
    pub fn profile(&self) -> SrtpProfile {
        self.cipher.profile()
    }

    /// Opens an RTP packet in place.
    ///
    /// # Errors
    /// Why not; `packet`'s bytes are worthless then, and nothing is remembered of it.
    pub fn rtp(&mut self, packet: &mut [u8]) -> Result<Unprotected, UnprotectError> {
        let header = rtp::Header::parse(packet).map_err(|_| UnprotectError::Malformed)?;
        let (fields, header_len) = (header.fields, header.len);
        let plain_len = packet.len().checked_sub(self.profile().tag_len()).ok_or(UnprotectError::Malformed)?;
        if plain_len < header_len {
            return Err(UnprotectError::Malformed);
        }
        let place = self.rtp.find(fields.ssrc)?;
        let newest = self.rtp.newest(place);
        let mut index = estimate_index(newest, fields.sequence).ok_or(UnprotectError::Replayed)?;
        self.rtp.check(place, index)?;
        if newest.is_none() && fields.sequence < WRAPPED_START_MAX {
            index = self.open_first(fields.ssrc, index, packet, header_len).ok_or(UnprotectError::BadTag)?;
        } else {
            self.cipher.open_rtp(fields.ssrc, index, packet, header_len).ok_or(UnprotectError::BadTag)?;
        }
        self.rtp.mark(place, fields.ssrc, index);
        let newest = newest.is_none_or(|newest| index > newest);
        Ok(Unprotected { ssrc: fields.ssrc, index, header_len, plain_len, newest })
    }

    /// Opens the first packet of a stream, which may have wrapped before anything of it came: a
    /// sender may start at any sequence number, and what it sends before our keys are ready is lost.
    fn open_first(&self, ssrc: u32, index: u64, packet: &mut [u8], header_len: usize) -> Option<u64> {
        let mut copy = [0; RETRY_LEN_MAX];
        let mut copy = copy.get_mut(..packet.len());
        if let Some(copy) = &mut copy {
            copy.copy_from_slice(packet);
        }
        if self.cipher.open_rtp(ssrc, index, packet, header_len).is_some() {
            return Some(index);
        }
        let wrapped = index + (1 << 16);
        packet.copy_from_slice(copy?);
        self.cipher.open_rtp(ssrc, wrapped, packet, header_len).map(|()| wrapped)
    }

    /// Opens a compound RTCP packet in place.
    ///
    /// # Errors
    /// Why not; `packet`'s bytes are worthless then, and nothing is remembered of it.
    pub fn rtcp(&mut self, packet: &mut [u8]) -> Result<UnprotectedRtcp, UnprotectError> {
        let plain_len = packet.len().checked_sub(self.profile().rtcp_overhead());
        let plain_len = plain_len.filter(|len| *len >= RTCP_CLEAR_LEN).ok_or(UnprotectError::Malformed)?;
        if u8_at(packet, 0).is_none_or(|first| first >> 6 != 2) {
            return Err(UnprotectError::Malformed);
        }
        let ssrc = u32_at(packet, 4).ok_or(UnprotectError::Malformed)?;
        let trailer = self.cipher.rtcp_trailer(packet).ok_or(UnprotectError::Malformed)?;
        if trailer & ENCRYPTED == 0 {
            return Err(UnprotectError::Unencrypted);
        }
        let index = u64::from(trailer & !ENCRYPTED);
        let place = self.rtcp.find(ssrc)?;
        let newest = self.rtcp.newest(place);
        self.rtcp.check(place, index)?;
        self.cipher.open_rtcp(ssrc, trailer, packet).ok_or(UnprotectError::BadTag)?;
        self.rtcp.mark(place, ssrc, index);
        Ok(UnprotectedRtcp { plain_len, newest: newest.is_none_or(|newest| index > newest) })
    }

    /// Whether `packet` looks like the next compound RTCP packet, or one soon after it, of a sender that is
    /// known. From what is not encrypted: nothing is proven.
    #[must_use]
    pub fn expects_rtcp(&self, packet: &[u8]) -> bool {
        let newest = u32_at(packet, 4).and_then(|ssrc| self.rtcp.newest(self.rtcp.find(ssrc).ok()?));
        let trailer = self.cipher.rtcp_trailer(packet).filter(|trailer| trailer & ENCRYPTED != 0);
        let (Some(newest), Some(trailer)) = (newest, trailer) else { return false };
        let ahead = u64::from(trailer & !ENCRYPTED).saturating_sub(newest);
        (1..=RTCP_AHEAD_MAX).contains(&ahead)
    }
}

impl fmt::Debug for Unprotect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unprotect").field("profile", &self.profile()).finish_non_exhaustive()
    }
}

/// The index that `sequence` most likely stands for, next to the `newest` one (RFC 3711 section
/// 3.3.1). `None` if that is before the stream's start.
fn estimate_index(newest: Option<u64>, sequence: u16) -> Option<u64> {
    let Some(newest) = newest else { return Some(sequence.into()) };
    // The distance to the nearest index with these low bits, -2^15 to 2^15 - 1.
    let distance = sequence.wrapping_sub(newest as u16).cast_signed();
    // RFC 3711 section 3.2.1: 48 bits are all that one key may count.
    newest.checked_add_signed(distance.into()).filter(|index| *index < 1 << 48)
}

/// Replay windows by SSRC: few, so a list is the fastest table.
#[derive(Default)]
struct Streams {
    ssrcs: SmallVec<[u32; 8]>,
    windows: Vec<ReplayWindow>,
}

impl Streams {
    /// The place of `ssrc`, if it has sent before.
    fn find(&self, ssrc: u32) -> Result<Option<usize>, UnprotectError> {
        match self.ssrcs.iter().position(|known| *known == ssrc) {
            None if self.ssrcs.len() >= STREAMS_MAX => Err(UnprotectError::SsrcLimit),
            place => Ok(place),
        }
    }

    fn window(&self, place: Option<usize>) -> Option<&ReplayWindow> {
        self.windows.get(place?)
    }

    fn newest(&self, place: Option<usize>) -> Option<u64> {
        self.window(place)?.newest()
    }

    /// Whether a packet is worth opening.
    fn check(&self, place: Option<usize>, index: u64) -> Result<(), UnprotectError> {
        let is_new = self.window(place).is_none_or(|window| window.is_new(index));
        if is_new { Ok(()) } else { Err(UnprotectError::Replayed) }
    }

    /// Remembers a packet that proved to be the peer's: only those take room here.
    fn mark(&mut self, place: Option<usize>, ssrc: u32, index: u64) {
        let place = place.unwrap_or_else(|| {
            self.ssrcs.push(ssrc);
            self.windows.push(ReplayWindow::default());
            self.windows.len() - 1
        });
        if let Some(window) = self.windows.get_mut(place) {
            window.mark(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_follows_the_sequence_number_over_the_wrap_and_back() {
        assert_eq!(estimate_index(None, 65_000), Some(65_000));
        assert_eq!(estimate_index(Some(65_535), 0), Some(65_536));
        assert_eq!(estimate_index(Some(65_536), 65_535), Some(65_535));
        assert_eq!(estimate_index(Some(0x3_0005), 0xfffe), Some(0x2_fffe));
        assert_eq!(estimate_index(Some(3), 0xfffe), None, "before the first packet");
        assert_eq!(estimate_index(Some((1 << 48) - 1), 0), None, "the key is used up");
    }
}
