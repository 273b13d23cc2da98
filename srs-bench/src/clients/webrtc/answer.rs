//! What a client needs of an answer, from whatever server it is.
//!
//! Attributes may stand at the session or in the media; candidates that a UDP socket cannot use (TCP,
//! names, the other component) are left out, and the others are ordered by their priority.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, bail, ensure};
use weir_rtc::{
    sdp::{DtlsRole, Fingerprint, HashAlgorithm},
    wire::ext::ExtensionIds,
};

use super::offer::{ABS_SEND_TIME_URI, MID_URI, NO_EXTENSIONS, TRANSPORT_CC_URI};

/// Candidates that are tried. Servers have one for each address of the machine.
const CANDIDATES_MAX: usize = 16;

/// One address of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) addr: SocketAddr,
    priority: u32,
}

/// The payload types of what the server took of the offer; `None`: not taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PayloadTypes {
    pub(super) audio: Option<u8>,
    pub(super) video: Option<u8>,
    pub(super) rtx: Option<u8>,
}

/// An answer, read.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) ufrag: String,
    pub(super) pwd: String,
    pub(super) fingerprints: Vec<Fingerprint>,
    /// Ours.
    pub(super) role: DtlsRole,
    /// The best first.
    pub(super) candidates: Vec<Candidate>,
    pub(super) types: PayloadTypes,
    pub(super) extensions: ExtensionIds,
    /// The server wants or gives transport-wide feedback.
    pub(super) transport_cc: bool,
}

impl Answer {
    pub(super) fn read(sdp: &str) -> anyhow::Result<Self> {
        ensure!(sdp.starts_with("v=0"), "the answer is no session description");
        let lines = || sdp.lines().map(str::trim_end);
        let value = |name: &str| lines().find_map(|line| line.strip_prefix(name)).map(|v| v.trim().to_owned());
        let role = match value("a=setup:").as_deref() {
            Some("active") => DtlsRole::Passive,
            // `actpass` and `holdconn` are no answers; that the server waits for us is the best guess.
            _ => DtlsRole::Active,
        };
        let mut answer = Self {
            ufrag: value("a=ice-ufrag:").context("no ice-ufrag in the answer")?,
            pwd: value("a=ice-pwd:").context("no ice-pwd in the answer")?,
            fingerprints: fingerprints(lines())?,
            role,
            candidates: candidates(lines())?,
            types: PayloadTypes::default(),
            extensions: NO_EXTENSIONS,
            transport_cc: lines().any(|line| line.starts_with("a=rtcp-fb:") && line.ends_with("transport-cc")),
        };
        for section in sections(sdp) {
            answer.read_media(section);
        }
        let PayloadTypes { audio, video, .. } = answer.types;
        ensure!(audio.is_some() || video.is_some(), "the answer has neither H.264 nor Opus in it");
        Ok(answer)
    }

    fn read_media(&mut self, section: &str) {
        let head = section.lines().next().unwrap_or_default();
        let mut words = head.split_ascii_whitespace();
        let (kind, port) = (words.next(), words.next());
        // RFC 3264 section 6: not wanted.
        if port == Some("0") || section.lines().any(|line| line.trim_end() == "a=inactive") {
            return;
        }
        let named = |name: &str| {
            let maps = section.lines().filter_map(|line| line.strip_prefix("a=rtpmap:"));
            let mut maps = maps.filter_map(|map| map.trim_end().split_once(' '));
            maps.find(|(_, codec)| codec.to_ascii_lowercase().starts_with(name)).and_then(|(id, _)| id.parse().ok())
        };
        match kind {
            Some("m=audio") => self.types.audio = self.types.audio.or_else(|| named("opus/")),
            Some("m=video") => {
                self.types.video = self.types.video.or_else(|| named("h264/"));
                self.types.rtx = self.types.rtx.or_else(|| named("rtx/"));
            }
            _ => {}
        }
        for extension in section.lines().filter_map(|line| line.strip_prefix("a=extmap:")) {
            let mut words = extension.split_ascii_whitespace();
            let id = words.next().and_then(|id| id.split('/').next()).and_then(|id| id.parse().ok());
            let Some(id) = id.filter(|id| (1..=14).contains(id)) else { continue };
            match words.next() {
                Some(MID_URI) => self.extensions.mid = Some(id),
                Some(TRANSPORT_CC_URI) => self.extensions.transport_cc = Some(id),
                Some(ABS_SEND_TIME_URI) => self.extensions.abs_send_time = Some(id),
                _ => {}
            }
        }
    }
}

/// The media sections, each from behind its line break on, `m=` included.
fn sections(sdp: &str) -> impl Iterator<Item = &str> {
    let starts: Vec<usize> = sdp.match_indices("\nm=").map(|(at, _)| at + 1).collect();
    let ends: Vec<usize> = starts.iter().skip(1).copied().chain([sdp.len()]).collect();
    starts.into_iter().zip(ends).filter_map(|(start, end)| sdp.get(start..end))
}

/// RFC 8122 section 5. A server may announce several hashes, and the same one in each section.
fn fingerprints<'a>(lines: impl Iterator<Item = &'a str>) -> anyhow::Result<Vec<Fingerprint>> {
    let mut found: Vec<Fingerprint> = Vec::new();
    for (name, hex) in
        lines.filter_map(|line| line.strip_prefix("a=fingerprint:")).filter_map(|value| value.trim().split_once(' '))
    {
        let Some(algorithm) = HashAlgorithm::from_name(name) else { continue };
        let digest = hex.trim().split(':').map(|byte| u8::from_str_radix(byte, 16)).collect::<Result<Vec<_>, _>>();
        let digest = digest.context("an odd fingerprint in the answer")?;
        ensure!(digest.len() == algorithm.len_bytes(), "a fingerprint of a wrong length in the answer");
        let fingerprint = Fingerprint { algorithm, digest };
        if !found.contains(&fingerprint) {
            found.push(fingerprint);
        }
    }
    ensure!(!found.is_empty(), "no fingerprint in the answer that can be checked");
    Ok(found)
}

/// RFC 8839 section 5.1.
fn candidates<'a>(lines: impl Iterator<Item = &'a str>) -> anyhow::Result<Vec<Candidate>> {
    let mut found: Vec<Candidate> = Vec::new();
    let mut unusable = Vec::new();
    for line in lines.filter_map(|line| line.strip_prefix("a=candidate:")) {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let &[_, component, transport, priority, host, port, ..] = words.as_slice() else { continue };
        let addr = host.parse::<IpAddr>().ok().zip(port.parse::<u16>().ok()).filter(|(_, port)| *port != 0);
        let usable = component == "1" && transport.eq_ignore_ascii_case("udp");
        let (Some((ip, port)), Ok(priority), true) = (addr, priority.parse(), usable) else {
            unusable.push(format!("{transport} {host}"));
            continue;
        };
        let candidate = Candidate { addr: SocketAddr::new(ip, port), priority };
        if !found.iter().any(|other| other.addr == candidate.addr) && found.len() < CANDIDATES_MAX {
            found.push(candidate);
        }
    }
    if found.is_empty() {
        unusable.dedup();
        match unusable.as_slice() {
            [] => bail!("no candidate in the answer (the server may want trickle ICE)"),
            some => bail!("no usable candidate in the answer, only {}", some.join(", ")),
        }
    }
    found.sort_by_key(|candidate| std::cmp::Reverse(candidate.priority));
    Ok(found)
}

#[cfg(test)]
mod tests;
