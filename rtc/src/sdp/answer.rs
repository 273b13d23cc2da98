//! Writes the answer: what was chosen, in the order in which SRS's clients look for it.
//!
//! Takes decisions from nobody and makes none.

use std::net::SocketAddr;

use rtc::sdp::description::common::{Address, ConnectionInformation};
use rtc::sdp::description::media::{MediaName, RangedPort};
use rtc::sdp::description::session::{Origin, TimeDescription};
use rtc::sdp::{MediaDescription, SessionDescription};
use weir_source::MediaKind;

use super::offer::{Offer, OfferedMedia, RejectedMedia, Section, is_token_char};
use super::{Direction, LocalParams, MediaParams, SessionParams, codec, extension, simulcast};

/// The answer to an offer whose accepted m-lines are `params.media`, in their order; `setup` is our
/// `a=setup`.
pub(super) fn write(offer: &Offer, params: &SessionParams, local: &LocalParams<'_>, setup: &'static str) -> String {
    let answer = Answer { params, local, setup, stream_id: token(local.stream_id) };
    let mut accepted = params.media.iter();
    let mut description = answer.session(offer);
    for section in &offer.sections {
        match section {
            Section::Media(offered) => {
                if let Some(media) = accepted.next() {
                    description.media_descriptions.push(answer.media(offered, media));
                }
            }
            Section::Rejected(rejected) => description.media_descriptions.push(reject(rejected)),
        }
    }
    description.marshal()
}

struct Answer<'a> {
    params: &'a SessionParams,
    local: &'a LocalParams<'a>,
    setup: &'static str,
    stream_id: String,
}

impl Answer<'_> {
    fn session(&self, offer: &Offer) -> SessionDescription {
        let session_name = match self.params.direction {
            Direction::Publish => "WeirPublishSession",
            Direction::Play => "WeirPlaySession",
        };
        let mids: Vec<_> = offer
            .bundle
            .iter()
            .filter(|mid| self.params.media.iter().any(|media| media.mid == **mid))
            .map(String::as_str)
            .collect();
        let description = SessionDescription {
            origin: Origin {
                username: "Weir".to_owned(),
                // RFC 8866 section 5.2 wants a number; peers read it as signed (RFC 8829 section 5.2.1).
                session_id: self.local.session_id & i64::MAX.cast_unsigned(),
                session_version: 2,
                network_type: "IN".to_owned(),
                address_type: "IP4".to_owned(),
                unicast_address: "0.0.0.0".to_owned(),
            },
            session_name: session_name.to_owned(),
            time_descriptions: vec![TimeDescription::default()],
            ..SessionDescription::default()
        };
        let mut description = description.with_property_attribute("ice-lite".to_owned());
        // RFC 8285 section 6. Without it a dependency descriptor with templates, longer than the one-byte form
        // holds, is not sent.
        if offer.mixes_extensions {
            description = description.with_property_attribute("extmap-allow-mixed".to_owned());
        }
        description
            .with_value_attribute("group".to_owned(), format!("BUNDLE {}", mids.join(" ")))
            .with_value_attribute("msid-semantic".to_owned(), format!(" WMS {}", self.stream_id))
    }

    fn media(&self, offered: &OfferedMedia, media: &MediaParams) -> MediaDescription {
        let flow = match self.params.direction {
            Direction::Publish => "recvonly",
            Direction::Play => "sendonly",
        };
        let mut section = blank(kind_name(media.kind), 9, &offered.protocol)
            .with_ice_credentials(self.params.local_ice.ufrag.clone(), self.params.local_ice.pwd.clone())
            .with_fingerprint("sha-256".to_owned(), self.local.fingerprint.to_owned())
            .with_value_attribute("setup".to_owned(), self.setup.to_owned())
            .with_value_attribute("mid".to_owned(), media.mid.clone());
        for (uri, id) in extension::all(&media.extensions) {
            let suffix = extension::suffix(&offered.extensions, id);
            section = section.with_value_attribute("extmap".to_owned(), format!("{id}{suffix} {uri}"));
        }
        // RFC 8858 section 4.3: `rtcp-mux-only` is for offers; an answer must not have it.
        section = section.with_property_attribute(flow.to_owned()).with_property_attribute("rtcp-mux".to_owned());
        // RFC 5506 section 5: reduced-size RTCP only where both say so.
        if offered.reduced_size_rtcp {
            section = section.with_property_attribute("rtcp-rsize".to_owned());
        }
        section = self.codecs(section, media);
        if let Some((streams, rids)) = simulcast::answer(&media.layers) {
            for rid in rids {
                section = section.with_value_attribute("rid".to_owned(), rid);
            }
            section = section.with_value_attribute("simulcast".to_owned(), streams);
        }
        if self.params.direction == Direction::Play {
            section = self.source(section, media);
        }
        for line in self.candidates() {
            section = section.with_candidate(line);
        }
        // All candidates are here; there is nothing to wait for (RFC 8838 section 14).
        section.with_property_attribute("end-of-candidates".to_owned())
    }

    /// Those of UDP, then those of TCP; no two of one foundation (RFC 8445 section 5.1.1.3).
    fn candidates(&self) -> impl Iterator<Item = String> {
        let udp = self.local.candidates.iter().take(CANDIDATES_MAX).enumerate();
        let udp = udp.map(|(index, addr)| udp_candidate(index, index, addr));
        let first = self.local.candidates.len().min(CANDIDATES_MAX);
        let tcp = self.local.tcp_candidates.iter().take(CANDIDATES_MAX).enumerate();
        udp.chain(tcp.map(move |(index, addr)| tcp_candidate(first + index, index, addr)))
    }

    fn codecs(&self, mut section: MediaDescription, media: &MediaParams) -> MediaDescription {
        for params in &media.codecs {
            let channels = if params.channels > 1 { u16::from(params.channels) } else { 0 };
            section = section.with_codec(
                params.payload_type,
                codec::encoding_name(params.codec).to_owned(),
                params.clock_rate,
                channels,
                codec::answer_fmtp(params, self.params.direction),
            );
            let feedbacks = [
                (params.transport_cc, "transport-cc"),
                (params.remb, "goog-remb"),
                (params.nack, "nack"),
                (params.pli, "nack pli"),
            ];
            for (agreed, feedback) in feedbacks {
                if agreed {
                    section = section.with_value_attribute("rtcp-fb".to_owned(), format!("{} {feedback}", params.payload_type));
                }
            }
            if let Some(rtx) = params.rtx_payload_type {
                // RFC 4588 section 8.6.
                section = section.with_codec(rtx, "rtx".to_owned(), params.clock_rate, 0, format!("apt={}", params.payload_type));
            }
        }
        section
    }

    /// What a player needs to show both tracks as one stream (WHEP: a single MediaStream).
    fn source(&self, section: MediaDescription, media: &MediaParams) -> MediaDescription {
        let (stream, track) = (&self.stream_id, kind_name(media.kind));
        let mut section = section.with_value_attribute("msid".to_owned(), format!("{stream} {track}"));
        if let Some(rtx) = media.rtx_ssrc {
            // RFC 5576 section 4.2: the original first, then what repairs it.
            section = section.with_value_attribute("ssrc-group".to_owned(), format!("FID {} {rtx}", media.local_ssrc));
        }
        for ssrc in [media.local_ssrc].into_iter().chain(media.rtx_ssrc) {
            section = section
                .with_value_attribute("ssrc".to_owned(), format!("{ssrc} cname:{}", self.params.cname))
                .with_value_attribute("ssrc".to_owned(), format!("{ssrc} msid:{stream} {track}"));
        }
        section
    }
}

