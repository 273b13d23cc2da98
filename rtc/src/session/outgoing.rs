//! One stream to one viewer: its numbers, its history, and its packets as they go on the wire.

use std::time::Duration;

use weir_source::{MediaKind, Packet};

use super::{
    config::Wall,
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
    wire::{ext::ExtensionIds, rtp::Fields},
};

/// In the first byte (RFC 3550 5.1).
const PADDING_BIT: u8 = 0x20;

/// One stream to one viewer.
pub(super) struct Outgoing {
    pub(super) media: MediaParams,
    pub(super) ids: ExtensionIds,
    pub(super) ssrc: u32,
    pub(super) clock_rate: u32,
    /// Of the codec that the source sends now; `None` if the viewer did not agree to it.
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
        let header_len = fields.emit_with(false, &values, &self.ids, header)?;
        let roc = (form.index >> 16) as u32;
        let payload = &packet.payload[..];
        if let Some(osn) = &form.osn {
            return Some((protect.rtp_parts_into(roc, header.get(..header_len)?, [osn, payload], out)?, 0));
        }
        let padding = form.fill.padding(payload.len(), header_len + payload.len() + protect.profile().tag_len());
        if padding == 0 {
            return Some((protect.rtp_into(roc, header.get(..header_len)?, payload, out)?, 0));
        }
        *header.first_mut()? |= PADDING_BIT;
        let bytes = Padding::new(padding);
        Some((protect.rtp_padded_into(roc, header.get(..header_len)?, payload, bytes.as_bytes(), out)?, padding))
    }
}
