//! Reads an offer into our terms and refuses what contradicts itself.
//!
//! Knows nothing of what the server prefers; that is `codec`'s and `extension`'s.

use std::io::Cursor;

use rtc::sdp::description::common::Attribute;
use rtc::sdp::{MediaDescription, SessionDescription};
use weir_source::MediaKind;

use super::codec::{self, Format};
use super::simulcast::OfferedLayers;
use super::{Direction, Fingerprint, HashAlgorithm, IceCredentials, NegotiateError};

/// An offer that could be answered as far as its transport goes.
#[derive(Debug)]
pub(super) struct Offer {
    /// Every m-line in its order: an answer has just as many (RFC 3264 section 6).
    pub(super) sections: Vec<Section>,
    /// The ids of `a=group:BUNDLE` in their order.
    pub(super) bundle: Vec<String>,
    /// Header extensions of both forms may be mixed (RFC 8285 section 6).
    pub(super) mixes_extensions: bool,
    pub(super) ice: IceCredentials,
    pub(super) fingerprints: Vec<Fingerprint>,
    pub(super) setup: Setup,
}

/// One m-line.
#[derive(Debug)]
pub(super) enum Section {
    /// To be served.
    Media(OfferedMedia),
    /// Disabled by the offerer, or a data channel: answered with port 0.
    Rejected(RejectedMedia),
}

/// What an answer has to repeat of an m-line that it rejects.
#[derive(Debug)]
pub(super) struct RejectedMedia {
    pub(super) media: String,
    pub(super) protocol: String,
    pub(super) formats: Vec<String>,
    pub(super) mid: Option<String>,
}

/// An audio or video m-line.
#[derive(Debug)]
pub(super) struct OfferedMedia {
    pub(super) kind: MediaKind,
    pub(super) protocol: String,
    pub(super) mid: String,
    pub(super) direction: Flow,
    pub(super) formats: Vec<Format>,
    pub(super) extensions: Vec<OfferedExtension>,
    pub(super) ssrcs: Vec<u32>,
    pub(super) layers: OfferedLayers,
    /// The MediaStream id of `a=msid`, unless it is "-".
    pub(super) stream: Option<String>,
    pub(super) reduced_size_rtcp: bool,
}

/// One `a=extmap`.
#[derive(Debug)]
pub(super) struct OfferedExtension {
    pub(super) id: u8,
    pub(super) uri: String,
    pub(super) direction: Flow,
}

/// A direction attribute (RFC 8866 section 6.7), from the offerer's point of view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

impl Flow {
    const ALL: [Self; 4] = [Self::SendRecv, Self::SendOnly, Self::RecvOnly, Self::Inactive];

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|flow| flow.name() == name)
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    /// Whether media can flow the way we were asked for (RFC 9725 section 4.2).
    pub(super) const fn suits(self, direction: Direction) -> bool {
        matches!(
            (direction, self),
            (_, Self::SendRecv) | (Direction::Publish, Self::SendOnly) | (Direction::Play, Self::RecvOnly)
        )
    }
}

/// `a=setup` of an offer (RFC 8842 section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setup {
    ActPass,
    Active,
    Passive,
}

impl Offer {
    /// Parses text that passed [`limits`](super::limits).
    pub(super) fn parse(text: &str) -> Result<Self, NegotiateError> {
        let description = SessionDescription::unmarshal(&mut Cursor::new(text.as_bytes()))
            .map_err(|_| NegotiateError::Malformed("not a session description"))?;
        let session = Attributes(&description.attributes);
        let sections =
            description.media_descriptions.iter().map(|media| Section::parse(media, session)).collect::<Result<Vec<_>, _>>()?;
        let bundle: Vec<String> = session
            .values("group")
            .find_map(|group| group.strip_prefix("BUNDLE"))
            .unwrap_or_default()
            .split_ascii_whitespace()
            .map(str::to_owned)
            .collect();
        if sections.is_empty() {
            return Err(NegotiateError::Empty);
        }
        if sections.iter().all(|section| matches!(section, Section::Rejected(_))) {
            return Err(NegotiateError::NoMedia);
        }
        check_mids(&sections, &bundle)?;
        let transport = Transport::new(&description, &sections, &bundle);
        let mixes_extensions = session.has("extmap-allow-mixed");
        let (ice, fingerprints, setup) = (transport.ice()?, transport.fingerprints()?, transport.setup()?);
        Ok(Self { ice, fingerprints, setup, sections, bundle, mixes_extensions })
    }

