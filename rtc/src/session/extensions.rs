//! Header extensions: which values travel from a publisher to its viewers.

use std::time::Duration;

use bytes::Bytes;
use weir_source::{Packet, PacketExtensions, TemporalPlace, TrackId};

use super::config::Wall;
use crate::{
    sdp::MediaParams,
    wire::{
        Ntp,
        ext::{AbsCaptureTime, AbsSendTime, AudioLevel, ExtensionIds, Values},
    },
};

/// abs-capture-time goes with keyframes and with one packet of sound in this many; receivers
/// interpolate. With other packets of pictures it would make one of a frame longer than the rest,
/// and a message of many segments two.
const CAPTURE_TIME_EVERY: u64 = 32;

/// The values worth keeping.
pub(super) fn to_packet(values: &Values<'_>, temporal: Option<TemporalPlace>) -> PacketExtensions {
    PacketExtensions {
        audio_level: values.audio_level.map(|level| level.0),
        video_orientation: values.video_orientation,
        playout_delay: values.playout_delay,
        dependency_descriptor: values.dependency_descriptor.map(Bytes::copy_from_slice),
        temporal,
    }
}

/// What a viewer's packet carries besides the source's values.
#[derive(Clone, Copy)]
pub(super) struct Own<'a> {
    /// The viewer's media section.
    pub(super) mid: &'a str,
    pub(super) wall: Wall,
    pub(super) transport_seq: Option<u16>,
    /// On the session's clock.
    pub(super) sent_ms: u32,
}

/// The values for a viewer. A function of its arguments alone: a retransmission under the same
/// number must be the same byte for byte.
pub(super) fn to_viewer<'a>(packet: &'a Packet, own: &Own<'a>) -> Values<'a> {
    let extensions = &packet.extensions;
    let timed = packet.keyframe || (packet.track == TrackId::AUDIO && packet.seq.is_multiple_of(CAPTURE_TIME_EVERY));
    let since_start = Ntp(0).plus(Duration::from_millis(u64::from(own.sent_ms)));
    Values {
        mid: Some(own.mid),
        transport_seq: own.transport_seq,
        abs_send_time: Some(AbsSendTime::from_ntp(since_start)),
        audio_level: extensions.audio_level.map(AudioLevel),
        video_orientation: extensions.video_orientation,
        playout_delay: extensions.playout_delay,
        abs_capture_time: timed.then(|| AbsCaptureTime { at: own.wall.ntp(packet.capture), clock_offset: None }),
        dependency_descriptor: extensions.dependency_descriptor.as_deref(),
        ..Values::default()
    }
}

/// The ids of a bundle: one id means one thing in all of its sections (RFC 8843 section 9.1).
pub(super) fn merged_ids(media: &[MediaParams]) -> ExtensionIds {
    media.iter().map(|media| media.extensions).fold(ExtensionIds::default(), |all, ids| ExtensionIds {
        mid: all.mid.or(ids.mid),
        rid: all.rid.or(ids.rid),
        repaired_rid: all.repaired_rid.or(ids.repaired_rid),
        transport_cc: all.transport_cc.or(ids.transport_cc),
        abs_send_time: all.abs_send_time.or(ids.abs_send_time),
        audio_level: all.audio_level.or(ids.audio_level),
        video_orientation: all.video_orientation.or(ids.video_orientation),
        playout_delay: all.playout_delay.or(ids.playout_delay),
        abs_capture_time: all.abs_capture_time.or(ids.abs_capture_time),
        dependency_descriptor: all.dependency_descriptor.or(ids.dependency_descriptor),
    })
}
