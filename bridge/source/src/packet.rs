//! One RTP packet in plain text.

use bytes::Bytes;

use crate::{MediaTime, RingItem, TrackId, shelf::Shelf};

/// Values of header extensions that are worth carrying from a publisher to its viewers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PacketExtensions {
    /// Client-to-mixer audio level (RFC 6464), the one byte as it came.
    pub audio_level: Option<u8>,
    /// Video orientation (3GPP TS 26.114 7.4.5), the one byte as it came.
    pub video_orientation: Option<u8>,
    /// Playout delay (libwebrtc), the three bytes as they came.
    pub playout_delay: Option<[u8; 3]>,
    /// AV1 dependency descriptor, as it came.
    pub dependency_descriptor: Option<Bytes>,
    /// What it says of temporal layers.
    pub temporal: Option<TemporalPlace>,
}

/// Which parts of its stream need a picture. Part `n`, 0 to 7, is the one of all temporal layers up to `n`;
/// where there are fewer, the upper ones are all the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TemporalPlace {
    /// Its own layer, 0 for the one that all others build on.
    pub layer: u8,
    /// A bit for each part that it is in.
    pub needed: u8,
    /// A bit for each part that can be decoded from here on if this picture can.
    pub switch: u8,
}

/// One RTP packet of a source, decrypted, without padding. Cloning shares the payload; a ring gives
/// each reader a copy.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Which track of the packets lane.
    pub track: TrackId,
    /// Which publisher wrote it; set by the source when it enters the ring. A viewer that sees it
    /// change must wait for the next keyframe.
    pub epoch: u32,
    /// Extended sequence number. The writer gives its own; in the ring it counts from 0 per track and
    /// goes on from publisher to publisher. Gaps are packets that never came.
    pub seq: u64,
    /// Extended RTP timestamp in the track's clock rate. Continuous as `seq` is.
    pub timestamp: u64,
    /// The source's time that `timestamp` stands for.
    pub capture: MediaTime,
    /// The RTP marker bit.
    pub marker: bool,
    /// A keyframe starts with this packet.
    pub keyframe: bool,
    /// Header extensions to pass on.
    pub extensions: PacketExtensions,
    /// The RTP payload.
    pub payload: Bytes,
}

impl RingItem for Packet {
    type Store = Shelf;

    fn cost(&self) -> usize {
        self.payload.len()
    }

    fn is_join_point(&self) -> bool {
        self.keyframe
    }

    fn join_track(&self) -> TrackId {
        self.track
    }

    fn time(&self) -> MediaTime {
        self.capture
    }
}