    /// The m-lines to be served.
    pub(super) fn media(&self) -> impl Iterator<Item = &OfferedMedia> {
        self.sections.iter().filter_map(|section| match section {
            Section::Media(media) => Some(media),
            Section::Rejected(_) => None,
        })
    }
}

impl Section {
    fn parse(media: &MediaDescription, session: Attributes<'_>) -> Result<Self, NegotiateError> {
        let attributes = Attributes(&media.attributes);
        let protocol = media.media_name.protos.join("/");
        let mid = attributes.value("mid").map(str::to_owned);
        if mid.as_deref().is_some_and(|mid| mid.len() > MID_BYTES_MAX || !is_token(mid)) {
            return Err(NegotiateError::Malformed("a=mid is not a short token"));
        }
        // RFC 9143 section 6: port 0 means "only in the bundle" with a=bundle-only, else disabled.
        let disabled = media.media_name.port.value == 0 && !attributes.has("bundle-only");
        let kind = match media.media_name.media.as_str() {
            "audio" => Some(MediaKind::Audio),
            "video" => Some(MediaKind::Video),
            _ => None,
        };
        let (Some(kind), false) = (kind, disabled) else {
            if !disabled && media.media_name.media != "application" {
                return Err(NegotiateError::UnsupportedMedia(media.media_name.media.clone()));
            }
            let formats = media.media_name.formats.clone();
            return Ok(Self::Rejected(RejectedMedia { media: media.media_name.media.clone(), protocol, formats, mid }));
        };
        // RFC 8829 section 5.1.2 lists the names under which DTLS-SRTP is offered.
        if !RTP_PROTOCOLS.contains(&protocol.as_str()) {
            return Err(NegotiateError::UnsupportedMedia(protocol));
        }
        let mid = mid.ok_or(NegotiateError::Missing("a=mid"))?;
        if !attributes.has("rtcp-mux") {
            return Err(NegotiateError::NoRtcpMux(mid));
        }
        Ok(Self::Media(OfferedMedia {
            kind,
            protocol,
            mid,
            direction: attributes.flow().or_else(|| session.flow()).unwrap_or(Flow::SendRecv),
            formats: codec::formats(&media.media_name.formats, attributes)?,
            extensions: attributes.values("extmap").filter_map(OfferedExtension::parse).take(EXTENSIONS_MAX).collect(),
            ssrcs: attributes.ssrcs(),
            layers: OfferedLayers::parse(attributes),
            stream: attributes.stream(),
            reduced_size_rtcp: attributes.has("rtcp-rsize"),
        }))
    }

    fn mid(&self) -> Option<&str> {
        match self {
            Self::Media(media) => Some(&media.mid),
            Self::Rejected(media) => media.mid.as_deref(),
        }
    }
}

impl OfferedExtension {
    /// `<id>[/<direction>] <uri> [<attributes>]` (RFC 8285 section 8). Ids past the one-byte form
    /// are left out: we write no two-byte headers.
    fn parse(value: &str) -> Option<Self> {
        let mut words = value.split_ascii_whitespace();
        let id = words.next()?;
        let uri = words.next()?;
        let (id, direction) = match id.split_once('/') {
            Some((id, direction)) => (id, Flow::from_name(direction)?),
            None => (id, Flow::SendRecv),
        };
        let id = id.parse().ok().filter(|id| (1..=14).contains(id))?;
        Some(Self { id, uri: uri.to_owned(), direction })
    }
}

