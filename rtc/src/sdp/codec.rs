//! Payload formats: what an m-line offers and which of it we choose.

use weir_source::{Codec, MediaKind, Track};

use super::offer::Attributes;
use super::{CodecParams, Direction, NegotiateError};

/// One payload type of an offer.
#[derive(Debug, Default)]
pub(super) struct Format {
    pub(super) payload_type: u8,
    name: String,
    clock_rate: u32,
    channels: u8,
    fmtp: String,
    nack: bool,
    pli: bool,
    transport_cc: bool,
    remb: bool,
}

/// What decides between the offered formats.
pub(super) struct Wish<'a> {
    pub(super) direction: Direction,
    /// The query's `codec=`, if it is of this kind.
    pub(super) forced: Option<Codec>,
    /// The track that a player is about to get, if the stream is live.
    pub(super) live: Option<&'a Track>,
    /// Lost packets may be asked for.
    pub(super) nack: bool,
    /// The transport-wide extension can be used.
    pub(super) transport_cc: bool,
}

/// Reads the formats of an m-line with their `a=rtpmap`, `a=fmtp` and `a=rtcp-fb`.
pub(super) fn formats(listed: &[String], attributes: Attributes<'_>) -> Result<Vec<Format>, NegotiateError> {
    let mut formats: Vec<Format> = Vec::with_capacity(listed.len().min(128));
    for word in listed {
        let payload_type = payload_type(word).ok_or(NegotiateError::Malformed("a payload type is not 0 to 127"))?;
        if formats.iter().all(|format| format.payload_type != payload_type) {
            formats.push(Format::assigned(payload_type));
        }
    }
    for value in attributes.values("rtpmap") {
        if let Some((format, encoding)) = named(&mut formats, value)? {
            format.set_encoding(encoding);
        }
    }
    for value in attributes.values("fmtp") {
        if let Some((format, parameters)) = named(&mut formats, value)?
            && format.fmtp.is_empty()
        {
            parameters.trim().clone_into(&mut format.fmtp);
        }
    }
    for value in attributes.values("rtcp-fb") {
        match value.split_once(' ') {
            Some(("*", feedback)) => formats.iter_mut().for_each(|format| format.add_feedback(feedback)),
            _ => {
                if let Some((format, feedback)) = named(&mut formats, value)? {
                    format.add_feedback(feedback);
                }
            }
        }
    }
    check_repair(&formats)?;
    Ok(formats)
}

/// All that we can send, as an m-line would list it. The numbers are those that Chromium uses.
pub(super) fn ours(kind: MediaKind) -> Vec<Format> {
    if kind == MediaKind::Audio {
        let opus = Format {
            payload_type: 111,
            name: "opus".to_owned(),
            clock_rate: 48_000,
            channels: 2,
            fmtp: "minptime=10;useinbandfec=1".to_owned(),
            transport_cc: true,
            ..Format::default()
        };
        return vec![opus, Format::assigned(0), Format::assigned(8)];
    }
    let video = |payload_type: u8, name: &str, fmtp: String| Format {
        payload_type,
        name: name.to_owned(),
        clock_rate: 90_000,
        channels: 1,
        fmtp,
        ..Format::default()
    };
    let mut formats = Vec::with_capacity(2 * OURS.len());
    for (payload_type, codec, fmtp) in OURS {
        let original = video(payload_type, encoding_name(codec), fmtp.to_owned());
        formats.push(Format { nack: true, pli: true, transport_cc: true, ..original });
        formats.push(video(payload_type + 1, "rtx", format!("apt={payload_type}")));
    }
    formats
}

/// The agreed codecs, the preferred first; empty if there is nothing in common.
///
/// A publisher gets exactly one, so that nothing has to be decided packet by packet. A player gets
/// all that it offers, each once: a publisher that comes back with another codec still plays.
pub(super) fn choose(formats: &[Format], kind: MediaKind, wish: &Wish<'_>) -> Vec<CodecParams> {
    let order: &[Codec] = match kind {
        MediaKind::Video => &VIDEO,
        MediaKind::Audio => &AUDIO,
    };
    let live = wish.live.map(|track| track.codec).filter(|codec| order.contains(codec));
    let first = match wish.direction {
        Direction::Publish => wish.forced,
        Direction::Play => live.or(wish.forced),
    };
    let mut chosen: Vec<CodecParams> = Vec::new();
    for codec in first.into_iter().chain(order.iter().copied()) {
        if chosen.iter().all(|params| params.codec != codec)
            && let Some(format) = best(formats, codec, wish.live)
        {
            let params = format.params(codec, wish);
            let rtx_payload_type = params.nack.then(|| repair(formats, format)).flatten();
            chosen.push(CodecParams { rtx_payload_type, ..params });
        }
        // What is asked for or already on air cannot be replaced by another codec.
        if chosen.is_empty() && first == Some(codec) && (wish.direction == Direction::Publish || live == Some(codec)) {
            return chosen;
        }
        if wish.direction == Direction::Publish && !chosen.is_empty() {
            break;
        }
    }
    chosen
}

