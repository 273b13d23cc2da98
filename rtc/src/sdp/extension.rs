//! RTP header extensions: which of the offered ones we carry.

use weir_source::MediaKind;

use super::offer::{Flow, OfferedExtension};
use super::{Direction, ExtensionIds};

/// The ids of those that we answer.
pub(super) fn choose(offered: &[OfferedExtension], kind: MediaKind, direction: Direction) -> ExtensionIds {
    let mut ids = ExtensionIds::default();
    for extension in offered {
        if !extension.direction.suits(direction) {
            continue;
        }
        let Some(&(_, select)) = carried(kind, direction).find(|(uri, _)| *uri == extension.uri) else { continue };
        let taken = all(&ids).any(|(_, id)| id == extension.id);
        let slot = select(&mut ids);
        // Two extensions with one id, or one with two: the first stands.
        if slot.is_none() && !taken {
            *slot = Some(extension.id);
        }
    }
    ids
}

/// What is negotiated, as (URI, id), for the answer.
pub(super) fn all(ids: &ExtensionIds) -> impl Iterator<Item = (&'static str, u8)> {
    let ids = *ids;
    EXTENSIONS.iter().filter_map(move |&(uri, select)| {
        let mut ids = ids;
        select(&mut ids).map(|id| (uri, id))
    })
}

/// Those of both, where they have the same id in both.
pub(super) fn common(one: &ExtensionIds, other: &ExtensionIds) -> ExtensionIds {
    let (mut both, mut other) = (*one, *other);
    for (_, select) in &EXTENSIONS {
        let same = *select(&mut other);
        let slot = select(&mut both);
        *slot = slot.filter(|_| *slot == same);
    }
    both
}

/// All that a player may be offered by us, numbered from 1.
pub(super) fn ours(kind: MediaKind) -> Vec<OfferedExtension> {
    let numbered = (1..).zip(carried(kind, Direction::Play));
    numbered.map(|(id, (uri, _))| OfferedExtension { id, uri: (*uri).to_owned(), direction: Flow::SendRecv }).collect()
}

/// The direction suffix of an answered `a=extmap`: only repeated when the offer had one.
pub(super) fn suffix(offered: &[OfferedExtension], id: u8) -> &'static str {
    match offered.iter().find(|extension| extension.id == id).map(|extension| extension.direction) {
        Some(Flow::SendOnly) => "/recvonly",
        Some(Flow::RecvOnly) => "/sendonly",
        _ => "",
    }
}

type Select = fn(&mut ExtensionIds) -> &mut Option<u8>;

fn carried(kind: MediaKind, direction: Direction) -> impl Iterator<Item = &'static (&'static str, Select)> {
    EXTENSIONS.iter().filter(move |(uri, _)| match *uri {
        ABS_SEND_TIME => direction == Direction::Play,
        AUDIO_LEVEL => kind == MediaKind::Audio,
        // A publisher that may not signal rotation rotates the picture itself, which is what the
        // viewers behind RTMP and HLS need; so there is none to pass on to players either.
        VIDEO_ORIENTATION => false,
        PLAYOUT_DELAY | DEPENDENCY_DESCRIPTOR => kind == MediaKind::Video,
        // Names simulcast layers. Kept only with them.
        RID | REPAIRED_RID => kind == MediaKind::Video && direction == Direction::Publish,
        _ => true,
    })
}

const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
const RID: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
const REPAIRED_RID: &str = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";
const TRANSPORT_CC: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
const ABS_SEND_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time";
const AUDIO_LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
const VIDEO_ORIENTATION: &str = "urn:3gpp:video-orientation";
const PLAYOUT_DELAY: &str = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay";
const ABS_CAPTURE_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time";
const DEPENDENCY_DESCRIPTOR: &str = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";

/// All that have a place in [`ExtensionIds`], in the order in which an answer lists them.
const EXTENSIONS: [(&str, Select); 10] = [
    (MID, |ids| &mut ids.mid),
    (RID, |ids| &mut ids.rid),
    (REPAIRED_RID, |ids| &mut ids.repaired_rid),
    (TRANSPORT_CC, |ids| &mut ids.transport_cc),
    (ABS_SEND_TIME, |ids| &mut ids.abs_send_time),
    (AUDIO_LEVEL, |ids| &mut ids.audio_level),
    (VIDEO_ORIENTATION, |ids| &mut ids.video_orientation),
    (PLAYOUT_DELAY, |ids| &mut ids.playout_delay),
    (ABS_CAPTURE_TIME, |ids| &mut ids.abs_capture_time),
    (DEPENDENCY_DESCRIPTOR, |ids| &mut ids.dependency_descriptor),
];
