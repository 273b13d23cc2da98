//! Offer in, answer out: WHIP and WHEP negotiation as one pure function.
//!
//! [`negotiate`] takes the offer's text and what the server brings (addresses, credentials,
//! certificate), and returns the answer's text with all that a session needs to know. It owns no
//! state, allocates nothing that outlives a refusal, and never accepts half an offer: the first
//! m-line that cannot be served refuses the whole (RFC 9725 section 4.2).
//!
//! The order of work: `limits` looks at the raw text, `rtc::sdp` splits it into lines, `offer`
//! reads the lines into our terms, `codec` chooses, `answer` writes. `counter` turns it round, for a
//! player that offers nothing that the stream has.
//!
//! We do not do this: renegotiation, simulcast to players, FEC, RED, data channels, trickled
//! answers.

mod answer;
mod codec;
mod counter;
mod error;
mod extension;
mod fragment;
mod limits;
mod offer;
mod params;
mod simulcast;
mod terms;
#[cfg(test)]
mod tests;

pub(crate) use self::fragment::{fragment, with_credentials};

pub use self::counter::{counter_offer, take_answer};
pub use self::error::{ErrorClass, NegotiateError};
pub use self::params::{
    CodecParams, Direction, DtlsRole, ExtensionIds, Fingerprint, HashAlgorithm, IceCredentials, LayerParams, LocalParams,
    MediaParams, SessionParams,
};
pub use self::terms::Terms;

use weir_source::{MediaKind, TrackId};

use self::offer::{Offer, OfferedMedia, Section, Setup};

/// Answers `offer`, or says why not.
///
/// `direction` is what the HTTP side was asked for; `local` is what this server brings.
///
/// # Errors
///
/// [`NegotiateError`], whose [`class`](NegotiateError::class) tells a malformed offer from one
/// that is well-formed but cannot be served. Nothing is left behind by either.
pub fn negotiate(offer: &str, direction: Direction, local: &LocalParams<'_>) -> Result<(String, SessionParams), NegotiateError> {
    limits::check(offer)?;
    let offer = Offer::parse(offer)?;
    check_tracks(&offer, direction)?;

    let mut media = Vec::new();
    for section in &offer.sections {
        if let Section::Media(offered) = section {
            media.push(accept(offered, direction, local)?);
        }
    }
    let params = SessionParams {
        direction,
        local_ice: local.ice.clone(),
        remote_ice: offer.ice.clone(),
        remote_fingerprints: offer.fingerprints.clone(),
        // RFC 5763 section 5: who offers `actpass` leaves the choice to us.
        dtls_role: match offer.setup {
            Setup::ActPass => local.terms.dtls_role,
            Setup::Active => DtlsRole::Passive,
            Setup::Passive => DtlsRole::Active,
        },
        cname: cname(local),
        media,
        layer_max: None,
        terms: local.terms,
    };
    let setup = match params.dtls_role {
        DtlsRole::Passive => "passive",
        DtlsRole::Active => "active",
    };
    Ok((answer::write(&offer, &params, local, setup), params))
}

fn cname(local: &LocalParams<'_>) -> String {
    format!("{:016x}", local.session_id)
}

/// One audio and one video at most, of one stream, all in the right direction.
fn check_tracks(offer: &Offer, direction: Direction) -> Result<(), NegotiateError> {
    let mut seen = [0_usize; 2];
    let mut stream: Option<&str> = None;
    for media in offer.media() {
        let count = match media.kind {
            MediaKind::Audio => &mut seen[0],
            MediaKind::Video => &mut seen[1],
        };
        *count += 1;
        if *count > 1 {
            return Err(NegotiateError::TooManyTracks(media.kind));
        }
        if !media.direction.suits(direction) {
            return Err(NegotiateError::WrongDirection { mid: media.mid.clone(), offered: media.direction.name() });
        }
        // RFC 9725 section 4.4.1: all tracks of a WHIP session belong to one MediaStream. "-"
        // says that a track belongs to none (RFC 8830 section 2), which contradicts nobody.
        if let (Direction::Publish, Some(id)) = (direction, media.stream.as_deref()) {
            match stream {
                Some(other) if other != id => return Err(NegotiateError::TooManyStreams),
                _ => stream = Some(id),
            }
        }
    }
    if seen == [0, 0] { Err(NegotiateError::NoMedia) } else { Ok(()) }
}

/// Chooses codecs and extensions for one m-line.
fn accept(offered: &OfferedMedia, direction: Direction, local: &LocalParams<'_>) -> Result<MediaParams, NegotiateError> {
    let extensions = extension::choose(&offered.extensions, offered.kind, direction);
    let wish = codec::Wish {
        direction,
        forced: local.codec.filter(|codec| codec.kind() == offered.kind),
        live: local.prefer.and_then(|tracks| tracks.of_kind(offered.kind)).map(|track| &**track),
        nack: local.terms.nack,
        transport_cc: local.terms.transport_cc && extensions.transport_cc.is_some(),
    };
    let codecs = codec::choose(&offered.formats, offered.kind, &wish);
    if codecs.is_empty() {
        return Err(NegotiateError::NoCommonCodec { kind: offered.kind, mid: offered.mid.clone() });
    }
    let mut extensions = extensions;
    // The extension without the feedback (or the other way round) would be dead weight.
    if !codecs.iter().any(|codec| codec.transport_cc) {
        extensions.transport_cc = None;
    }
    // A viewer's own estimate is made of these times, and nothing else is.
    if !codecs.iter().any(|codec| codec.remb) {
        extensions.abs_send_time = None;
    }
    let first = codecs.first().map_or(0, |codec| codec.payload_type);
    let layers = match (direction, offered.kind) {
        (Direction::Publish, MediaKind::Video) => offered.layers.choose(first, extensions.rid.is_some()),
        _ => Vec::new(),
    };
    // Without simulcast nobody needs the name.
    if layers.iter().all(|layer| layer.ssrc.is_some()) {
        extensions.rid = None;
    }
    if extensions.rid.is_none() || codecs.iter().all(|codec| codec.rtx_payload_type.is_none()) {
        extensions.repaired_rid = None;
    }
    let (track, local_ssrc) = match offered.kind {
        MediaKind::Audio => (TrackId::AUDIO, local.audio_ssrc),
        MediaKind::Video => (TrackId::VIDEO, local.video_ssrc),
    };
    let repaired = direction == Direction::Play && codecs.iter().any(|codec| codec.rtx_payload_type.is_some());
    Ok(MediaParams {
        mid: offered.mid.clone(),
        kind: offered.kind,
        track,
        codecs,
        extensions,
        local_ssrc,
        remote_ssrcs: offered.ssrcs.clone(),
        layers,
        rtx_ssrc: repaired.then_some(local.rtx_ssrc),
    })
}
