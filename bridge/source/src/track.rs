//! Tracks: what a lane of a source carries.

use std::sync::Arc;

use bytes::Bytes;

/// Audio or video.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MediaKind {
    /// Sound.
    Audio,
    /// Picture.
    Video,
}

/// The codecs that the server knows by name. It decodes only audio, and only to bridge it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// ITU-T H.264, also AVC.
    H264,
    /// ITU-T H.265, also HEVC.
    H265,
    /// VP8 (RFC 6386).
    Vp8,
    /// VP9.
    Vp9,
    /// AV1.
    Av1,
    /// Opus (RFC 6716).
    Opus,
    /// MPEG-4 AAC.
    Aac,
    /// MPEG audio layer III.
    Mp3,
    /// G.711 µ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
}

impl Codec {
    /// Audio or video.
    pub const fn kind(self) -> MediaKind {
        match self {
            Self::H264 | Self::H265 | Self::Vp8 | Self::Vp9 | Self::Av1 => MediaKind::Video,
            Self::Opus | Self::Aac | Self::Mp3 | Self::Pcmu | Self::Pcma => MediaKind::Audio,
        }
    }

    /// The name as RTP and SRS's API write it: `H264`, `opus` is given as `Opus`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::H264 => "H264",
            Self::H265 => "HEVC",
            Self::Vp8 => "VP8",
            Self::Vp9 => "VP9",
            Self::Av1 => "AV1",
            Self::Opus => "Opus",
            Self::Aac => "AAC",
            Self::Mp3 => "MP3",
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
        }
    }
}

/// Which track of a lane: 0 for the audio, 1 for the video of most sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrackId(u8);

impl TrackId {
    /// The most tracks a lane holds. Two are usual; simulcast and a second language fit too.
    pub const MAX: usize = 8;
    /// The audio track of sources that have one of each kind.
    pub const AUDIO: Self = Self(0);
    /// The video track of sources that have one of each kind.
    pub const VIDEO: Self = Self(1);

    /// The track at `index`, or `None` past [`TrackId::MAX`].
    pub const fn new(index: u8) -> Option<Self> {
        if (index as usize) < Self::MAX { Some(Self(index)) } else { None }
    }

    /// Below [`TrackId::MAX`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Some of a lane's tracks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrackSet(u8);

impl TrackSet {
    /// One track.
    pub const fn of(track: TrackId) -> Self {
        Self(1 << track.0)
    }

    /// From its bits, the lowest for track 0.
    pub(crate) const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    pub(crate) const fn bits(self) -> u8 {
        self.0
    }

    /// Adds a track.
    pub const fn insert(&mut self, track: TrackId) {
        self.0 |= 1 << track.0;
    }

    /// Whether it is among them.
    pub const fn contains(self, track: TrackId) -> bool {
        self.0 & 1 << track.0 != 0
    }

    /// There is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those in it, in their order.
    pub fn iter(self) -> impl Iterator<Item = TrackId> {
        (0..8).map(TrackId).filter(move |track| self.contains(*track))
    }
}

/// Picture facts, read from the parameter sets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VideoInfo {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Frames per second, where the stream says.
    pub fps: Option<f64>,
    /// `Baseline`, `Main`, `High` …
    pub profile: String,
    /// `3.1` …
    pub level: String,
}

/// One track as it stands now. Immutable: a change of parameters is a new `Track`.
#[derive(Clone, Debug, PartialEq)]
pub struct Track {
    /// Its place in the lane.
    pub id: TrackId,
    /// The codec; says whether it is audio or video.
    pub codec: Codec,
    /// RTP clock rate in Hz: 90,000 for video, 48,000 for Opus, the sample rate for AAC.
    pub clock_rate: u32,
    /// Audio channels, 0 for video.
    pub channels: u8,
    /// Decoder configuration, opaque here: AVCDecoderConfigurationRecord or its HEVC sibling
    /// (ISO/IEC 14496-15), AudioSpecificConfig (ISO/IEC 14496-3). Empty where the codec needs none
    /// or where it travels in-band (packets lane).
    pub config: Bytes,
    /// The `a=fmtp` parameters of the publisher (packets lane), empty otherwise.
    pub fmtp: String,
    /// Picture facts, once known.
    pub video: Option<VideoInfo>,
    /// Which of several encodings of one picture it is (packets lane); `None` where there is one.
    pub layer: Option<Layer>,
}

/// One of the encodings of a simulcast picture (RFC 8853). Each is a track of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The publisher's name for it.
    pub rid: String,
    /// 0 is the best. Changes when the pictures' sizes become known.
    pub rank: u8,
    /// Width and height in pixels, once seen.
    pub size: Option<(u32, u32)>,
}

impl Track {
    /// A track without configuration, facts or parameters.
    pub fn new(id: TrackId, codec: Codec, clock_rate: u32, channels: u8) -> Self {
        Self { id, codec, clock_rate, channels, config: Bytes::new(), fmtp: String::new(), video: None, layer: None }
    }

    /// Audio or video.
    pub const fn kind(&self) -> MediaKind {
        self.codec.kind()
    }

    /// 0 for the only or the best encoding.
    pub fn rank(&self) -> u8 {
        self.layer.as_ref().map_or(0, |layer| layer.rank)
    }
}

/// All tracks of a lane: an immutable snapshot, replaced whole.
#[derive(Clone, Debug, Default)]
pub struct Tracks {
    /// The tracks in order of their ids.
    pub list: Vec<Arc<Track>>,
    /// The publisher's `onMetaData` value as AMF0 bytes, empty where it sent none.
    pub metadata: Bytes,
}

impl Tracks {
    /// The first track of a kind; of simulcast layers the best.
    pub fn of_kind(&self, kind: MediaKind) -> Option<&Arc<Track>> {
        // Of equals `min_by_key` takes the first.
        self.list.iter().filter(|track| track.kind() == kind).min_by_key(|track| track.rank())
    }

    /// The encodings of the picture, the best first: one, or simulcast layers.
    pub fn pictures(&self) -> Vec<&Arc<Track>> {
        let mut pictures: Vec<_> = self.list.iter().filter(|track| track.kind() == MediaKind::Video).collect();
        pictures.sort_by_key(|track| track.rank());
        pictures
    }

    /// The first audio track.
    pub fn audio(&self) -> Option<&Arc<Track>> {
        self.of_kind(MediaKind::Audio)
    }

    /// The first video track; of simulcast layers the best.
    pub fn video(&self) -> Option<&Arc<Track>> {
        self.of_kind(MediaKind::Video)
    }

    /// The track with this id.
    pub fn get(&self, id: TrackId) -> Option<&Arc<Track>> {
        self.list.iter().find(|track| track.id == id)
    }

    /// This snapshot with `track` added or put in the place of the one with its id.
    pub fn with(&self, track: Arc<Track>) -> Self {
        let mut next = self.clone();
        match next.list.iter_mut().find(|old| old.id == track.id) {
            Some(old) => *old = track,
            None => next.list.push(track),
        }
        next.list.sort_by_key(|track| track.id);
        next
    }
}
