//! `Link` headers: the STUN and TURN servers that a client may use (RFC 9725 section 4.6).
//!
//! Extensions would be named here too (section 4.9). There is none, and none is ever required.

use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac;
use axum::http::HeaderValue;
use base64::{Engine, engine::general_purpose::STANDARD};

use super::{IceLogin, IceServer};

/// One header for each server, in their order. `client` is in the names that are good for a time, so
/// that the TURN server's log tells whose an allocation is.
pub(super) fn ice_servers(servers: &[IceServer], client: &str, now: SystemTime) -> Vec<HeaderValue> {
    servers.iter().filter_map(|server| ice_server(server, client, now)).collect()
}

/// `None` for what fits into no header; the configuration has been checked for that.
fn ice_server(server: &IceServer, client: &str, now: SystemTime) -> Option<HeaderValue> {
    // RFC 8288 section 3: the target stands in angle brackets.
    if server.url.contains(['<', '>', ' ']) {
        return None;
    }
    let mut link = format!("<{}>; rel=\"ice-server\"", server.url);
    let login = match &server.login {
        IceLogin::None => None,
        IceLogin::Static { username, credential } => Some((username.clone(), credential.expose().to_owned())),
        IceLogin::Timed { secret, ttl } => Some(timed(secret.expose(), client, now + *ttl)),
    };
    if let Some((username, credential)) = login {
        link.push_str(&format!("; username={}; credential={}", quoted(&username), quoted(&credential)));
    }
    let mut value = HeaderValue::from_str(&link).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The REST API for access to TURN (draft-uberti-behave-turn-rest): the name is the end in Unix time and
/// whatever, the password the name's HMAC-SHA1 in base 64.
fn timed(secret: &str, client: &str, until: SystemTime) -> (String, String) {
    let seconds = until.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let username = format!("{seconds}:{client}");
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    let credential = STANDARD.encode(hmac::sign(&key, username.as_bytes()));
    (username, credential)
}

/// RFC 9110 section 5.6.4.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use weir_source::Secret;

    use super::*;

    fn links(login: IceLogin) -> Vec<String> {
        let servers = [IceServer { url: "turn:turn.example.net:3478?transport=udp".to_owned(), login }];
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        ice_servers(&servers, "abcd1234", now).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn h37_a_name_and_a_password_are_quoted() {
        assert_eq!(links(IceLogin::None), ["<turn:turn.example.net:3478?transport=udp>; rel=\"ice-server\""]);
        let login = IceLogin::Static { username: "u\"1".to_owned(), credential: Secret::new("p\\2") };
        assert_eq!(
            links(login),
            ["<turn:turn.example.net:3478?transport=udp>; rel=\"ice-server\"; username=\"u\\\"1\"; credential=\"p\\\\2\""]
        );
        let login = IceLogin::Static { username: "a\nb".to_owned(), credential: Secret::default() };
        assert!(links(login).is_empty(), "what would forge a header is not sent");
    }

    #[test]
    fn h37_a_timed_name_says_its_end_and_is_signed_as_coturn_does() {
        let login = IceLogin::Timed { secret: Secret::new("north"), ttl: Duration::from_secs(3_600) };
        // printf 1700003600:abcd1234 | openssl dgst -sha1 -hmac north -binary | base64
        let expected = "/4akmfIrHIcH2OuVJwnttGqOA/o=";
        let link = links(login).remove(0);
        assert!(link.contains("; username=\"1700003600:abcd1234\"; "), "{link}");
        assert!(link.contains(&format!("; credential=\"{expected}\"")), "{link}");
    }
}
