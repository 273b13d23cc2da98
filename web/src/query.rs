//! The query of a signalling request: which stream, and SRS's switches.

use axum::{extract::Query, http::Uri};
use weir_rtc::{
    Candidate,
    sdp::{Direction, IceCredentials},
};
use weir_source::{Codec, Secret, StreamKey, Vhosts};

use crate::{Fault, Problem, ids};

/// SRS's names for a request that gives none.
const DEFAULT_APP: &str = "live";
const DEFAULT_STREAM: &str = "livestream";

/// The pairs of a query, and the query as it came. Parameters that are not asked for are free for
/// hooks and players.
pub(crate) struct Params(Vec<(String, String)>, Secret);

impl Params {
    /// From the part after `?`. Broken escapes are an error rather than guessed at.
    pub(crate) fn of(uri: &Uri) -> Result<Self, Problem> {
        match Query::<Vec<(String, String)>>::try_from_uri(uri) {
            Ok(Query(pairs)) => {
                let whole = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
                Ok(Self(pairs, Secret::new(whole)))
            }
            Err(_) => Err(Problem::new(Fault::Query, "the query could not be decoded")),
        }
    }

    /// The first value of `name`; an empty one counts as absent.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// A number, or `default` where it is absent or none.
    pub(crate) fn number(&self, name: &str, default: usize) -> usize {
        self.get(name).and_then(|value| value.parse().ok()).unwrap_or(default)
    }

    /// Those of the stream's own URL before these, as SRS's players write them.
    pub(crate) fn with(mut self, query: &str) -> Self {
        if query.is_empty() {
            return self;
        }
        let Ok(uri) = format!("/?{query}").parse::<Uri>() else { return self };
        if let Ok(Query(mut pairs)) = Query::<Vec<(String, String)>>::try_from_uri(&uri) {
            pairs.append(&mut self.0);
            let rest = self.1.expose().trim_start_matches('?');
            let whole = if rest.is_empty() { format!("?{query}") } else { format!("?{query}&{rest}") };
            return Self(pairs, Secret::new(whole));
        }
        self
    }

    /// The query as it came, with its `?`.
    pub(crate) fn whole(&self) -> &Secret {
        &self.1
    }

    /// `app` and `stream`, in the vhost that the request names.
    pub(crate) fn key(&self, vhosts: &Vhosts, host: &str) -> Result<StreamKey, Problem> {
        let (app, stream) = (self.raw("app").unwrap_or(DEFAULT_APP), self.raw("stream").unwrap_or(DEFAULT_STREAM));
        Ok(vhosts.key(self.vhost().unwrap_or(host), app, stream)?)
    }

    /// The vhost, where the query names one: SRS's `vhost` or `domain`.
    pub(crate) fn vhost(&self) -> Option<&str> {
        self.get("vhost").or_else(|| self.get("domain"))
    }

