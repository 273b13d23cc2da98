//! The settings of a vhost's callbacks (`http_hooks`).

use std::{fmt, str::FromStr, time::Duration};

use axum::http::Uri;

use super::Hook;

/// Which URLs are called, and how long is waited for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HooksConfig {
    /// Call any of them. Default off.
    pub enabled: bool,
    /// Asked at `connect` of RTMP; all must agree. Default none.
    pub on_connect: Vec<HookUrl>,
    /// Told of the end of an RTMP connection. Default none.
    pub on_close: Vec<HookUrl>,
    /// Asked before a client publishes; all must agree. Default none.
    pub on_publish: Vec<HookUrl>,
    /// Told when it has gone. Default none.
    pub on_unpublish: Vec<HookUrl>,
    /// Asked before a client plays; all must agree. Default none.
    pub on_play: Vec<HookUrl>,
    /// Told when it has gone. Default none.
    pub on_stop: Vec<HookUrl>,
    /// Told of finished recordings. Default none.
    pub on_dvr: Vec<HookUrl>,
    /// Told of finished HLS segments. Default none.
    pub on_hls: Vec<HookUrl>,
    /// Fetched at each finished HLS segment. Default none.
    pub on_hls_notify: Vec<NotifyUrl>,
    /// How long a decision may take, all URLs of a hook together; then it is no. Default 3 s: SRS waits
    /// for 30, but whoever asks has given up by then, and a refusal with its reason is of more use than
    /// a client that hangs. A server that needs longer is worth a longer time in the configuration.
    pub decision_timeout: Duration,
    /// How long one try to tell may take. Default 5 s.
    pub notice_timeout: Duration,
    /// How often a URL that does not answer is tried to be told, at the most. Default 8.
    pub tries_max: u32,
    /// For how long. Default 60 s.
    pub retry_for: Duration,
    /// How many bytes of what [`HooksConfig::on_hls_notify`] fetches are read (`hls_nb_notify`).
    /// Default 64, as SRS.
    pub hls_nb_notify: usize,
}

impl Default for HooksConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            on_connect: Vec::new(),
            on_close: Vec::new(),
            on_publish: Vec::new(),
            on_unpublish: Vec::new(),
            on_play: Vec::new(),
            on_stop: Vec::new(),
            on_dvr: Vec::new(),
            on_hls: Vec::new(),
            on_hls_notify: Vec::new(),
            decision_timeout: Duration::from_secs(3),
            notice_timeout: Duration::from_secs(5),
            tries_max: 8,
            retry_for: Duration::from_secs(60),
            hls_nb_notify: 64,
        }
    }
}

impl HooksConfig {
    /// The URLs of a hook that is a POST; none where callbacks are off.
    pub(super) fn urls(&self, hook: Hook) -> &[HookUrl] {
        match hook {
            _ if !self.enabled => &[],
            Hook::Connect => &self.on_connect,
            Hook::Close => &self.on_close,
            Hook::Publish => &self.on_publish,
            Hook::Unpublish => &self.on_unpublish,
            Hook::Play => &self.on_play,
            Hook::Stop => &self.on_stop,
            Hook::Dvr => &self.on_dvr,
            Hook::Hls => &self.on_hls,
            Hook::HlsNotify => &[],
        }
    }

    /// The URLs that are fetched at each segment.
    pub(super) fn notify_urls(&self) -> &[NotifyUrl] {
        if self.enabled { &self.on_hls_notify } else { &[] }
    }

    /// As `Endpoints` knows them.
    pub(super) fn all_urls(&self) -> Vec<String> {
        let mut all: Vec<_> = self.notify_urls().iter().map(|url| url.origin().to_owned()).collect();
        all.extend(Hook::ALL.iter().flat_map(|hook| self.urls(*hook)).map(ToString::to_string));
        all
    }

    /// Somebody is told of finished HLS segments: they are made whether or not anybody plays.
    pub fn wants_segments(&self) -> bool {
        self.enabled && !(self.on_hls.is_empty() && self.on_hls_notify.is_empty())
    }
}

/// Why a text is no URL of a callback.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone, Copy)]
#[non_exhaustive]
pub enum HookUrlError {
    /// It cannot be read.
    #[error("this is no URL")]
    Malformed,
    /// It has another scheme, or none.
    #[error("the URL must begin with http:// or https://")]
    Scheme,
    /// It names no host.
    #[error("the URL names no host")]
    Host,
    /// A user and password stand before the host.
    #[error("the URL must not hold a user or password")]
    UserInfo,
    /// A placeholder stands where the host or port is: who publishes could choose whom we call.
    #[error("placeholders may stand only behind the host")]
    Placeholder,
}

/// Where a callback is posted to: `http://` or `https://`, a host, a path, a query. It prints without
/// its query, which may hold a password.
#[derive(Clone, PartialEq, Eq)]
pub struct HookUrl(Uri);

impl HookUrl {
    pub(super) const fn uri(&self) -> &Uri {
        &self.0
    }
}

impl FromStr for HookUrl {
    type Err = HookUrlError;