/// RFC 3264 section 6: port 0 rejects an m-line, which keeps its place.
fn reject(rejected: &RejectedMedia) -> MediaDescription {
    let mut section = blank(&rejected.media, 0, &rejected.protocol);
    section.media_name.formats.clone_from(&rejected.formats);
    if let Some(mid) = &rejected.mid {
        section = section.with_value_attribute("mid".to_owned(), mid.clone());
    }
    section.with_property_attribute("inactive".to_owned())
}

fn blank(media: &str, port: isize, protocol: &str) -> MediaDescription {
    MediaDescription {
        media_name: MediaName {
            media: media.to_owned(),
            port: RangedPort { value: port, range: None },
            protos: protocol.split('/').map(str::to_owned).collect(),
            formats: Vec::new(),
        },
        connection_information: Some(ConnectionInformation {
            network_type: "IN".to_owned(),
            address_type: "IP4".to_owned(),
            address: Some(Address { address: "0.0.0.0".to_owned(), ttl: None, range: None }),
        }),
        ..MediaDescription::default()
    }
}

/// RFC 8839 section 5.1, with the priority of RFC 8445 section 5.1.2.1: type host, one component,
/// and a local preference that falls from candidate to candidate.
fn udp_candidate(foundation: usize, index: usize, addr: &SocketAddr) -> String {
    let preference = 0xffff_usize.saturating_sub(index);
    let priority = (126 << 24) + (preference << 8) + 255;
    format!("{foundation} 1 udp {priority} {} {} typ host generation 0", addr.ip(), addr.port())
}

/// RFC 6544 section 4.5: we wait for connections. Its priority (section 4.2) has a type preference
/// below that of UDP, of which retransmission is the application's own, and a local preference of
/// which the upper three bits say the direction: 4, a host's passive candidate.
fn tcp_candidate(foundation: usize, index: usize, addr: &SocketAddr) -> String {
    let preference = (4 << 13) + 0x1fff_usize.saturating_sub(index);
    let priority = (TCP_TYPE_PREFERENCE << 24) + (preference << 8) + 255;
    format!("{foundation} 1 tcp {priority} {} {} typ host tcptype passive generation 0", addr.ip(), addr.port())
}

/// Of TCP host candidates: what browsers give their own.
const TCP_TYPE_PREFERENCE: usize = 90;

/// RFC 8830 section 2: an id is 1 to 64 token characters.
fn token(text: &str) -> String {
    let token: String = text.chars().map(|c| if u8::try_from(c).is_ok_and(is_token_char) { c } else { '-' }).take(64).collect();
    // "-" alone would say that the track belongs to no stream.
    if token.is_empty() || token == "-" { "weir".to_owned() } else { token }
}

const fn kind_name(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Audio => "audio",
        MediaKind::Video => "video",
    }
}

/// A host with more addresses than that has bridges and containers, not paths.
const CANDIDATES_MAX: usize = 16;
