//! SRS's `security`: which addresses may publish and play.

use std::net::IpAddr;

use super::Network;

/// What a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Bringing media.
    Publish,
    /// Taking media.
    Play,
}

/// `allow` or `deny`, `publish` or `play`, and whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// It lets in rather than keeps out.
    pub allows: bool,
    /// What it is about.
    pub action: Action,
    /// Whom it is about; `None`: everybody.
    pub network: Option<Network>,
}

/// The rules of a vhost, once `security` is on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Security {
    /// In any order.
    pub rules: Vec<Rule>,
}

impl Security {
    /// SRS's order: a `deny` that fits decides. If there is any `allow`, of whichever action, one must
    /// fit. Without a rule at all nobody may do anything.
    pub(super) fn allows(&self, action: Action, ip: IpAddr) -> bool {
        let fits = |rule: &&Rule| rule.action == action && rule.network.is_none_or(|network| network.contains(ip));
        let (allows, denies): (Vec<&Rule>, Vec<&Rule>) = self.rules.iter().partition(|rule| rule.allows);
        if denies.iter().any(fits) {
            return false;
        }
        match allows.is_empty() {
            true => !denies.is_empty(),
            false => allows.iter().any(fits),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Of lines like `deny publish 10.0.0.0/8`.
    fn security(lines: &[&str]) -> Security {
        let rule = |line: &&str| {
            let words: Vec<_> = line.split(' ').collect();
            let [verb, action, whom] = words[..] else { panic!("{line}") };
            Rule {
                allows: verb == "allow",
                action: if action == "publish" { Action::Publish } else { Action::Play },
                network: (whom != "all").then(|| whom.parse().unwrap()),
            }
        };
        Security { rules: lines.iter().map(rule).collect() }
    }

    #[test]
    fn rules_decide_as_with_srs() {
        use Action::{Play, Publish};
        let table: &[(&[&str], Action, &str, bool)] = &[
            (&[], Play, "192.0.2.1", false),
            (&[], Publish, "127.0.0.1", false),
            (&["deny publish all"], Publish, "192.0.2.1", false),
            (&["deny publish all"], Play, "192.0.2.1", true),
            (&["deny play 192.0.2.1"], Play, "192.0.2.1", false),
            (&["deny play 192.0.2.1"], Play, "192.0.2.2", true),
            (&["allow publish 192.0.2.0/24"], Publish, "192.0.2.9", true),
            (&["allow publish 192.0.2.0/24"], Publish, "198.51.100.1", false),
            (&["allow publish 192.0.2.0/24"], Play, "192.0.2.9", false),
            (&["allow publish 192.0.2.0/24", "allow play all"], Play, "198.51.100.1", true),
            (&["allow publish all", "deny publish 192.0.2.1"], Publish, "192.0.2.1", false),
            (&["deny publish 192.0.2.1", "allow publish all"], Publish, "192.0.2.2", true),
            (&["deny publish all", "allow publish 192.0.2.1"], Publish, "192.0.2.1", false),
            (&["allow play 2001:db8::/32"], Play, "2001:db8::7", true),
            (&["allow play 2001:db8::/32"], Play, "192.0.2.1", false),
            (&["deny play 192.0.2.1"], Play, "::ffff:192.0.2.1", false),
        ];
        for (rules, action, ip, want) in table {
            assert_eq!(security(rules).allows(*action, ip.parse().unwrap()), *want, "{rules:?} {action:?} {ip}");
        }
    }

    fn any_rule() -> impl Strategy<Value = Rule> {
        let network = prop_oneof![
            Just(None),
            (0_u8..4, 24_u8..=32).prop_map(|(host, bits)| format!("192.0.2.{host}/{bits}").parse().ok()),
        ];
        (any::<bool>(), prop_oneof![Just(Action::Publish), Just(Action::Play)], network)
            .prop_map(|(allows, action, network)| Rule { allows, action, network })
    }

    proptest! {
        #[test]
        fn the_order_of_rules_does_not_matter(rules in prop::collection::vec(any_rule(), 0..8), host in 0_u8..4) {
            let ip = IpAddr::from([192, 0, 2, host]);
            let other = Security { rules: rules.iter().rev().cloned().collect() };
            let one = Security { rules };
            for action in [Action::Publish, Action::Play] {
                prop_assert_eq!(one.allows(action, ip), other.allows(action, ip));
            }
        }

        #[test]
        fn one_more_deny_never_lets_anybody_in_whom_rules_kept_out(
            rules in prop::collection::vec(any_rule(), 1..8), more in any_rule(), host in 0_u8..4,
        ) {
            let ip = IpAddr::from([192, 0, 2, host]);
            let before = Security { rules: rules.clone() };
            let after = Security { rules: rules.into_iter().chain([Rule { allows: false, ..more }]).collect() };
            for action in [Action::Publish, Action::Play] {
                prop_assert!(before.allows(action, ip) || !after.allows(action, ip));
            }
        }
    }
}
