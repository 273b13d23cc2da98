//! `acme`: certificates from an authority, for the TLS listeners that say `acme on`.

use std::path::PathBuf;

use super::{
    settings::Settings,
    table::{Kind, Row},
};

pub(super) const ROWS: &[Row] = &[
    Row::block(
        "acme",
        "Certificates from an authority (RFC 8555), for https and rtmps that say 'acme on'; its terms are agreed to",
    ),
    Row::new(
        "acme.domain",
        Kind::Rules(domains),
        "",
        "The names of the certificate; each must lead to this server, its port 443 to a listener with TLS",
    ),
    Row::new("acme.email", Kind::Checked(email), "", "Where the authority may write to"),
    Row::new("acme.cache", Kind::Path, "./acme", "The folder of account and certificate"),
    Row::new(
        "acme.directory",
        Kind::Checked(directory),
        "https://acme-v02.api.letsencrypt.org/directory",
        "The authority; this one is Let's Encrypt",
    ),
    Row::new("acme.ca", Kind::Path, "", "PEM certificates to trust in the authority's https, in the place of the system's"),
];

/// As many as Let's Encrypt takes into one certificate.
const DOMAINS_MAX: usize = 100;

/// Certificates from an authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acme {
    /// The names of the certificate; empty: nobody is asked.
    pub domains: Vec<String>,
    /// Where the authority may write to.
    pub email: Option<String>,
    /// The folder of account and certificate.
    pub cache: PathBuf,
    /// The authority's directory.
    pub directory: String,
    /// Certificates to trust in the place of the system's.
    pub ca: Option<PathBuf>,
}

pub(super) fn read(settings: &Settings) -> Acme {
    let view = settings.server("acme");
    let text = |name| Some(view.text(name)).filter(|text| !text.is_empty());
    let mut domains: Vec<String> = view.entries("domain").into_iter().flatten().map(|name| name.to_ascii_lowercase()).collect();
    let mut seen = std::collections::BTreeSet::new();
    domains.retain(|name| seen.insert(name.clone()));
    Acme {
        domains,
        email: text("email"),
        cache: view.path("cache"),
        directory: view.text("directory"),
        ca: text("ca").map(PathBuf::from),
    }
}

fn domains(words: &[String]) -> Result<(), String> {
    if words.len() > DOMAINS_MAX {
        return Err(format!("takes {DOMAINS_MAX} names at most"));
    }
    words.iter().try_for_each(|word| domain(word))
}

/// RFC 1123 section 2.1. What proves a name proves no wildcard (RFC 8737 section 3), and an address
/// would need another kind of name (RFC 8738).
fn domain(word: &str) -> Result<(), String> {
    let is_label = |label: &str| {
        let inner = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        (1..=63).contains(&label.len()) && inner && !label.starts_with('-') && !label.ends_with('-')
    };
    if word.starts_with("*.") {
        return Err(format!("'{word}': this server cannot prove a wildcard, name each"));
    }
    let is_name = word.len() <= 253 && word.split('.').all(is_label);
    if !is_name || word.parse::<std::net::IpAddr>().is_ok() {
        return Err(format!("must be names of this server, such as live.example.com, not '{word}'"));
    }
    Ok(())
}

fn email(word: &str) -> Result<(), String> {
    let parts = word.split_once('@').filter(|(name, host)| !name.is_empty() && !host.is_empty());
    let is_plain = word.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'&' | b',' | b'"'));
    if parts.is_none() || !is_plain { Err(format!("must be an address such as you@example.com, not '{word}'")) } else { Ok(()) }
}

/// RFC 8555 section 6.1 wants HTTPS.
fn directory(word: &str) -> Result<(), String> {
    match word.strip_prefix("https://") {
        Some(rest) if !rest.is_empty() && !rest.starts_with('/') && rest.bytes().all(|b| b.is_ascii_graphic()) => Ok(()),
        _ => Err(format!("must begin with https://HOST, not '{word}'")),
    }
}
