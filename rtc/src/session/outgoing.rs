//! One stream to one viewer: its numbers, its history, and its packets as they go on the wire.

use std::time::Duration;

use weir_source::{Codec, MediaKind, Packet};

use super::{
    config::Wall,
    descriptor::{Descriptor, PATCH_MAX, Patch},
    extensions::{self, Own},
    fill::{Fill, Padding},
    history::{History, SIZE_AUDIO, SIZE_VIDEO, Sent},
    report::SenderReports,
    rewrite::Rewrite,
    rtx::{self, OSN_LEN, Rtx},
};
use crate::{
    sdp::MediaParams,
    srtp::Protect,
    wire::{
        ext::{ExtensionIds, Values},
        rtp::Fields,
    },
};

/// In the first byte (RFC 3550 5.1).
const PADDING_BIT: u8 = 0x20;

/// The longest dependency descriptor: what a two-byte header extension holds (RFC 8285 4.3).
const DEPENDENCIES_MAX: usize = 255;
/// Longer payloads do not fit a datagram and are never padded.
const PAYLOAD_MAX: usize = 1_500;

/// One stream to one viewer.
pub(super) struct Outgoing {
    pub(super) media: MediaParams,
    pub(super) ids: ExtensionIds,
    pub(super) ssrc: u32,
    pub(super) clock_rate: u32,
    /// What the source sends now.
    pub(super) codec: Codec,
    /// Its number; `None` if the viewer did not agree to it.
    pub(super) payload_type: Option<u8>,
    pub(super) rewrite: Rewrite,
    pub(super) history: History,
    /// Where retransmissions go, if the viewer offered a stream for them.
    pub(super) rtx: Option<Rtx>,
    pub(super) reports: SenderReports,
    /// What the viewer last said.
    pub(super) lost: u64,
    pub(super) jitter: Duration,
}

/// The numbers under which a packet goes out. All else of its header is its own.
#[derive(Clone, Copy)]
pub(super) struct Form {
    pub(super) ssrc: u32,
    pub(super) payload_type: u8,
    /// RFC 3711 3.3.1: the roll-over counter and the sequence number.
    pub(super) index: u64,
    pub(super) timestamp: u32,
    /// Before the payload of a retransmission (RFC 4588 4).
    pub(super) osn: Option<[u8; OSN_LEN]>,
    pub(super) fill: Fill,
    pub(super) transport_seq: Option<u16>,
    pub(super) sent_ms: u32,
    /// How the picture's numbers are changed, …
    pub(super) patch: Patch,
    /// … and where they are.
    pub(super) read: Option<Descriptor>,
}

/// Where a packet comes from and what it goes with.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// In the ring.
    pub(super) position: u64,
    pub(super) fill: Fill,
}

impl Outgoing {
    pub(super) fn new(media: &MediaParams) -> Self {
        let video = media.kind == MediaKind::Video;
        let codec = media.codecs.first();
        let clock_rate = codec.map_or(90_000, |codec| codec.clock_rate);
        Self {
            ids: media.extensions,
            ssrc: media.local_ssrc,
            clock_rate,
            codec: codec.map_or(Codec::H264, |codec| codec.codec),
            payload_type: codec.map(|codec| codec.payload_type),
            rewrite: Rewrite::new(video, clock_rate, rand::random()),
            history: History::new(if video { SIZE_VIDEO } else { SIZE_AUDIO }),
            rtx: media.rtx_ssrc.map(|ssrc| Rtx::new(ssrc, rand::random())),
            reports: SenderReports::default(),
            lost: 0,
            jitter: Duration::ZERO,
            media: media.clone(),
        }
    }

    /// On the stream itself: the same bytes for the same `sent` and packet.
    pub(super) fn original(&self, sent: &Sent) -> Form {
        Form {
            ssrc: self.ssrc,
            payload_type: sent.payload_type,
            index: sent.out_seq,
            timestamp: sent.timestamp,
            osn: None,
            fill: Fill::Exactly(sent.padding),
            transport_seq: sent.transport_seq,
            sent_ms: sent.sent_ms,
            patch: sent.patch,
            read: None,
        }
    }