    /// An empty name is a mistake in a template rather than a wish for the default (A59).
    fn raw(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// `action`, where it is given.
    pub(crate) fn action(&self) -> Result<Option<Direction>, Problem> {
        match self.get("action") {
            None => Ok(None),
            Some("publish") => Ok(Some(Direction::Publish)),
            Some("play") => Ok(Some(Direction::Play)),
            Some(_) => Err(Problem::new(Fault::Query, "action must be publish or play")),
        }
    }

    /// `eip` or `candidate`: an address with or without a port. Names are not looked up (A09).
    pub(crate) fn candidate(&self) -> Result<Option<Candidate>, Problem> {
        let Some(text) = self.get("eip").or_else(|| self.get("candidate")) else { return Ok(None) };
        match text.parse::<Candidate>() {
            Ok(candidate) if candidate.port != Some(0) => Ok(Some(candidate)),
            _ => Err(Problem::new(Fault::Query, "eip and candidate must be an IP address, with or without a port")),
        }
    }

    /// `codec`, of the picture.
    pub(crate) fn codec(&self) -> Result<Option<Codec>, Problem> {
        let Some(name) = self.get("codec") else { return Ok(None) };
        match name.to_ascii_lowercase().as_str() {
            "h264" | "avc" => Ok(Some(Codec::H264)),
            "h265" | "hevc" => Ok(Some(Codec::H265)),
            "vp8" => Ok(Some(Codec::Vp8)),
            "vp9" => Ok(Some(Codec::Vp9)),
            "av1" => Ok(Some(Codec::Av1)),
            _ => Err(Problem::new(Fault::Query, "codec must be h264, hevc, vp8, vp9 or av1")),
        }
    }

    /// `layer`: the name (rid) of the best simulcast layer wanted.
    pub(crate) fn layer(&self) -> Result<Option<String>, Problem> {
        let Some(name) = self.get("layer") else { return Ok(None) };
        // RFC 8852 section 3.1, and what browsers also take.
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        if name.len() > 16 || !name.bytes().all(legal) {
            return Err(Problem::new(Fault::Query, "layer must be the rid of a simulcast layer: 1 to 16 letters or digits"));
        }
        Ok(Some(name.to_owned()))
    }

    /// `ice-ufrag` and `ice-pwd`. Where only one is given the other is made up.
    pub(crate) fn ice(&self) -> Result<Option<IceCredentials>, Problem> {
        let (ufrag, pwd) = (self.get("ice-ufrag"), self.get("ice-pwd"));
        if ufrag.is_none() && pwd.is_none() {
            return Ok(None);
        }
        check_ice("ice-ufrag", ufrag, 4)?;
        check_ice("ice-pwd", pwd, 22)?;
        let or_random = |given: Option<&str>, len| given.map_or_else(|| ids::random(len), str::to_owned);
        Ok(Some(IceCredentials { ufrag: or_random(ufrag, 8), pwd: or_random(pwd, 32) }))
    }
}

/// `min` to 32 ice-chars (RFC 8839 section 5.4; the upper bound is SRS's).
fn check_ice(name: &str, value: Option<&str>, min: usize) -> Result<(), Problem> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    match value {
        Some(value) if !(min..=32).contains(&value.len()) || !value.bytes().all(legal) => {
            Err(Problem::new(Fault::Query, format!("{name} must be {min} to 32 letters, digits, '+' or '/'")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(query: &str) -> Params {
        Params::of(&format!("/rtc/v1/whip/?{query}").parse().unwrap()).unwrap_or_else(|_| panic!("{query}"))
    }

    #[test]
    fn names_have_srs_defaults() {
        assert_eq!(params("").key(&Vhosts::default(), "").unwrap().to_string(), "/live/livestream");
        assert_eq!(params("stream=cam&app=show&stream=other").key(&Vhosts::default(), "").unwrap().to_string(), "/show/cam");
        assert!(params("stream=").key(&Vhosts::default(), "").is_err());
    }

    #[test]
    fn candidates_are_addresses_only() {
        let candidate = |query: &str| params(query).candidate().map(|found| found.map(|c| (c.ip.to_string(), c.port)));
        assert_eq!(candidate("").unwrap(), None);
        assert_eq!(candidate("eip=192.0.2.7").unwrap(), Some(("192.0.2.7".to_owned(), None)));
        assert_eq!(candidate("candidate=192.0.2.7:9000").unwrap(), Some(("192.0.2.7".to_owned(), Some(9000))));
        assert_eq!(candidate("eip=[2001:db8::1]:80").unwrap(), Some(("2001:db8::1".to_owned(), Some(80))));
        for bad in ["eip=metadata.internal", "eip=192.0.2.7:0", "eip=192.0.2.7:99999", "candidate=*", "eip=$X"] {
            assert!(candidate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn codecs_go_by_srs_names_in_any_case() {
        assert_eq!(params("").codec().unwrap(), None);
        assert_eq!(params("codec=HEVC").codec().unwrap(), Some(Codec::H265));
        assert_eq!(params("codec=av1").codec().unwrap(), Some(Codec::Av1));
        assert!(params("codec=theora").codec().is_err());
    }

    #[test]
    fn a_layer_goes_by_its_rid() {
        assert_eq!(params("").layer().unwrap(), None);
        assert_eq!(params("layer=low_1").layer().unwrap().as_deref(), Some("low_1"));
        assert!(params("layer=a%20b").layer().is_err());
        assert!(params("layer=aaaaaaaaaaaaaaaaa").layer().is_err());
    }

    #[test]
    fn ice_credentials_must_fit_the_grammar() {
        assert!(params("a=b").ice().unwrap().is_none());
        let half = params("ice-ufrag=abcd").ice().unwrap().unwrap();
        assert_eq!((half.ufrag.as_str(), half.pwd.len()), ("abcd", 32));
        for bad in ["ice-ufrag=abc", "ice-ufrag=ab%0d%0a", "ice-pwd=short", "ice-ufrag=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"] {
            assert!(params(bad).ice().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_broken_query_is_refused() {
        assert!(
            Params::of(&"/x?app=%ff%fe".parse().unwrap()).is_err() || params("app=%ff%fe").key(&Vhosts::default(), "").is_err()
        );
        assert_eq!(params("start=7&count=x").number("start", 0), 7);
        assert_eq!(params("start=7&count=x").number("count", 10), 10);
    }
}
