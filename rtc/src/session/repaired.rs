//! A publisher's retransmissions (RFC 4588): which packet of which stream each of them is.
//!
//! It makes bandwidth probing harmless, too: without a retransmission stream a browser probes with
//! padding under the numbers of its media, and what is lost of that can never be repaired.

use std::time::Instant;

use weir_source::{MediaKind, TrackId};

use super::{
    inbound::{Heard, Inbound},
    rtx::OSN_LEN,
    stats::SessionStats,
};
use crate::wire::{ext::Values, rtp};

/// Retransmission streams whose layer is remembered: one for each layer, and as many of a restart.
const REPAIR_STREAMS_MAX: usize = 6;

impl Inbound {
    /// The payload type of the media that packets of this one repair (the `apt` of RFC 4588 8.1).
    pub(super) fn repairs(&self, payload_type: u8) -> Option<u8> {
        let mut codecs = self.media.iter().flat_map(|media| &media.codecs);
        codecs.find(|codec| codec.rtx_payload_type == Some(payload_type)).map(|codec| codec.payload_type)
    }

    /// A packet of a retransmission stream. `payload_type`: of the media that it repairs.
    ///
    /// Which stream it repairs is told by who waits for its number: nothing else was asked for, and
    /// what was not asked for (a probe) is of no use.
    pub(super) fn handle_repair(
        &mut self,
        now: Instant,
        fields: &rtp::Fields,
        payload_type: u8,
        payload: &[u8],
        values: &Values<'_>,
        stats: &mut SessionStats,
    ) {
        let Some((osn, payload)) = payload.split_first_chunk::<OSN_LEN>() else {
            stats.drops.padding += 1;
            return;
        };
        let sequence = u16::from_be_bytes(*osn);
        let track = self.repaired_track(fields.ssrc, values);
        let waits = self.streams.iter().enumerate().filter(|(_, stream)| stream.active && stream.kind == MediaKind::Video);
        let mut found = waits
            .filter(|(_, stream)| track.is_none_or(|track| stream.track == track))
            .filter_map(|(place, stream)| Some((place, stream.ssrc, stream.gaps.hole(sequence)?)));
        // Of two layers that wait for one number, neither may get the other's.
        let (Some((place, ssrc, index)), None) = (found.next(), found.next()) else {
            stats.drops.padding += 1;
            return;
        };
        let fields = rtp::Fields { ssrc, payload_type, sequence, ..*fields };
        self.take(now, &Heard { place, index, fields, payload, values }, stats);
    }

    /// The simulcast layer whose retransmissions have this SSRC, as its first packets have told (RFC 8852
    /// section 3.1).
    fn repaired_track(&mut self, ssrc: u32, values: &Values<'_>) -> Option<TrackId> {
        if let Some((_, track)) = self.repair_streams.iter().find(|(known, _)| *known == ssrc) {
            return Some(*track);
        }
        let rid = values.repaired_rid?;
        let track = self.media.iter().flat_map(|media| &media.layers).find(|layer| layer.rid == rid)?.track;
        if self.repair_streams.len() >= REPAIR_STREAMS_MAX {
            self.repair_streams.remove(0);
        }
        self.repair_streams.push((ssrc, track));
        Some(track)
    }
}
