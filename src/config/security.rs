//! `security`: the addresses that may publish and play.

use std::net::IpAddr;

use super::{
    settings::Settings,
    table::{Kind, Row},
};

pub(super) const ROWS: &[Row] = &[
    Row::block("vhost.security", "The addresses that may publish and play").not_yet(),
    Row::new("vhost.security.enabled", Kind::Flag, "off", "Ask these rules; with none at all nobody gets in"),
    Row::new(
        "vhost.security.allow",
        Kind::Rules(rule),
        "",
        "publish or play, then all, an address, or a network: publish 10.0.0.0/8; may be repeated",
    ),
    Row::new("vhost.security.deny", Kind::Rules(rule), "", "The same; goes before allow"),
];

/// The addresses that may publish and play. Deny rules go first; if there are allow rules for what is
/// asked, one must match; with no rules at all nobody gets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Security {
    /// Who may.
    pub allow: Vec<Rule>,
    /// Who may not.
    pub deny: Vec<Rule>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// It is for publishers, otherwise for players.
    pub publish: bool,
    /// The network that it is for; `None`: all addresses.
    pub net: Option<Net>,
}

/// A network: an address, and how many of its first bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Net {
    /// The address.
    pub ip: IpAddr,
    /// 0 to 32 or to 128.
    pub prefix: u8,
}

/// `None`: off.
pub(super) fn read(settings: &Settings, vhost: &str) -> Option<Security> {
    let view = settings.vhost(vhost, "vhost.security");
    let rules = |name| view.entries(name).iter().filter_map(|words| parse(words).ok()).collect();
    let security = Security { allow: rules("allow"), deny: rules("deny") };
    view.flag("enabled").then_some(security)
}

fn rule(words: &[String]) -> Result<(), String> {
    parse(words).map(|_| ())
}

fn parse(words: &[String]) -> Result<Rule, String> {
    let [action, who] = words else {
        return Err("takes publish or play, then all, an address or a network".to_owned());
    };
    let publish = match action.as_str() {
        "publish" => true,
        "play" => false,
        _ => return Err(format!("must begin with publish or play, not '{action}'")),
    };
    let net = match who.as_str() {
        "all" => None,
        who => Some(parse_net(who).ok_or_else(|| format!("'{who}' is not all, an address, or a network as 10.0.0.0/8"))?),
    };
    Ok(Rule { publish, net })
}

fn parse_net(text: &str) -> Option<Net> {
    let (ip, prefix) = text.split_once('/').map_or((text, None), |(ip, prefix)| (ip, Some(prefix)));
    let ip: IpAddr = ip.parse().ok()?;
    let longest = if ip.is_ipv4() { 32 } else { 128 };
    let prefix = prefix.map_or(Some(longest), |prefix| prefix.parse().ok().filter(|prefix| *prefix <= longest))?;
    Some(Net { ip, prefix })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_name_an_action_and_a_network() {
        let parse = |text: &str| parse(&text.split(' ').map(str::to_owned).collect::<Vec<_>>());
        let net = |ip: &str, prefix| Some(Net { ip: ip.parse().unwrap(), prefix });
        assert_eq!(parse("publish all"), Ok(Rule { publish: true, net: None }));
        assert_eq!(parse("play 10.0.0.0/8"), Ok(Rule { publish: false, net: net("10.0.0.0", 8) }));
        assert_eq!(parse("play ::1"), Ok(Rule { publish: false, net: net("::1", 128) }));
        for bad in ["publish", "watch all", "play 10.0.0.0/33", "play x", "play all all", "play 1.2.3.4/", "play ::/129"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
