//! Stream tokens: what a client must show to publish or play, and where it may show it.

use std::{borrow::Cow, net::IpAddr};

use weir_source::{Identity, StreamKey};

use super::{
    Refusal, identity,
    jwt::JwtConfig,
    security::Action,
    signed::{Signed, UrlKey},
};

/// The `token` section of a vhost, once it is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenConfig {
    /// Publishers need one. Default on.
    pub publish: bool,
    /// Players need one. Default off.
    pub play: bool,
    /// It may stand in the query of an HTTP URL, as `token=` or as `expires=` and `sign=`, besides
    /// `Authorization: Bearer`. RTMP has no other place for it. Default on: browsers cannot send a header
    /// with the URL of a video, and OBS cannot with its stream key.
    pub query: bool,
    /// Which JSON Web Tokens are taken.
    pub jwt: JwtConfig,
    /// The secret of signed URLs.
    pub url_key: Option<UrlKey>,
}

impl Default for TokenConfig {
    fn default() -> Self {
        Self { publish: true, play: false, query: true, jwt: JwtConfig::default(), url_key: None }
    }
}

/// Who wants what, and what it shows for it.
pub(super) struct Ask<'a> {
    pub(super) action: Action,
    pub(super) key: &'a StreamKey,
    /// Where it is; `None`: that does not matter.
    pub(super) ip: Option<IpAddr>,
    pub(super) bearer: Option<&'a str>,
    /// A query that may hold one.
    pub(super) query: Option<&'a str>,
    /// What has expired since will do: the right to end one's own session does not.
    pub(super) lasts: bool,
}

impl TokenConfig {
    /// A client needs one for this.
    pub(super) const fn is_needed(&self, action: Action) -> bool {
        match action {
            Action::Publish => self.publish,
            Action::Play => self.play,
        }
    }

    /// Looks at what is shown; who it is comes back.
    pub(super) fn check(&self, ask: &Ask<'_>, now_s: u64) -> Result<Identity, Refusal> {
        if let Some(token) = ask.bearer {
            return self.check_jwt(ask, token);
        }
        let query = ask.query.unwrap_or_default();
        if let Some(token) = parameter(query, "token") {
            return self.check_jwt(ask, &token);
        }
        let (Some(key), Some(sign)) = (&self.url_key, parameter(query, "sign")) else { return Err(Refusal::NoToken) };
        let expires = parameter(query, "expires").unwrap_or_default();
        let signed = Signed { expires: &expires, sign: &sign };
        match key.is_valid(&signed, ask.action, ask.key, now_s, ask.lasts) {
            true => Ok(identity("sign", &sign)),
            false => Err(Refusal::BadToken),
        }
    }

    fn check_jwt(&self, ask: &Ask<'_>, token: &str) -> Result<Identity, Refusal> {
        let claims = self.jwt.read(token, ask.lasts).ok_or(Refusal::BadToken)?;
        let is_for_it = claims.permits(ask.action) && claims.names(ask.key) && ask.ip.is_none_or(|ip| claims.is_for(ip));
        match claims.subject() {
            _ if !is_for_it => Err(Refusal::OtherStream),
            Some(subject) => Ok(identity("sub", subject)),
            None => Ok(identity("token", token)),
        }
    }
}

/// The query, with or without its `?`, shows some credential.
pub(super) fn is_shown_in(query: &str) -> bool {
    ["token", "sign"].iter().any(|name| parameter(query, name).is_some())
}

/// The first value of a parameter; an empty one counts as absent.
fn parameter<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let query = query.strip_prefix('?').unwrap_or(query);
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value)
}
