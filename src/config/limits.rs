//! `limits` and `trusted_proxies`: how often one address may begin something, and whose word is taken
//! for whose address it is.

use weir_web::access::{LimitConfig, Network};

use super::{
    settings::Settings,
    table::{Kind, Row},
};

pub(super) const ROWS: &[Row] = &[
    Row::block("limits", "How often one address (of IPv6: one /64) may begin a session or send a signalling request"),
    Row::new("limits.per_second", Kind::Number(0, 1_000_000), "20", "In a second, in the long run; 0: no limit"),
    Row::new("limits.burst", Kind::Number(1, 1_000_000), "40", "At once, after a pause"),
    Row::new(
        "limits.connections",
        Kind::Number(0, 1_000_000),
        "0",
        "HTTP connections at one time of each listener; viewers behind one proxy count as one address; 0: no limit",
    ),
    Row::new("limits.exempt_loopback", Kind::Flag, "on", "Loopback has no limit"),
    Row::new(
        "trusted_proxies",
        Kind::Rules(networks),
        "",
        "Addresses and networks of proxies whose X-Forwarded-For is believed; may be repeated",
    ),
];

/// What the HTTP side is to know of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// HTTP connections that one may have at a listener.
    pub connections: usize,
    /// How often one may begin something.
    pub addresses: LimitConfig,
    /// Our proxies.
    pub trusted_proxies: Vec<Network>,
}

pub(super) fn read(settings: &Settings) -> Limits {
    let (view, top) = (settings.server("limits"), settings.server(""));
    Limits {
        connections: match view.number("connections") {
            0 => usize::MAX,
            connections => connections,
        },
        addresses: LimitConfig {
            per_second: view.number("per_second"),
            burst: view.number("burst"),
            exempt_loopback: view.flag("exempt_loopback"),
        },
        trusted_proxies: top.entries("trusted_proxies").iter().flatten().filter_map(|word| word.parse().ok()).collect(),
    }
}

fn networks(words: &[String]) -> Result<(), String> {
    if words.is_empty() {
        return Err("needs an address or a network, as 10.0.0.0/8".to_owned());
    }
    words.iter().try_for_each(|word| word.parse::<Network>().map(drop).map_err(|error| format!("'{word}' {error}")))
}
