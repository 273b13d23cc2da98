//! `security`: the addresses that may publish and play.

use weir_web::access::{Action, Rule, Security};

use super::{
    settings::Settings,
    table::{Kind, Row},
};

pub(super) const ROWS: &[Row] = &[
    Row::block("vhost.security", "The addresses that may publish and play"),
    Row::new("vhost.security.enabled", Kind::Flag, "off", "Ask these rules; with none at all nobody gets in"),
    Row::new(
        "vhost.security.allow",
        Kind::Rules(rule),
        "",
        "publish or play, then all, an address, or a network: publish 10.0.0.0/8; if there is any, one must match",
    ),
    Row::new("vhost.security.deny", Kind::Rules(rule), "", "The same; goes before allow"),
];

/// `None`: off.
pub(super) fn read(settings: &Settings, vhost: &str) -> Option<Security> {
    let view = settings.vhost(vhost, "vhost.security");
    let rules = |name, allows| {
        let entries = view.entries(name);
        entries.into_iter().filter_map(move |words| parse(&words, allows).ok()).collect::<Vec<_>>()
    };
    let security = Security { rules: [rules("deny", false), rules("allow", true)].concat() };
    view.flag("enabled").then_some(security)
}

fn rule(words: &[String]) -> Result<(), String> {
    parse(words, true).map(drop)
}

fn parse(words: &[String], allows: bool) -> Result<Rule, String> {
    let [action, who] = words else {
        return Err("takes publish or play, then all, an address or a network".to_owned());
    };
    let action = match action.as_str() {
        "publish" => Action::Publish,
        "play" => Action::Play,
        _ => return Err(format!("must begin with publish or play, not '{action}'")),
    };
    let network = match who.as_str() {
        "all" => None,
        who => Some(who.parse().map_err(|_| format!("'{who}' is not all, an address, or a network as 10.0.0.0/8"))?),
    };
    Ok(Rule { allows, action, network })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_name_an_action_and_a_network() {
        let parse = |text: &str| parse(&text.split(' ').map(str::to_owned).collect::<Vec<_>>(), false);
        let deny = |action, network: &str| Rule { allows: false, action, network: network.parse().ok() };
        assert_eq!(parse("publish all"), Ok(deny(Action::Publish, "all")));
        assert_eq!(parse("play 10.0.0.0/8"), Ok(deny(Action::Play, "10.0.0.0/8")));
        assert_eq!(parse("play ::1"), Ok(deny(Action::Play, "::1")));
        for bad in ["publish", "watch all", "play 10.0.0.0/33", "play x", "play all all", "play 1.2.3.4/", "play ::/129"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