/// Ids are unique, and all media is in the bundle.
fn check_mids(sections: &[Section], bundle: &[String]) -> Result<(), NegotiateError> {
    for (index, section) in sections.iter().enumerate() {
        let mid = section.mid();
        if mid.is_some() && sections.iter().take(index).any(|other| other.mid() == mid) {
            return Err(NegotiateError::Malformed("two m-lines with the same a=mid"));
        }
        if let Section::Media(media) = section
            && !bundle.contains(&media.mid)
        {
            return Err(NegotiateError::NotBundled);
        }
    }
    Ok(())
}

/// Where the transport's attributes may stand, the most binding place first.
///
/// RFC 9143 section 7.1.3: those of the bundle's first m-line count for all; peers that keep them
/// at session level or repeat them everywhere are understood as well.
struct Transport<'a> {
    places: Vec<Attributes<'a>>,
}

impl<'a> Transport<'a> {
    fn new(description: &'a SessionDescription, sections: &[Section], bundle: &[String]) -> Self {
        let served = |section: &Section| matches!(section, Section::Media(_));
        let lines = || sections.iter().zip(&description.media_descriptions);
        let tagged = bundle.first().and_then(|first| lines().find(|(section, _)| section.mid() == Some(first)));
        let mut places: Vec<_> = tagged.into_iter().map(|(_, media)| Attributes(&media.attributes)).collect();
        places.push(Attributes(&description.attributes));
        places.extend(lines().filter(|(section, _)| served(section)).map(|(_, media)| Attributes(&media.attributes)));
        Self { places }
    }

    fn ice(&self) -> Result<IceCredentials, NegotiateError> {
        let place = self.places.iter().find(|place| place.has("ice-ufrag") || place.has("ice-pwd"));
        let place = place.ok_or(NegotiateError::Missing("a=ice-ufrag and a=ice-pwd"))?;
        let ufrag = place.value("ice-ufrag").ok_or(NegotiateError::Missing("a=ice-ufrag"))?;
        let pwd = place.value("ice-pwd").ok_or(NegotiateError::Missing("a=ice-pwd"))?;
        // RFC 8839 section 5.4.
        if !(4..=256).contains(&ufrag.len()) || !ufrag.bytes().all(is_ice_char) {
            return Err(NegotiateError::Malformed("a=ice-ufrag"));
        }
        if !(22..=256).contains(&pwd.len()) || !pwd.bytes().all(is_ice_char) {
            return Err(NegotiateError::Malformed("a=ice-pwd"));
        }
        Ok(IceCredentials { ufrag: ufrag.to_owned(), pwd: pwd.to_owned() })
    }

    fn fingerprints(&self) -> Result<Vec<Fingerprint>, NegotiateError> {
        let place = self.places.iter().find(|place| place.has("fingerprint"));
        let mut fingerprints = Vec::new();
        for value in place.into_iter().flat_map(|place| place.values("fingerprint")).take(FINGERPRINTS_MAX) {
            if let Some(fingerprint) = Fingerprint::parse(value)? {
                fingerprints.push(fingerprint);
            }
        }
        // SHA-1 alone would let a forged certificate pass; nobody offers it alone any more.
        if fingerprints.iter().all(|fingerprint| fingerprint.algorithm == HashAlgorithm::Sha1) {
            return Err(NegotiateError::Missing("a=fingerprint with sha-256, sha-384 or sha-512"));
        }
        Ok(fingerprints)
    }

    fn setup(&self) -> Result<Setup, NegotiateError> {
        match self.places.iter().find_map(|place| place.value("setup")) {
            // RFC 8842 section 5.2 demands it; who leaves it out can be served as if it stood there.
            None | Some("actpass") => Ok(Setup::ActPass),
            Some("active") => Ok(Setup::Active),
            Some("passive") => Ok(Setup::Passive),
            Some(_) => Err(NegotiateError::Malformed("a=setup")),
        }
    }
}

