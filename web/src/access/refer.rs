//! SRS's `refer`: on whose pages players and publishers may stand.

use super::security::Action;

/// The domains of a vhost, once `refer` is on. An empty list lets every page in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refer {
    /// For everybody.
    pub all: Vec<String>,
    /// For publishers besides.
    pub publish: Vec<String>,
    /// For players besides.
    pub play: Vec<String>,
}

impl Refer {
    pub(super) fn allows(&self, action: Action, page_url: &str) -> bool {
        let more = match action {
            Action::Publish => &self.publish,
            Action::Play => &self.play,
        };
        let domain = domain(page_url);
        let fits = |list: &[String]| list.is_empty() || list.iter().any(|name| is_within(domain, name));
        fits(&self.all) && fits(more)
    }
}

/// The host of a URL, without a user, a port or the root's dot.
fn domain(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_scheme, rest)| rest);
    let authority = rest.split(['/', '\\', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_user, host)| host);
    let host = match host.split_once(']') {
        // An IPv6 address, which has colons of its own (RFC 3986 section 3.2.2).
        Some((address, _port)) => address.strip_prefix('[').unwrap_or(address),
        None => host.split(':').next().unwrap_or_default(),
    };
    host.trim_end_matches('.')
}

/// `domain` is `name` or lies below it. SRS compares the ends alone and so takes `notexample.com` for
/// `example.com`.
fn is_within(domain: &str, name: &str) -> bool {
    let name = name.trim_matches('.');
    let Some(at) = domain.len().checked_sub(name.len()) else { return false };
    let (above, end) = domain.as_bytes().split_at(at);
    !name.is_empty() && end.eq_ignore_ascii_case(name.as_bytes()) && (above.is_empty() || above.ends_with(b"."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_belongs_to_its_domain_and_those_above() {
        let refer = Refer { all: vec!["example.com".to_owned()], ..Refer::default() };
        for page in [
            "http://example.com/p.html",
            "https://www.example.com:8443/",
            "https://EXAMPLE.com",
            "https://example.com./x",
            "https://user:pw@a.b.example.com/",
            "example.com",
            "https://example.com?x",
        ] {
            assert!(refer.allows(Action::Play, page), "{page}");
        }
        for page in [
            "",
            "https://notexample.com/",
            "https://example.com.evil.example/",
            "https://evil.example/example.com",
            "https://example.com:80@evil.example/",
            "https://evil.example\\.example.com/",
            "https://evil.example/?example.com",
            "https://com/",
            "https://[::1]:80/",
            "äxample.com",
        ] {
            assert!(!refer.allows(Action::Play, page), "{page}");
        }
    }

    #[test]
    fn publishers_and_players_have_lists_of_their_own_besides() {
        let refer = Refer {
            all: vec!["example.com".to_owned(), "localhost".to_owned()],
            publish: vec!["studio.example.com".to_owned()],
            play: Vec::new(),
        };
        assert!(refer.allows(Action::Play, "https://www.example.com/"));
        assert!(!refer.allows(Action::Publish, "https://www.example.com/"));
        assert!(refer.allows(Action::Publish, "https://studio.example.com/"));
        assert!(!Refer { play: vec!["other.example".to_owned()], ..refer }.allows(Action::Play, "https://www.example.com/"));
        assert!(Refer::default().allows(Action::Play, ""), "no list lets everybody in");
    }
}
