//! Signed URLs: `?expires=UNIX&sign=HEX`, made with a shared secret and nothing but a shell.
//!
//! `sign` is the HMAC-SHA256 of `publish:/app/stream:UNIX` (or `play:…`; in a vhost of a name
//! `publish:/vhost/app/stream:UNIX`), in hexadecimal digits:
//!
//! ```sh
//! printf 'publish:/live/cam:%s' "$EXPIRES" | openssl dgst -sha256 -hmac "$SECRET" -r | cut -d' ' -f1
//! ```

use std::fmt;

use aws_lc_rs::hmac;
use weir_source::{DEFAULT_VHOST, StreamKey};

use super::{jwt::LEEWAY_S, security::Action};

/// The secret that URLs are signed with.
#[derive(Clone)]
pub struct UrlKey {
    key: hmac::Key,
    /// Of a fixed text, to tell keys apart.
    mark: [u8; 32],
}

impl UrlKey {
    /// From the secret's text.
    pub fn new(secret: &str) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let mut mark = [0; 32];
        mark.copy_from_slice(hmac::sign(&key, b"weir").as_ref());
        Self { key, mark }
    }

    /// The signature is right and the time is not over. `lasts`: even if it is.
    pub(super) fn is_valid(&self, signed: &Signed<'_>, action: Action, key: &StreamKey, now_s: u64, lasts: bool) -> bool {
        let digits = signed.expires.bytes().all(|digit| digit.is_ascii_digit());
        let Some(expires) = signed.expires.parse::<u64>().ok().filter(|_| digits) else { return false };
        let Some(tag) = bytes_of_hex(signed.sign) else { return false };
        let is_right = hmac::verify(&self.key, text(action, key, signed.expires).as_bytes(), &tag).is_ok();
        is_right && (lasts || now_s <= expires.saturating_add(LEEWAY_S))
    }
}

impl PartialEq for UrlKey {
    fn eq(&self, other: &Self) -> bool {
        self.mark == other.mark
    }
}

impl Eq for UrlKey {}

impl fmt::Debug for UrlKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UrlKey").finish_non_exhaustive()
    }
}

/// The two parameters as they stand in a query.
#[derive(Clone, Copy)]
pub(super) struct Signed<'a> {
    pub(super) expires: &'a str,
    pub(super) sign: &'a str,
}

/// What is signed.
fn text(action: Action, key: &StreamKey, expires: &str) -> String {
    let verb = match action {
        Action::Publish => "publish",
        Action::Play => "play",
    };
    match key.vhost() {
        DEFAULT_VHOST => format!("{verb}:/{}/{}:{expires}", key.app(), key.stream()),
        vhost => format!("{verb}:/{vhost}/{}/{}:{expires}", key.app(), key.stream()),
    }
}

fn bytes_of_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 2 * bytes.len() {
        return None;
    }
    let mut digits = text.chars().map(|c| c.to_digit(16));
    for byte in &mut bytes {
        let (high, low) = (digits.next()??, digits.next()??);
        *byte = u8::try_from(high << 4 | low).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn is_valid(expires: &str, sign: &str, action: Action, key: &StreamKey) -> bool {
        UrlKey::new("secret").is_valid(&Signed { expires, sign }, action, key, NOW, false)
    }

    /// By `printf 'publish:/live/cam:1800000000' | openssl dgst -sha256 -hmac secret`.
    const BY_OPENSSL: &str = "a36915f34d8e77d7b3a11f0d48f3911575ab6556d3827a9811de02330097c272";
    /// The same of `play:/a.example/live/cam:1800000000`.
    const BY_OPENSSL_IN_VHOST: &str = "98ae86da824bedb3bd240642e163511326ac0f6b3e2d054c04f17fd34c263ac4";

    #[test]
    fn the_recipe_makes_a_right_signature() {
        let key = StreamKey::new("live", "cam").unwrap();
        assert!(is_valid("1800000000", BY_OPENSSL, Action::Publish, &key));
        assert!(is_valid("1800000000", &BY_OPENSSL.to_uppercase(), Action::Publish, &key));
        let elsewhere = StreamKey::with_vhost("a.example", "live", "cam").unwrap();
        assert!(is_valid("1800000000", BY_OPENSSL_IN_VHOST, Action::Play, &elsewhere));
    }

    #[test]
    fn nothing_else_is_right() {
        let key = StreamKey::new("live", "cam").unwrap();
        let other = StreamKey::new("live", "cam2").unwrap();
        assert!(!is_valid("1800000000", BY_OPENSSL, Action::Play, &key), "another action");
        assert!(!is_valid("1800000000", BY_OPENSSL, Action::Publish, &other), "another stream");
        assert!(!is_valid("1800000001", BY_OPENSSL, Action::Publish, &key), "another time");
        for (expires, sign) in [
            ("", BY_OPENSSL),
            ("+1800000000", BY_OPENSSL),
            ("18446744073709551616", BY_OPENSSL),
            ("1800000000", ""),
            ("1800000000", &BY_OPENSSL[1..]),
            ("1800000000", &"g".repeat(64)),
            ("1800000000", &"é".repeat(32)),
            ("1800000000", &"0".repeat(64)),
        ] {
            assert!(!is_valid(expires, sign, Action::Publish, &key), "{expires} {sign}");
        }
        assert_ne!(UrlKey::new("secret"), UrlKey::new("Secret"));
    }

    #[test]
    fn f50_it_ends_a_minute_after_its_time() {
        let key = StreamKey::new("live", "cam").unwrap();
        let at = |now_s, lasts| {
            let signed = Signed { expires: "1800000000", sign: BY_OPENSSL };
            UrlKey::new("secret").is_valid(&signed, Action::Publish, &key, now_s, lasts)
        };
        assert!(at(NOW + 60, false) && !at(NOW + 61, false) && at(NOW + 10_000, true));
    }
}
