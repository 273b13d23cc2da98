//! Header extensions: which values travel from a publisher to its viewers.

use bytes::Bytes;
use weir_source::{Packet, PacketExtensions, TrackId};

use super::config::Wall;
use crate::wire::ext::{AbsCaptureTime, AudioLevel, Values};

/// abs-capture-time goes with keyframes and with one packet of sound in this many; receivers
/// interpolate. With other packets of pictures it would make one of a frame longer than the rest,
/// and a message of many segments two.
const CAPTURE_TIME_EVERY: u64 = 32;

/// The values worth keeping.
pub(super) fn to_packet(values: &Values<'_>) -> PacketExtensions {
    PacketExtensions {
        audio_level: values.audio_level.map(|level| level.0),
        video_orientation: values.video_orientation,
        playout_delay: values.playout_delay,
        dependency_descriptor: values.dependency_descriptor.map(Bytes::copy_from_slice),
    }
}

/// The values for a viewer whose media section is `mid`. A function of the packet alone: a
/// retransmission under the same number must be the same byte for byte.
pub(super) fn to_viewer<'a>(packet: &'a Packet, mid: &'a str, wall: Wall) -> Values<'a> {
    let extensions = &packet.extensions;
    let timed = packet.keyframe || (packet.track == TrackId::AUDIO && packet.seq.is_multiple_of(CAPTURE_TIME_EVERY));
    Values {
        mid: Some(mid),
        audio_level: extensions.audio_level.map(AudioLevel),
        video_orientation: extensions.video_orientation,
        playout_delay: extensions.playout_delay,
        abs_capture_time: timed.then(|| AbsCaptureTime { at: wall.ntp(packet.capture), clock_offset: None }),
        dependency_descriptor: extensions.dependency_descriptor.as_deref(),
        ..Values::default()
    }
}
