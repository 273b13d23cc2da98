//! What WHIP and WHEP can be told, by vhost.

use std::time::Duration;

use weir_source::Secret;

/// Settings of WHIP and WHEP in one vhost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WhipConfig {
    /// Take candidates by PATCH (`trickle`). Default on. They are not needed: a client's addresses are
    /// learnt from its checks.
    pub trickle: bool,
    /// Restart ICE by PATCH (`ice_restart`). Default on. With neither, PATCH is not a method of a
    /// session.
    pub ice_restart: bool,
    /// Hold a viewer of a stream that nobody publishes until somebody does (`whep_wait`). Default on,
    /// as SRS; off: it is refused with 409 and `Retry-After`.
    pub whep_wait: bool,
    /// The STUN and TURN servers that clients are told of in `Link` (`ice_server`). Default none.
    pub ice_servers: Vec<IceServer>,
}

impl Default for WhipConfig {
    fn default() -> Self {
        Self { trickle: true, ice_restart: true, whep_wait: true, ice_servers: Vec::new() }
    }
}

/// One STUN or TURN server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceServer {
    /// `stun:host[:port]`, `turn:host[:port][?transport=udp|tcp]` or `turns:…` (RFC 7064, RFC 7065).
    pub url: String,
    /// How a client shows that it may use it.
    pub login: IceLogin,
}

/// How a client shows a TURN server that it may use it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum IceLogin {
    /// Not at all.
    #[default]
    None,
    /// By a name and a password, the same for all clients (`username=`, `credential=`).
    Static {
        /// The name.
        username: String,
        /// The password.
        credential: Secret,
    },
    /// By a name that says until when it is good, and its HMAC-SHA1 under a secret that the TURN server
    /// knows too (`secret=`, `ttl=`): coturn's `use-auth-secret`.
    Timed {
        /// The shared secret.
        secret: Secret,
        /// How long it is good. Default 24 h: a session's allocation is refreshed under the same name.
        ttl: Duration,
    },
}

/// What a written server should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IceServerError {
    /// No URL, or one of another scheme.
    #[error("an ice_server begins with a URL: stun:host, turn:host or turns:host")]
    Url,
    /// A word that says nothing.
    #[error("after its URL an ice_server has username= and credential=, or secret= and ttl=")]
    Word,
    /// One of a pair.
    #[error("username= and credential= go together, and without secret=")]
    Pair,
    /// No time.
    #[error("ttl= is in seconds, 60 to 2592000")]
    Ttl,
    /// Text that fits into no header.
    #[error("an ice_server is written in plain ASCII")]
    Text,
}

/// An allocation is refreshed under the name that it was made with.
const TTL: Duration = Duration::from_secs(86_400);

impl IceServer {
    /// As it is written: a URL, then `username=` and `credential=`, or `secret=` and maybe `ttl=`.
    ///
    /// # Errors
    ///
    /// [`IceServerError`].
    pub fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, IceServerError> {
        let mut words = words.into_iter();
        let url = words.next().filter(|url| is_url(url)).ok_or(IceServerError::Url)?;
        let (mut username, mut credential, mut secret, mut ttl) = (None, None, None, None);
        for word in words {
            let (key, value) = word.split_once('=').filter(|(_, value)| !value.is_empty()).ok_or(IceServerError::Word)?;
            if !value.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
                return Err(IceServerError::Text);
            }
            let place = match key {
                "username" => &mut username,
                "credential" => &mut credential,
                "secret" => &mut secret,
                "ttl" => &mut ttl,
                _ => return Err(IceServerError::Word),
            };
            if place.replace(value).is_some() {
                return Err(IceServerError::Word);
            }
        }
        let ttl = match ttl.map(str::parse) {
            None => TTL,
            Some(Ok(seconds)) if (60..=2_592_000).contains(&seconds) => Duration::from_secs(seconds),
            Some(_) => return Err(IceServerError::Ttl),
        };
        let login = match (username, credential, secret) {
            (None, None, None) => IceLogin::None,
            (Some(name), Some(password), None) => {
                IceLogin::Static { username: name.to_owned(), credential: Secret::new(password) }
            }
            (None, None, Some(secret)) => IceLogin::Timed { secret: Secret::new(secret), ttl },
            _ => return Err(IceServerError::Pair),
        };
        Ok(Self { url: url.to_owned(), login })
    }
}

/// RFC 7064 section 3.1 and RFC 7065 section 3.1, as far as a header needs it.
fn is_url(text: &str) -> bool {
    let rest = ["stun:", "stuns:", "turn:", "turns:"].iter().find_map(|scheme| text.strip_prefix(scheme));
    rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>\"\\".contains(&byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<IceServer, IceServerError> {
        IceServer::parse(text.split_ascii_whitespace())
    }

    #[test]
    fn servers_are_written_with_or_without_a_login() {
        assert_eq!(parse("stun:stun.example.net:3478").map(|server| server.login), Ok(IceLogin::None));
        let login = IceLogin::Static { username: "u".to_owned(), credential: Secret::new("p=1") };
        assert_eq!(parse("turn:[2001:db8::1]?transport=tcp credential=p=1 username=u").map(|server| server.login), Ok(login));
        let timed = |ttl| Ok(IceLogin::Timed { secret: Secret::new("s"), ttl: Duration::from_secs(ttl) });
        assert_eq!(parse("turns:t.example.net secret=s ttl=600").map(|server| server.login), timed(600));
        assert_eq!(parse("turns:t.example.net secret=s").map(|server| server.login), timed(86_400));
    }

    #[test]
    fn what_says_nothing_or_half_is_refused() {
        for (text, error) in [
            ("", IceServerError::Url),
            ("stun:", IceServerError::Url),
            ("https://turn.example.net", IceServerError::Url),
            ("turn:a>;rel=x", IceServerError::Url),
            ("turn:a user", IceServerError::Word),
            ("turn:a username=", IceServerError::Word),
            ("turn:a username=a username=b credential=c", IceServerError::Word),
            ("turn:a username=u", IceServerError::Pair),
            ("turn:a username=u credential=c secret=s", IceServerError::Pair),
            ("turn:a secret=s ttl=5", IceServerError::Ttl),
            ("turn:a secret=s ttl=x", IceServerError::Ttl),
            ("turn:a secret=\u{e9}", IceServerError::Text),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }
}