    /// On the retransmission stream. `None` if there is no such stream, or none for the codec that the
    /// packet went out with.
    pub(super) fn repair(&self, sent: &Sent) -> Option<Form> {
        let rtx = self.rtx.as_ref()?;
        Some(Form {
            ssrc: rtx.ssrc(),
            payload_type: self.media.payload_type(sent.payload_type)?.rtx_payload_type?,
            index: rtx.next_seq(),
            timestamp: sent.timestamp,
            osn: Some(rtx::osn(sent.out_seq)),
            fill: Fill::None,
            transport_seq: sent.transport_seq,
            sent_ms: sent.sent_ms,
            patch: sent.patch,
            read: None,
        })
    }

    /// Writes and encrypts one packet. Its length and the padding in it.
    pub(super) fn seal(
        &self,
        form: &Form,
        packet: &Packet,
        wall: Wall,
        protect: &Protect,
        header: &mut [u8],
        out: &mut [u8],
    ) -> Option<(usize, u8)> {
        let fields = Fields {
            marker: packet.marker,
            payload_type: form.payload_type,
            sequence: form.index as u16,
            timestamp: form.timestamp,
            ssrc: form.ssrc,
        };
        let own = Own { mid: &self.media.mid, wall, transport_seq: form.transport_seq, sent_ms: form.sent_ms };
        let values = extensions::to_viewer(packet, &own);
        let header_len = match form.read.filter(|read| read.in_header && !form.patch.is_none()) {
            Some(read) => emit_renumbered(&fields, values, &read, form.patch, &self.ids, header)?,
            None => fields.emit_with(false, &values, &self.ids, header)?,
        };
        let roc = (form.index >> 16) as u32;
        let payload = &packet.payload[..];
        let mut start = [0; OSN_LEN + PATCH_MAX];
        let (start_len, rest) = form.open(payload, &mut start)?;
        let start = start.get(..start_len)?;
        let padding = match form.osn {
            Some(_) => 0,
            None if !start.is_empty() && payload.len() > PAYLOAD_MAX => 0,
            None => form.fill.padding(payload.len(), header_len + payload.len() + protect.profile().tag_len()),
        };
        if padding == 0 {
            return Some((protect.rtp_parts_into(roc, header.get(..header_len)?, [start, rest], out)?, 0));
        }
        *header.first_mut()? |= PADDING_BIT;
        let bytes = Padding::new(padding);
        let (header, padded) = (header.get(..header_len)?, bytes.as_bytes());
        let len = if start.is_empty() {
            protect.rtp_padded_into(roc, header, payload, padded, out)?
        } else {
            // The cipher takes two parts.
            let mut whole = [0; PAYLOAD_MAX];
            whole.get_mut(..start.len())?.copy_from_slice(start);
            whole.get_mut(start.len()..payload.len())?.copy_from_slice(rest);
            protect.rtp_padded_into(roc, header, whole.get(..payload.len())?, padded, out)?
        };
        Some((len, padding))
    }
}

/// As `Fields::emit_with`, with a changed copy of the dependency descriptor. Apart, for its room on the
/// stack is not to be cleared for every packet.
#[inline(never)]
fn emit_renumbered(
    fields: &Fields,
    values: Values<'_>,
    read: &Descriptor,
    patch: Patch,
    ids: &ExtensionIds,
    header: &mut [u8],
) -> Option<usize> {
    let own = values.dependency_descriptor?;
    let mut room = [0; DEPENDENCIES_MAX];
    let copy = room.get_mut(..own.len())?;
    copy.copy_from_slice(own);
    read.apply(patch, copy);
    fields.emit_with(false, &Values { dependency_descriptor: Some(copy), ..values }, ids, header)
}

impl Form {
    /// Writes what is not shared of the payload into `start`; returns its length and the rest.
    fn open<'a>(&self, payload: &'a [u8], start: &mut [u8]) -> Option<(usize, &'a [u8])> {
        let osn = self.osn.as_ref().map_or(&[][..], |osn| &osn[..]);
        start.get_mut(..osn.len())?.copy_from_slice(osn);
        let Some(read) = self.read.filter(|read| !read.in_header && !self.patch.is_none()) else {
            return Some((osn.len(), payload));
        };
        let (head, rest) = payload.split_at(PATCH_MAX.min(payload.len()));
        let place = start.get_mut(osn.len()..osn.len() + head.len())?;
        place.copy_from_slice(head);
        read.apply(self.patch, place);
        Some((osn.len() + head.len(), rest))
    }
}
