//! One coded frame.

use std::{
    collections::VecDeque,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;

use crate::{MediaKind, MediaTime, RingItem, Track};

/// One coded frame in the one form that all containers are written from. Cloning shares the data.
///
/// H.264 and H.265 are access units of NAL units, each behind a four-byte big-endian length, with
/// neither parameter sets (they are in [`Track::config`]) nor access unit delimiters. AAC is a raw
/// access unit without ADTS; Opus is one packet.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The track as it stood for this frame. A reader that sees another `Arc` with another
    /// [`Track::config`] has met a change of parameters.
    pub track: Arc<Track>,
    /// Which publisher wrote it; set by the source when it enters the ring.
    pub epoch: u32,
    /// Decoding time: rises within a track.
    pub dts: MediaTime,
    /// Presentation time: `dts` or later.
    pub pts: MediaTime,
    /// Decoding can start here. Every audio frame is one too.
    pub keyframe: bool,
    /// The coded bytes.
    pub data: Bytes,
    /// This frame as containers write it, made by the first reader that needs it and shared by all.
    pub muxed: Arc<Muxed>,
}

/// A frame as containers write it, each form made at most once.
#[derive(Debug, Default)]
pub struct Muxed {
    /// With the size of its chunks.
    rtmp: OnceLock<(usize, Bytes)>,
    flv: OnceLock<Bytes>,
}

impl Muxed {
    /// The frame as one RTMP message in chunks of a size. `make` runs for the first caller, and for those
    /// with another size than that one's: a stream has one, but for players from before a reload.
    pub fn rtmp(&self, chunk_size: usize, make: impl Fn() -> Bytes) -> Bytes {
        match self.rtmp.get_or_init(|| (chunk_size, make())) {
            (size, shared) if *size == chunk_size => shared.clone(),
            _ => make(),
        }
    }

    /// The frame as one FLV tag with its trailing size. `make` runs for the first caller only, so all
    /// callers must make the same bytes.
    pub fn flv(&self, make: impl FnOnce() -> Bytes) -> Bytes {
        self.flv.get_or_init(make).clone()
    }
}

impl Frame {
    /// A frame as a writer hands it over.
    pub fn new(track: Arc<Track>, dts: MediaTime, pts: MediaTime, keyframe: bool, data: Bytes) -> Self {
        Self { track, epoch: 0, dts, pts, keyframe, data, muxed: Arc::default() }
    }

    /// Audio or video.
    pub fn kind(&self) -> MediaKind {
        self.track.kind()
    }
}

impl RingItem for Frame {
    type Store = VecDeque<Self>;

    fn cost(&self) -> usize {
        self.data.len()
    }

    fn is_join_point(&self) -> bool {
        self.keyframe && self.kind() == MediaKind::Video
    }

    fn time(&self) -> MediaTime {
        self.dts
    }
}
