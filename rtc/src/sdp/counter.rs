//! An offer of ours, to a player whose own has no codec of the stream, and what its answer agrees to
//! (WHEP: 406, then PATCH).
//!
//! It is written as the answer to a player that takes all that we have. What it will become is kept in
//! [`SessionParams`] whose remote half is empty until the answer fills it.

use weir_source::{MediaKind, Tracks};

use super::answer;
use super::codec;
use super::extension;
use super::limits;
use super::offer::{Flow, Offer, OfferedMedia, Section, Setup};
use super::simulcast::OfferedLayers;
use super::{Direction, DtlsRole, IceCredentials, LocalParams, MediaParams, NegotiateError, SessionParams, accept};

/// Our offer to send the stream: of the kinds that it has now, or both. It cannot fail but where the
/// stream's codec is none that WebRTC knows.
///
/// # Errors
///
/// [`NegotiateError::NoCommonCodec`].
pub fn counter_offer(local: &LocalParams<'_>) -> Result<(String, SessionParams), NegotiateError> {
    let is_there = |kind: &MediaKind| local.prefer.is_none_or(|tracks| tracks.of_kind(*kind).is_some());
    let kinds = [MediaKind::Audio, MediaKind::Video].into_iter().filter(is_there);
    let all: Vec<OfferedMedia> = kinds.enumerate().map(|(index, kind)| anything(kind, index.to_string())).collect();
    let media = all.iter().map(|media| accept(media, Direction::Play, local)).collect::<Result<Vec<_>, _>>()?;
    let nobody = IceCredentials { ufrag: String::new(), pwd: String::new() };
    let offer = Offer {
        bundle: all.iter().map(|media| media.mid.clone()).collect(),
        sections: all.into_iter().map(Section::Media).collect(),
        mixes_extensions: true,
        ice: nobody.clone(),
        fingerprints: Vec::new(),
        setup: Setup::ActPass,
    };
    let params = SessionParams {
        direction: Direction::Play,
        local_ice: local.ice.clone(),
        remote_ice: nobody,
        remote_fingerprints: Vec::new(),
        dtls_role: DtlsRole::Passive,
        cname: super::cname(local),
        media,
        layer_max: None,
        terms: local.terms,
    };
    // RFC 8842 section 5.2: who offers leaves the choice to the other.
    Ok((answer::write(&offer, &params, local, "actpass"), params))
}

/// What the answer to an offer of ours, which became `offered`, agrees to. `prefer`: the stream's
/// tracks as they are now.
///
/// # Errors
///
/// As [`negotiate`](super::negotiate). The offer stands as it was.
pub fn take_answer(text: &str, offered: &SessionParams, prefer: Option<&Tracks>) -> Result<SessionParams, NegotiateError> {
    limits::check(text)?;
    let answer = Offer::parse(text)?;
    // RFC 3264 section 6: as many m-lines, in the same order.
    if answer.sections.len() != offered.media.len() {
        return Err(NegotiateError::Malformed("the answer has other m-lines than the offer"));
    }
    let local = local(offered, prefer);
    let mut media = Vec::new();
    for (section, wanted) in answer.sections.iter().zip(&offered.media) {
        let Section::Media(answered) = section else { continue };
        if answered.mid != wanted.mid || answered.kind != wanted.kind {
            return Err(NegotiateError::Malformed("the answer has other m-lines than the offer"));
        }
        match answered.direction {
            // RFC 3264 section 6.1: what is offered to be sent is received, or is not.
            Flow::RecvOnly => media.push(agree(answered, wanted, &local)?),
            Flow::Inactive => {}
            other => return Err(NegotiateError::WrongDirection { mid: answered.mid.clone(), offered: other.name() }),
        }
    }
    if media.is_empty() {
        return Err(NegotiateError::NoMedia);
    }
    Ok(SessionParams {
        remote_ice: answer.ice.clone(),
        remote_fingerprints: answer.fingerprints.clone(),
        dtls_role: if answer.setup == Setup::Passive { DtlsRole::Active } else { DtlsRole::Passive },
        media,
        ..offered.clone()
    })
}

fn agree(answered: &OfferedMedia, wanted: &MediaParams, local: &LocalParams<'_>) -> Result<MediaParams, NegotiateError> {
    let agreed = accept(answered, Direction::Play, local)?;
    // RFC 8285 section 6: an answer keeps the numbers of the offer.
    Ok(MediaParams { extensions: extension::common(&agreed.extensions, &wanted.extensions), ..agreed })
}

/// What we brought to the offer, as far as an answer still needs it.
fn local<'a>(offered: &SessionParams, prefer: Option<&'a Tracks>) -> LocalParams<'a> {
    let of_kind = |kind| offered.media.iter().find(move |media| media.kind == kind);
    let ssrc = |kind| of_kind(kind).map_or(0, |media| media.local_ssrc);
    LocalParams {
        ice: offered.local_ice.clone(),
        fingerprint: "",
        candidates: &[],
        tcp_candidates: &[],
        session_id: 0,
        audio_ssrc: ssrc(MediaKind::Audio),
        video_ssrc: ssrc(MediaKind::Video),
        rtx_ssrc: of_kind(MediaKind::Video).and_then(|media| media.rtx_ssrc).unwrap_or(0),
        stream_id: "",
        prefer,
        codec: None,
        terms: offered.terms,
    }
}

/// The m-line of a player that takes all codecs and header extensions that we have.
fn anything(kind: MediaKind, mid: String) -> OfferedMedia {
    OfferedMedia {
        kind,
        protocol: "UDP/TLS/RTP/SAVPF".to_owned(),
        mid,
        direction: Flow::RecvOnly,
        formats: codec::ours(kind),
        extensions: extension::ours(kind),
        ssrcs: Vec::new(),
        layers: OfferedLayers::default(),
        stream: None,
        reduced_size_rtcp: true,
    }
}
