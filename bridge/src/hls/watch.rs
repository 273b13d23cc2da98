//! Who is told of finished segments.

use std::time::Duration;

use weir_source::StreamKey;

/// A segment that players can get now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished<'a> {
    /// Its file name, next to the playlist's.
    pub name: &'a str,
    /// Its media sequence number.
    pub seq: u64,
    /// How long it plays.
    pub duration: Duration,
}

/// Is told of each finished segment of every stream, in order, by the stream's segmenter: must not
/// block.
pub trait SegmentWatch: Send + Sync {
    /// It is on the playlist.
    fn finished(&self, key: &StreamKey, segment: Finished<'_>);
}