/// The `a=fmtp` parameters of an answer, empty for none.
pub(super) fn answer_fmtp(params: &CodecParams, direction: Direction) -> String {
    // `sprop-` parameters describe the sender's own stream, and the sender in an answer is not
    // the one that wrote the offer.
    let mut parts: Vec<&str> =
        params.fmtp.split(';').map(str::trim).filter(|part| !part.is_empty() && !part.starts_with("sprop-")).collect();
    if params.codec == Codec::Opus {
        let has = |parts: &[&str], key: &str| parts.iter().any(|part| part.split('=').next() == Some(key));
        // RFC 7587 section 6.1: `stereo` is what the writer likes to receive, `sprop-stereo` what
        // it is likely to send. Without them browsers play and send mono.
        let stereo = direction == Direction::Play || parameter(&params.fmtp, "sprop-stereo") == Some("1");
        if stereo && !has(&parts, "stereo") {
            parts.push("stereo=1");
        }
        if direction == Direction::Play {
            parts.push("sprop-stereo=1");
        }
    }
    parts.join(";")
}

/// The name in `a=rtpmap`.
pub(super) const fn encoding_name(codec: Codec) -> &'static str {
    match codec {
        Codec::H265 => "H265",
        Codec::Opus => "opus",
        codec => codec.name(),
    }
}

impl Format {
    /// RFC 3551 section 6: the static types that we know need no `a=rtpmap`.
    fn assigned(payload_type: u8) -> Self {
        let (name, clock_rate) = match payload_type {
            0 => ("PCMU", 8_000),
            8 => ("PCMA", 8_000),
            _ => ("", 0),
        };
        Self { payload_type, name: name.to_owned(), clock_rate, channels: 1, ..Self::default() }
    }

    /// `<name>/<clock rate>[/<channels>]` (RFC 8866 section 6.6).
    fn set_encoding(&mut self, encoding: &str) {
        let mut parts = encoding.trim().split('/');
        parts.next().unwrap_or_default().clone_into(&mut self.name);
        self.clock_rate = parts.next().and_then(|rate| rate.parse().ok()).unwrap_or(0);
        self.channels = parts.next().map_or(1, |channels| channels.parse().unwrap_or(0));
    }

    fn add_feedback(&mut self, feedback: &str) {
        let mut words = feedback.split_ascii_whitespace();
        match (words.next(), words.next()) {
            (Some("nack"), None) => self.nack = true,
            (Some("nack"), Some("pli")) => self.pli = true,
            (Some("transport-cc"), _) => self.transport_cc = true,
            (Some("goog-remb"), _) => self.remb = true,
            _ => {}
        }
    }

    /// Which codec this is; `None` for what we do not carry (RED, FEC, RTX, comfort noise ...).
    fn codec(&self) -> Option<Codec> {
        if self.looks_like_rtcp() {
            return None;
        }
        let codec = VIDEO.into_iter().chain(AUDIO).find(|&codec| encoding_name(codec).eq_ignore_ascii_case(&self.name))?;
        let fits = match codec {
            Codec::Opus => self.clock_rate == 48_000 && self.channels == 2,
            Codec::Pcmu | Codec::Pcma => self.clock_rate == 8_000 && self.channels == 1,
            _ => self.clock_rate == 90_000,
        };
        fits.then_some(codec)
    }

    /// RFC 5761 section 4: with RTP and RTCP on one port these numbers cannot be told from RTCP's.
    fn looks_like_rtcp(&self) -> bool {
        (64..=95).contains(&self.payload_type)
    }

    fn is_rtx(&self) -> bool {
        self.name.eq_ignore_ascii_case("rtx")
    }

    fn params(&self, codec: Codec, wish: &Wish<'_>) -> CodecParams {
        let is_video = codec.kind() == MediaKind::Video;
        CodecParams {
            codec,
            payload_type: self.payload_type,
            clock_rate: self.clock_rate,
            channels: if is_video { 0 } else { self.channels },
            fmtp: self.fmtp.clone(),
            rtx_payload_type: None,
            nack: self.nack && wish.nack,
            pli: is_video && self.pli,
            transport_cc: self.transport_cc && wish.transport_cc,
            remb: is_video && self.remb && !(self.transport_cc && wish.transport_cc) && wish.direction == Direction::Play,
        }
    }

