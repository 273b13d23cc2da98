//! The random names of a session: in URLs, in ICE, of its ICE session's state.

use rand::Rng;

use crate::{OpenError, sdp::IceCredentials};

/// SRS's lengths: short enough for the username, and 41 bits keep them apart.
const UFRAG_CHARS: usize = 8;
/// RFC 8839 section 5.4 wants 22 or more.
const PWD_CHARS: usize = 32;
/// 165 bits: nobody guesses a session's name (RFC 9725 section 5 wants 122 at least).
const SESSION_CHARS: usize = 32;
/// Distinct for every ICE session there ever is.
const ETAG_CHARS: usize = 16;

/// A session's name in its URL.
pub(crate) fn session() -> String {
    random_text(SESSION_CHARS)
}

/// A strong entity tag, with its quotes (RFC 9110 section 8.8.3).
pub(crate) fn etag() -> String {
    format!("\"{}\"", random_text(ETAG_CHARS))
}

/// Fresh ICE credentials.
pub(crate) fn ice() -> IceCredentials {
    IceCredentials { ufrag: random_text(UFRAG_CHARS), pwd: random_text(PWD_CHARS) }
}

/// ICE credentials as a client wants them, or fresh ones.
pub(crate) fn ice_as(wanted: Option<&IceCredentials>) -> Result<IceCredentials, OpenError> {
    let Some(wanted) = wanted else { return Ok(ice()) };
    // RFC 8839 section 5.4: ice-char is a letter, a digit, "+" or "/".
    let legal = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'));
    let fits = (4..=256).contains(&wanted.ufrag.len()) && (22..=256).contains(&wanted.pwd.len());
    if fits && legal(&wanted.ufrag) && legal(&wanted.pwd) { Ok(wanted.clone()) } else { Err(OpenError::BadIce) }
}

/// Lower-case letters and digits from the thread's cryptographic generator.
fn random_text(chars: usize) -> String {
    const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut rng = rand::rng();
    (0..chars).map(|_| ALPHABET.get(rng.random_range(0..ALPHABET.len())).map_or('a', |byte| char::from(*byte))).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    #[test]
    fn h44_a35_a_hundred_thousand_session_names_are_distinct_and_even_in_every_place() {
        const COUNT: usize = 100_000;
        let names: HashSet<String> = (0..COUNT).map(|_| session()).collect();
        assert_eq!(names.len(), COUNT);
        for place in 0..SESSION_CHARS {
            let mut seen: HashMap<u8, f64> = HashMap::new();
            names.iter().for_each(|name| *seen.entry(name.as_bytes()[place]).or_default() += 1.0);
            let expected = COUNT as f64 / 36.0;
            assert_eq!(seen.len(), 36, "every letter comes at place {place}");
            // 35 degrees of freedom: more than 120 is met by chance once in 10^10.
            let chi_square: f64 = seen.values().map(|count| (count - expected).powi(2) / expected).sum();
            assert!(chi_square < 120.0, "place {place}: {chi_square}");
        }
        assert!(SESSION_CHARS as f64 * 36_f64.log2() >= 122.0);
    }

    #[test]
    fn h16_tags_are_strong_and_never_an_asterisk() {
        let tags: HashSet<String> = (0..1_000).map(|_| etag()).collect();
        assert_eq!(tags.len(), 1_000);
        for tag in tags {
            let inner = tag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).expect("quotes");
            assert!(inner.len() == ETAG_CHARS && inner.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{tag}");
        }
    }
}