    fn from_str(text: &str) -> Result<Self, HookUrlError> {
        // A path may be left out.
        let uri = text.parse::<Uri>().map_err(|_invalid| HookUrlError::Malformed)?;
        check(&uri)?;
        Ok(Self(uri))
    }
}

impl fmt::Display for HookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_query(&self.0))
    }
}

impl fmt::Debug for HookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HookUrl({self})")
    }
}

/// What is fetched at each segment: a URL in whose path and query `[server_id]`, `[service_id]`,
/// `[app]`, `[stream]`, `[ts_url]` and `[param]` are replaced.
#[derive(Clone, PartialEq, Eq)]
pub struct NotifyUrl {
    /// `scheme://host:port`
    origin: Box<str>,
    /// From the `/` on.
    path: Box<str>,
}

impl NotifyUrl {
    /// With each placeholder replaced. What does not belong into a URL is percent-encoded, so that
    /// the host cannot change and no line can end early.
    pub(super) fn expand(&self, values: &[(&str, &str)]) -> Option<Uri> {
        let mut path = self.path.to_string();
        for (name, value) in values {
            path = path.replace(name, value);
        }
        let mut text = self.origin.to_string();
        for byte in path.bytes() {
            match byte {
                b'!' | b'$'..=b';' | b'=' | b'?'..=b'Z' | b'_' | b'a'..=b'z' | b'~' => text.push(char::from(byte)),
                _ => text.push_str(&format!("%{byte:02X}")),
            }
        }
        text.parse().ok()
    }

    /// What its calls have in common.
    pub(super) fn origin(&self) -> &str {
        &self.origin
    }
}

impl FromStr for NotifyUrl {
    type Err = HookUrlError;

    fn from_str(text: &str) -> Result<Self, HookUrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(HookUrlError::Scheme)?;
        let split = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(split);
        if ["[server_id]", "[service_id]", "[app]", "[stream]", "[ts_url]", "[param]"].iter().any(|name| authority.contains(name))
        {
            return Err(HookUrlError::Placeholder);
        }
        let origin = format!("{scheme}://{authority}");
        check(&origin.parse::<Uri>().map_err(|_invalid| HookUrlError::Malformed)?)?;
        let path = if path.starts_with('/') { path.into() } else { format!("/{path}").into() };
        Ok(Self { origin: origin.into(), path })
    }
}

impl fmt::Debug for NotifyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NotifyUrl({}{})", self.origin, self.path.split('?').next().unwrap_or_default())
    }
}

fn check(uri: &Uri) -> Result<(), HookUrlError> {
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(HookUrlError::Scheme);
    }
    let authority = uri.authority().ok_or(HookUrlError::Host)?;
    if authority.as_str().contains('@') {
        return Err(HookUrlError::UserInfo);
    }
    if authority.host().is_empty() { Err(HookUrlError::Host) } else { Ok(()) }
}

/// For logs and metrics.
pub(super) fn without_query(uri: &Uri) -> String {
    let authority = uri.authority().map_or("", axum::http::uri::Authority::as_str);
    format!("{}://{authority}{}", uri.scheme_str().unwrap_or_default(), uri.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_host_and_no_password() {
        let parse = |text: &str| text.parse::<HookUrl>().map(|url| url.to_string());
        assert_eq!(parse("http://127.0.0.1:8085/api/v1/clients?key=x"), Ok("http://127.0.0.1:8085/api/v1/clients".to_owned()));
        assert_eq!(parse("https://[::1]"), Ok("https://[::1]/".to_owned()));
        assert_eq!(parse("ftp://h/x"), Err(HookUrlError::Scheme));
        assert_eq!(parse("/x"), Err(HookUrlError::Scheme));
        assert_eq!(parse("http://u:p@h/x"), Err(HookUrlError::UserInfo));
        assert_eq!(parse("http://h/a b"), Err(HookUrlError::Malformed));
        assert_eq!(format!("{:?}", "http://h/x?key=secret".parse::<HookUrl>()), "Ok(HookUrl(http://h/x))");
    }

    #[test]
    fn a64_what_clients_say_stays_behind_the_host() {
        let url: NotifyUrl = "http://h:81/n/[app]/[stream]/[ts_url][param]".parse().unwrap();
        let values = [("[app]", "live"), ("[stream]", "s"), ("[ts_url]", "live/s-1.ts"), ("[param]", "?a=1&b=\"\r\n ä#@evil")];
        let uri = url.expand(&values).unwrap();
        assert_eq!(uri.to_string(), "http://h:81/n/live/s/live/s-1.ts?a=1&b=%22%0D%0A%20%C3%A4%23@evil");
        assert_eq!(uri.host(), Some("h"));
        assert_eq!("http://[stream].example/x".parse::<NotifyUrl>(), Err(HookUrlError::Placeholder));
        assert_eq!("http://h[param]/x".parse::<NotifyUrl>(), Err(HookUrlError::Placeholder));
        assert_eq!("http://[::1]:8085?x=[param]".parse::<NotifyUrl>().unwrap().expand(&[]).unwrap().host(), Some("[::1]"));
    }
}