    /// How well the format serves; the first of the best is taken.
    fn rank(&self, codec: Codec, live: Option<&Track>) -> u8 {
        let live = live.filter(|track| track.codec == codec);
        match codec {
            Codec::H264 => {
                // RFC 6184 section 8.1: mode 1 is what all senders and our packetizer use; with
                // mode 0 there are no fragments. An absent profile is Baseline.
                let profile = parameter(&self.fmtp, "profile-level-id").unwrap_or("42000a");
                let is_live = live.and_then(live_profile).is_some_and(|idc| starts_with(profile, &idc));
                let mode_1 = parameter(&self.fmtp, "packetization-mode") == Some("1");
                let profile = match () {
                    () if profile.eq_ignore_ascii_case("42e01f") => 3,
                    () if starts_with(profile, "42") => 2,
                    () => 1,
                };
                u8::from(mode_1) * 8 + u8::from(is_live) * 4 + profile
            }
            Codec::Vp9 => {
                let profile = |fmtp| parameter(fmtp, "profile-id").unwrap_or("0").to_owned();
                let wanted = live.map_or_else(|| "0".to_owned(), |track| profile(&track.fmtp));
                u8::from(profile(&self.fmtp) == wanted)
            }
            _ => 0,
        }
    }
}

fn best<'a>(formats: &'a [Format], codec: Codec, live: Option<&Track>) -> Option<&'a Format> {
    let of_codec = formats.iter().filter(|format| format.codec() == Some(codec));
    // `max_by_key` takes the last of equals, and the offer's order is the peer's preference.
    of_codec.rev().max_by_key(|format| format.rank(codec, live))
}

/// The payload type under which `format`, if it is video, can be sent again (RFC 4588 section 8.6).
fn repair(formats: &[Format], format: &Format) -> Option<u8> {
    // RFC 4588 section 4: the clock rate is that of the original.
    let repairs = |rtx: &&Format| {
        rtx.is_rtx()
            && !rtx.looks_like_rtcp()
            && rtx.clock_rate == format.clock_rate
            && parameter(&rtx.fmtp, "apt").and_then(payload_type) == Some(format.payload_type)
    };
    let is_video = format.codec().is_some_and(|codec| codec.kind() == MediaKind::Video);
    formats.iter().find(repairs).filter(|_| is_video).map(|rtx| rtx.payload_type)
}

/// The profile_idc of a live H.264 track as two hex digits.
fn live_profile(track: &Track) -> Option<String> {
    let signalled = parameter(&track.fmtp, "profile-level-id").and_then(|id| id.get(..2)).map(str::to_owned);
    // ISO/IEC 14496-15 section 5.3.3.1: AVCProfileIndication follows the version.
    signalled.or_else(|| track.config.get(1).map(|idc| format!("{idc:02x}")))
}

fn starts_with(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// The value of one `a=fmtp` parameter.
fn parameter<'a>(fmtp: &'a str, key: &str) -> Option<&'a str> {
    fmtp.split(';')
        .filter_map(|part| part.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case(key))
        .map(|(_, value)| value.trim())
}

/// The format that `<payload type> <rest>` names; `None` if the m-line does not list it.
fn named<'f, 'v>(formats: &'f mut [Format], value: &'v str) -> Result<Option<(&'f mut Format, &'v str)>, NegotiateError> {
    let malformed = NegotiateError::Malformed("an attribute names no payload type");
    let Some((word, rest)) = value.split_once(' ') else { return Err(malformed) };
    let payload_type = payload_type(word).ok_or(malformed)?;
    Ok(formats.iter_mut().find(|format| format.payload_type == payload_type).map(|format| (format, rest)))
}

/// RFC 4588 section 8.6: each RTX format repairs one other, and each is repaired by one.
fn check_repair(formats: &[Format]) -> Result<(), NegotiateError> {
    let mut repaired = [false; 128];
    for format in formats.iter().filter(|format| format.is_rtx()) {
        let Some(apt) = parameter(&format.fmtp, "apt").and_then(payload_type) else { continue };
        let to_rtx = formats.iter().any(|other| other.payload_type == apt && other.is_rtx());
        let Some(slot) = repaired.get_mut(usize::from(apt)) else { continue };
        if to_rtx || *slot {
            return Err(NegotiateError::Malformed("conflicting apt parameters"));
        }
        *slot = true;
    }
    Ok(())
}

fn payload_type(word: &str) -> Option<u8> {
    word.parse().ok().filter(|payload_type| *payload_type < 128)
}

/// In our order: H.264 first because only it can be bridged to RTMP, FLV and HLS everywhere.
const VIDEO: [Codec; 5] = [Codec::H264, Codec::Vp9, Codec::Vp8, Codec::Av1, Codec::H265];

/// Pictures that we offer to send, each with its retransmissions under the next number. H.264 in the
/// profiles that players tell apart: the closest to the stream's is taken.
const OURS: [(u8, Codec, &str); 7] = [
    (96, Codec::Vp8, ""),
    (98, Codec::Vp9, "profile-id=0"),
    (102, Codec::H264, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"),
    (104, Codec::H264, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=4d001f"),
    (106, Codec::H264, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=64001f"),
    (45, Codec::Av1, "level-idx=5;profile=0;tier=0"),
    (49, Codec::H265, "level-id=180;profile-id=1;tier-flag=0;tx-mode=SRST"),
];

/// In our order: G.711 only for peers without Opus.
const AUDIO: [Codec; 3] = [Codec::Opus, Codec::Pcmu, Codec::Pcma];