impl Fingerprint {
    /// `<hash> <hex pairs with colons>` (RFC 8122 section 5), in any case. `None` for a hash that
    /// we cannot compute.
    fn parse(value: &str) -> Result<Option<Self>, NegotiateError> {
        let malformed = || NegotiateError::Malformed("a=fingerprint");
        let (name, hex) = value.split_once(' ').ok_or_else(malformed)?;
        let Some(algorithm) = HashAlgorithm::from_name(name) else { return Ok(None) };
        let mut digest = Vec::with_capacity(algorithm.len_bytes());
        for pair in hex.trim().split(':') {
            let is_pair = pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit());
            if !is_pair || digest.len() == algorithm.len_bytes() {
                return Err(malformed());
            }
            digest.push(u8::from_str_radix(pair, 16).map_err(|_| malformed())?);
        }
        if digest.len() == algorithm.len_bytes() { Ok(Some(Self { algorithm, digest })) } else { Err(malformed()) }
    }
}

/// The `a=` lines of the session or of one m-line.
#[derive(Clone, Copy)]
pub(super) struct Attributes<'a>(&'a [Attribute]);

impl<'a> Attributes<'a> {
    fn has(self, key: &str) -> bool {
        self.0.iter().any(|attribute| attribute.key == key)
    }

    pub(super) fn values(self, key: &'static str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |attribute| attribute.key == key).filter_map(|attribute| attribute.value.as_deref())
    }

    fn value(self, key: &'static str) -> Option<&'a str> {
        self.values(key).next().map(str::trim)
    }

    fn flow(self) -> Option<Flow> {
        self.0.iter().find_map(|attribute| if attribute.value.is_none() { Flow::from_name(&attribute.key) } else { None })
    }

    /// `a=msid:<stream> [<track>]` (RFC 8830 section 2); older peers say it per SSRC.
    fn stream(self) -> Option<String> {
        let per_ssrc = || self.values("ssrc").find_map(|value| value.split_once(" msid:").map(|(_, id)| id));
        let id = self.value("msid").or_else(per_ssrc)?.split_ascii_whitespace().next()?;
        if id == "-" { None } else { Some(id.to_owned()) }
    }

    /// Those of `a=ssrc` (RFC 5576) that carry media: the second and later of FID and FEC-FR
    /// groups repair it.
    fn ssrcs(self) -> Vec<u32> {
        let mut repair = Vec::new();
        for group in self.values("ssrc-group").take(SSRCS_MAX) {
            let mut words = group.split_ascii_whitespace();
            if matches!(words.next(), Some("FID" | "FEC-FR")) {
                repair.extend(words.skip(1).take(SSRCS_MAX).filter_map(|word| word.parse::<u32>().ok()));
            }
        }
        let mut ssrcs = Vec::new();
        for value in self.values("ssrc") {
            let ssrc = value.split(' ').next().and_then(|word| word.parse().ok());
            if let Some(ssrc) = ssrc
                && !repair.contains(&ssrc)
                && !ssrcs.contains(&ssrc)
                && ssrcs.len() < SSRCS_MAX
            {
                ssrcs.push(ssrc);
            }
        }
        ssrcs
    }
}

/// RFC 8866 section 9: the characters of a token.
pub(super) fn is_token_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`{|}~".contains(&byte)
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_char)
}

fn is_ice_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/'
}

/// The transports under which peers offer DTLS-SRTP over UDP.
const RTP_PROTOCOLS: [&str; 4] = ["UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP", "RTP/SAVPF", "RTP/SAVP"];

/// The header extension that repeats it has room for 16 (RFC 8285 one-byte form).
const MID_BYTES_MAX: usize = 16;

/// Browsers offer about ten; ids past 14 are not read anyway.
const EXTENSIONS_MAX: usize = 32;

/// Simulcast with three layers needs three; more than 16 of one track is nobody's offer.
const SSRCS_MAX: usize = 16;

/// One for each hash, and a second certificate.
const FINGERPRINTS_MAX: usize = 8;
