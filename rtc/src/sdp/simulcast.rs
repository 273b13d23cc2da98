//! Simulcast of a publisher: which of the offered encodings are taken (RFC 8853), and what the answer
//! says of them.
//!
//! We do not do this: alternatives beyond the first, encodings under another payload type than the one
//! chosen, simulcast towards players.

use weir_source::TrackId;

use super::offer::Attributes;
use super::params::LayerParams;

/// Layers served. Browsers make no more of one picture, and a fourth would be too small to be of use.
pub(super) const LAYERS_MAX: usize = 3;
/// RFC 8852 section 3: an id that a one-byte header extension can carry.
const RID_BYTES_MAX: usize = 16;
/// Entries of an attribute that are looked at.
const ENTRIES_MAX: usize = 16;

/// The encodings that an m-line offers to send.
#[derive(Debug, Default)]
pub(super) struct OfferedLayers(Vec<OfferedLayer>);

#[derive(Debug)]
struct OfferedLayer {
    rid: String,
    paused: bool,
    /// The payload types it is bound to; none for all.
    formats: Vec<u8>,
    ssrc: Option<u32>,
}

impl OfferedLayers {
    /// `a=simulcast:send` with the `a=rid` of each (RFC 8851), else `a=ssrc-group:SIM`.
    pub(super) fn parse(attributes: Attributes<'_>) -> Self {
        let streams = attributes.values("simulcast").find_map(sent);
        let Some(streams) = streams else { return Self(groups(attributes)) };
        let mut layers: Vec<OfferedLayer> = Vec::new();
        for alternatives in streams.split(';').take(ENTRIES_MAX) {
            // RFC 8853 section 5.1: alternatives stand in the order of preference.
            let first = alternatives.split(',').next().unwrap_or_default().trim();
            let (rid, paused) = first.strip_prefix('~').map_or((first, false), |rid| (rid, true));
            let restrictions = attributes.values("rid").find_map(|value| restrictions(value, rid));
            if let Some(restrictions) = restrictions
                && is_rid(rid)
                && layers.iter().all(|layer| layer.rid != rid)
            {
                layers.push(OfferedLayer { rid: rid.to_owned(), paused, formats: formats(restrictions), ssrc: None });
            }
        }
        Self(layers)
    }

    /// What is taken, the offer's order kept, if the picture is sent as `payload_type` and its packets
    /// can name their layer (`named`) or the offer has.
    pub(super) fn choose(&self, payload_type: u8, named: bool) -> Vec<LayerParams> {
        let usable = |layer: &&OfferedLayer| {
            let fits = layer.formats.is_empty() || layer.formats.contains(&payload_type);
            fits && (named || layer.ssrc.is_some())
        };
        self.0
            .iter()
            .filter(usable)
            .take(LAYERS_MAX)
            .zip(TRACKS)
            .map(|(layer, track)| LayerParams { rid: layer.rid.clone(), track, paused: layer.paused, ssrc: layer.ssrc })
            .collect()
    }
}

/// The tracks of layers in the offer's order; which is the best shows in their pictures.
const TRACKS: [TrackId; LAYERS_MAX] = match (TrackId::new(2), TrackId::new(3)) {
    (Some(second), Some(third)) => [TrackId::VIDEO, second, third],
    _ => [TrackId::VIDEO; LAYERS_MAX],
};

/// The value of `a=simulcast` in the answer, and those of `a=rid`. Nothing for layers that were offered
/// by SSRC.
pub(super) fn answer(layers: &[LayerParams]) -> Option<(String, Vec<String>)> {
    let named = || layers.iter().filter(|layer| layer.ssrc.is_none());
    // RFC 8853 section 5.3.2: a stream that the peer pauses is not asked to go on.
    let list: Vec<_> = named().map(|layer| format!("{}{}", if layer.paused { "~" } else { "" }, layer.rid)).collect();
    let rids = named().map(|layer| format!("{} recv", layer.rid)).collect();
    (!list.is_empty()).then(|| (format!("recv {}", list.join(";")), rids))
}

/// The streams of the `send` part.
fn sent(value: &str) -> Option<&str> {
    let mut words = value.split_ascii_whitespace();
    while let (Some(direction), Some(streams)) = (words.next(), words.next()) {
        if direction == "send" {
            return Some(streams);
        }
    }
    None
}

/// What follows `<rid> send` (RFC 8851 section 4), if the line is of that rid.
fn restrictions<'a>(value: &'a str, rid: &str) -> Option<&'a str> {
    let rest = value.strip_prefix(rid)?.strip_prefix(' ')?.trim_start().strip_prefix("send")?;
    (rest.is_empty() || rest.starts_with(' ')).then_some(rest)
}

/// `pt=96,97` among the restrictions.
fn formats(restrictions: &str) -> Vec<u8> {
    let list = restrictions.trim().split(';').find_map(|part| part.trim().strip_prefix("pt="));
    list.into_iter().flat_map(|list| list.split(',').take(ENTRIES_MAX)).filter_map(|pt| pt.trim().parse().ok()).collect()
}

/// What was used before there were rids: the SSRCs of the layers in one group.
fn groups(attributes: Attributes<'_>) -> Vec<OfferedLayer> {
    let ssrcs = attributes.values("ssrc-group").find_map(|group| group.strip_prefix("SIM "));
    let ssrcs = ssrcs.into_iter().flat_map(|list| list.split_ascii_whitespace().take(ENTRIES_MAX));
    let mut layers: Vec<OfferedLayer> = Vec::new();
    for ssrc in ssrcs.filter_map(|word| word.parse::<u32>().ok()) {
        if layers.iter().all(|layer| layer.ssrc != Some(ssrc)) {
            let rid = layers.len().to_string();
            layers.push(OfferedLayer { rid, paused: false, formats: Vec::new(), ssrc: Some(ssrc) });
        }
    }
    layers
}

/// RFC 8852 section 3.1: letters and digits; what browsers also write ("-" and "_") is understood.
fn is_rid(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=RID_BYTES_MAX).contains(&text.len()) && text.bytes().all(legal)
}
