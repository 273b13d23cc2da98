//! Bytes to values and back: what a datagram is, RTP, RTCP, header extensions, STUN.
//!
//! Stateless and free of allocation on the parsing side: parsers borrow from the datagram and every
//! one of them refuses, without a panic, what it does not understand. Keys are used only to check
//! and to write STUN's MESSAGE-INTEGRITY; SRTP is another room.

pub(crate) mod bits;
pub mod demux;
pub mod dependency;
pub mod ext;
pub mod framing;
pub mod ntp;
pub(crate) mod read;
pub mod rtcp;
pub mod rtp;
pub mod stun;

pub use ntp::Ntp;
