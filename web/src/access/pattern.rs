//! Which streams a token is for: `app/stream`, with `*` for any run of characters within a part.

use weir_source::StreamKey;

/// Whether `pattern` names `key`: `app/stream` in every vhost, `vhost/app/stream` in one, `*` for all.
pub(super) fn covers(pattern: &str, key: &StreamKey) -> bool {
    if pattern == "*" {
        return true;
    }
    let parts: Vec<&str> = pattern.strip_prefix('/').unwrap_or(pattern).splitn(4, '/').collect();
    match parts[..] {
        [app, stream] => fits(app, key.app()) && fits(stream, key.stream()),
        [vhost, app, stream] => fits(vhost, key.vhost()) && fits(app, key.app()) && fits(stream, key.stream()),
        _ => false,
    }
}

/// Goes back to the last `*` alone, so the work is at most the product of the lengths.
fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    while let Some(&letter) = text.get(t) {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&wanted) if wanted == letter => {
                p += 1;
                t += 1;
            }
            _ => {
                // The last star takes one letter more.
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                p = at + 1;
                t = taken + 1;
            }
        }
    }
    pattern.iter().skip(p).all(|&rest| rest == b'*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_name_streams() {
        let key = StreamKey::new("live", "cam-12").unwrap();
        for pattern in ["live/cam-12", "/live/cam-12", "live/cam*", "live/*12", "live/c*-*2", "*/cam-12", "live/*", "*", "*/*/*"]
        {
            assert!(covers(pattern, &key), "{pattern}");
        }
        assert!(covers("__defaultVhost__/live/cam*", &key));
        for pattern in [
            "",
            "live",
            "live/",
            "live/cam-1",
            "live/cam-123",
            "Live/cam-12",
            "show/cam*",
            "a.example/live/*",
            "live/*/x",
            "/",
            "**",
        ] {
            assert!(!covers(pattern, &key), "{pattern}");
        }
        let elsewhere = StreamKey::with_vhost("a.example", "live", "cam-12").unwrap();
        assert!(covers("live/cam*", &elsewhere) && covers("*.example/live/*", &elsewhere));
        assert!(!covers("b.example/live/*", &elsewhere));
    }

    #[test]
    fn many_stars_take_no_long_time() {
        assert!(!fits(&"a*".repeat(2_000), &"a".repeat(60)));
        assert!(fits(&"*".repeat(4_000), &"a".repeat(60)));
    }

    /// As plain as can be, and slow.
    fn model(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) => model(rest, text) || text.split_first().is_some_and(|(_, more)| model(pattern, more)),
            (Some((a, rest)), Some((b, more))) => a == b && model(rest, more),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn stars_fit_as_in_the_plain_model(pattern in "[ab*]{0,8}", text in "[ab]{0,8}") {
            prop_assert_eq!(fits(&pattern, &text), model(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
