//! What clients connect to: a URL, read for a kind of client.

use std::net::SocketAddr;

use anyhow::{Context as _, bail, ensure};
use reqwest::Url;

/// A kind of client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A WebRTC viewer.
    WebrtcPlay,
    /// A WebRTC publisher.
    WebrtcPublish,
    /// An RTMP player.
    RtmpPlay,
    /// An RTMP publisher.
    RtmpPublish,
    /// A player of FLV over HTTP.
    FlvPlay,
    /// A player of HLS.
    HlsPlay,
}

impl Kind {
    /// The kind that `url` is for, as far as it shows.
    ///
    /// # Errors
    ///
    /// Nothing here publishes or plays such a URL.
    pub fn of(url: &str, publish: bool) -> anyhow::Result<Self> {
        let parsed = Url::parse(url).with_context(|| format!("{url:?} is no URL"))?;
        let path = parsed.path();
        Ok(match (parsed.scheme(), publish) {
            ("webrtc" | "janus", false) => Self::WebrtcPlay,
            ("webrtc" | "janus", true) => Self::WebrtcPublish,
            ("rtmp" | "rtmps", false) => Self::RtmpPlay,
            ("rtmp" | "rtmps", true) => Self::RtmpPublish,
            ("http" | "https", false) if path.ends_with(".flv") => Self::FlvPlay,
            ("http" | "https", false) if path.ends_with(".m3u8") => Self::HlsPlay,
            ("http" | "https", false) => Self::WebrtcPlay,
            ("http" | "https", true) => Self::WebrtcPublish,
            (scheme, _) => bail!("no client for {scheme}://; there are webrtc, janus, rtmp, rtmps, http and https"),
        })
    }

    /// Whether it sends the media.
    #[must_use]
    pub const fn publishes(self) -> bool {
        matches!(self, Self::WebrtcPublish | Self::RtmpPublish)
    }

    /// Whether it speaks WebRTC.
    #[must_use]
    pub const fn is_webrtc(self) -> bool {
        matches!(self, Self::WebrtcPlay | Self::WebrtcPublish)
    }

    /// As it is shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::WebrtcPlay => "WebRTC play",
            Self::WebrtcPublish => "WebRTC publish",
            Self::RtmpPlay => "RTMP play",
            Self::RtmpPublish => "RTMP publish",
            Self::FlvPlay => "HTTP-FLV play",
            Self::HlsPlay => "HLS play",
        }
    }
}

/// A URL that suits its kind. `{n}` may still be in it.
#[derive(Clone, Debug)]
pub struct Target {
    kind: Kind,
    url: String,
}

impl Target {
    /// Reads `url` for a client of `kind`.
    ///
    /// # Errors
    ///
    /// It is no URL, or not one for this kind.
    pub fn parse(kind: Kind, url: &str) -> anyhow::Result<Self> {
        let target = Self { kind, url: url.to_owned() };
        let first = target.url(0)?;
        let schemes: &[&str] = match kind {
            Kind::WebrtcPlay | Kind::WebrtcPublish => &["http", "https", "webrtc", "janus"],
            Kind::RtmpPlay | Kind::RtmpPublish => &["rtmp", "rtmps"],
            Kind::FlvPlay | Kind::HlsPlay => &["http", "https"],
        };
        ensure!(schemes.contains(&first.scheme()), "{} wants {}://", kind.name(), schemes.join(":// or "));
        ensure!(first.host_str().is_some_and(|host| !host.is_empty()), "no host in it");
        if matches!(first.scheme(), "rtmp" | "rtmps" | "webrtc") {
            app_and_stream(&first)?;
        }
        Ok(target)
    }

    /// What it is for.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The URL of stream number `n`.
    pub(crate) fn url(&self, n: usize) -> anyhow::Result<Url> {
        let n = n.to_string();
        Url::parse(&self.url.replace("{n}", &n).replace("[s]", &n)).context("no URL")
    }
}

/// `app` and `stream?params` of `scheme://host/app/stream?params`. The app may have slashes in it.
pub(crate) fn app_and_stream(url: &Url) -> anyhow::Result<(String, String)> {
    let path = url.path().trim_matches('/');
    let (app, stream) = path.rsplit_once('/').context("it wants /app/stream behind the host")?;
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    Ok((app.to_owned(), format!("{stream}{query}")))
}

/// The addresses of a URL's host, names resolved.
pub(crate) async fn resolve(url: &Url, default_port: u16) -> anyhow::Result<SocketAddr> {
    let host = url.host_str().context("no host")?.trim_matches(['[', ']']);
    let port = url.port_or_known_default().unwrap_or(default_port);
    let mut found = tokio::net::lookup_host((host, port)).await.with_context(|| format!("cannot resolve {host}"))?;
    found.next().with_context(|| format!("{host} has no address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_show_in_urls() {
        for (url, publish, kind) in [
            ("webrtc://a/live/x", false, Kind::WebrtcPlay),
            ("webrtc://a/live/x", true, Kind::WebrtcPublish),
            ("http://a:1985/rtc/v1/whep/?app=live&stream=x", false, Kind::WebrtcPlay),
            ("https://a/whip/x", true, Kind::WebrtcPublish),
            ("rtmp://a/live/x", true, Kind::RtmpPublish),
            ("rtmps://a/live/x", false, Kind::RtmpPlay),
            ("http://a/live/x.flv?token=1", false, Kind::FlvPlay),
            ("https://a/live/x.flv", false, Kind::FlvPlay),
            ("http://a/live/x.m3u8", false, Kind::HlsPlay),
        ] {
            assert_eq!(Kind::of(url, publish).unwrap(), kind, "{url}");
        }
        assert!(Kind::of("srt://a", false).is_err());
        assert!(Kind::of("nonsense", false).is_err());
    }

    #[test]
    fn streams_are_numbered_and_paths_taken_apart() {
        let target = Target::parse(Kind::RtmpPlay, "rtmp://[::1]:1936/a/b/x{n}?vhost=v&n={n}").unwrap();
        let url = target.url(7).unwrap();
        assert_eq!(app_and_stream(&url).unwrap(), ("a/b".to_owned(), "x7?vhost=v&n=7".to_owned()));
        assert_eq!(url.port(), Some(1936));
        let srs = Target::parse(Kind::WebrtcPlay, "webrtc://host/live/x_[s]").unwrap();
        assert_eq!(srs.url(3).unwrap().path(), "/live/x_3");
    }

    #[test]
    fn urls_that_do_not_suit_the_kind_are_refused() {
        for (kind, url) in [
            (Kind::RtmpPlay, "http://a/live/x"),
            (Kind::RtmpPlay, "rtmp://a/onlyapp"),
            (Kind::RtmpPlay, "rtmps://a/onlyapp"),
            (Kind::FlvPlay, "rtmps://a/live/x.flv"),
            (Kind::WebrtcPlay, "webrtc://a"),
            (Kind::HlsPlay, "not a url"),
        ] {
            assert!(Target::parse(kind, url).is_err(), "{url}");
        }
    }
}
