//! Words to values, by the kind of their directive.

use std::{net::SocketAddr, time::Duration};

use weir_web::hooks::{HookUrl, NotifyUrl};

use super::{listen, table::Kind};

/// Are these words what the kind takes? The text says what it takes.
pub(crate) fn check(kind: Kind, words: &[String]) -> Result<(), String> {
    match (kind, words) {
        (Kind::Block(_) | Kind::Free, _) => Err("needs a block { … }".to_owned()),
        (Kind::Words, _) => Ok(()),
        (Kind::Rules(check), words) => check(words),
        (Kind::Listen, []) => Err("needs a port or ADDRESS:PORT".to_owned()),
        (Kind::Listen, words) => words.iter().try_for_each(|word| listen::parse(word).map(|_| ())),
        (Kind::Urls | Kind::UrlTemplates, []) => Err("needs a URL".to_owned()),
        (Kind::Urls, words) => words.iter().try_for_each(|word| {
            url(word)?;
            word.parse::<HookUrl>().map(|_| ()).map_err(|error| format!("{error}: '{word}'"))
        }),
        (Kind::UrlTemplates, words) => words.iter().try_for_each(|word| {
            url(word)?;
            word.parse::<NotifyUrl>().map(|_| ()).map_err(|error| format!("{error}: '{word}'"))
        }),
        (kind, [word]) => single(kind, word),
        (kind, words) => Err(format!("takes {}, not {} words", article(kind), words.len())),
    }
}

fn single(kind: Kind, word: &str) -> Result<(), String> {
    let within = |value: Option<f64>, min: f64, max: f64, unit: &str| match value {
        Some(value) if (min..=max).contains(&value) => Ok(()),
        _ => Err(format!("must be {unit} from {min} to {max}, not '{word}'")),
    };
    match kind {
        Kind::Flag if matches!(word, "on" | "off") => Ok(()),
        Kind::Flag => Err(format!("must be on or off, not '{word}'")),
        Kind::Number(min, max) => match word.parse::<i64>() {
            Ok(number) if (min..=max).contains(&number) => Ok(()),
            _ => Err(format!("must be a whole number from {min} to {max}, not '{word}'")),
        },
        Kind::Bytes(min, max) => match bytes(word) {
            Some(number) if (min..=max).contains(&number) => Ok(()),
            _ => Err(format!("must be bytes from {min} to {max} (or with k, m, g), not '{word}'")),
        },
        Kind::Decimal(min, max) => within(decimal(word), min, max, "a number"),
        Kind::Seconds(min, max) => within(decimal(word), min, max, "seconds"),
        Kind::Millis(min, max) => within(decimal(word), min, max, "milliseconds"),
        Kind::Choice(words) if words.contains(&word) => Ok(()),
        Kind::Choice(words) => Err(format!("must be one of {}, not '{word}'", words.join(", "))),
        Kind::Url => url(word),
        Kind::Checked(check) => check(word),
        _ => Ok(()),
    }
}

/// What a kind of one word takes.
fn article(kind: Kind) -> &'static str {
    match kind {
        Kind::Flag => "on or off",
        Kind::Number(..) | Kind::Decimal(..) => "one number",
        Kind::Seconds(..) => "one number of seconds",
        Kind::Millis(..) => "one number of milliseconds",
        Kind::Bytes(..) => "one number of bytes",
        Kind::Url => "one URL",
        Kind::Path => "one file or folder",
        _ => "one word",
    }
}

fn url(word: &str) -> Result<(), String> {
    let rest = word.strip_prefix("http://").or_else(|| word.strip_prefix("https://"));
    let host = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    match host {
        Some(host) if !host.is_empty() && !word.contains(char::is_whitespace) => Ok(()),
        _ => Err(format!("must begin with http://HOST or https://HOST, not '{word}'")),
    }
}

/// A finite number.
pub(crate) fn decimal(word: &str) -> Option<f64> {
    word.parse::<f64>().ok().filter(|number| number.is_finite())
}

/// A number of seconds; nothing that a range has let through is refused.
pub(crate) fn seconds(word: &str) -> Option<Duration> {
    decimal(word).and_then(|number| Duration::try_from_secs_f64(number).ok())
}

/// A number of bytes.
pub(crate) fn bytes(word: &str) -> Option<i64> {
    let (digits, shift) = match word.as_bytes().last()?.to_ascii_lowercase() {
        b'k' => (&word[..word.len() - 1], 10),
        b'm' => (&word[..word.len() - 1], 20),
        b'g' => (&word[..word.len() - 1], 30),
        _ => (word, 0),
    };
    digits.parse::<i64>().ok()?.checked_mul(1 << shift)
}

/// The addresses among the words.
pub(crate) fn listens(words: &[String]) -> Vec<SocketAddr> {
    words.iter().filter_map(|word| listen::parse(word).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a69_takes_what_the_kind_takes() {
        for (kind, good, bad) in [
            (Kind::Flag, "on off", "true yes 1 ON"),
            (Kind::Number(1, 9), "1 9 +5", "0 10 -1 1.5 x 1e308 99999999999999999999"),
            (Kind::Decimal(0.5, 2.0), "0.5 2 1e0", "0.4 2.1 NaN inf -1 1e308"),
            (Kind::Seconds(0.0, 60.0), "0 0.25 60", "60.1 -0.1 5s nan"),
            (Kind::Bytes(1, 1 << 30), "1 64k 16M 1g", "0 2g k 9999999999999999999g 1.5m"),
            (Kind::Choice(&["a", "b"]), "a b", "c A"),
            (Kind::Url, "http://a https://a:1/b?c", "ftp://a http:// /x a"),
            (Kind::Listen, "1 127.0.0.1:80 [::]:80", "0 65536 x :x"),
        ] {
            words(good).iter().for_each(|word| assert_eq!(check(kind, std::slice::from_ref(word)), Ok(()), "{kind:?} {word}"));
            words(bad).iter().for_each(|word| assert!(check(kind, std::slice::from_ref(word)).is_err(), "{kind:?} {word}"));
        }
        assert_eq!(check(Kind::Flag, &[]), Err("takes on or off, not 0 words".to_owned()));
        assert_eq!(check(Kind::Number(1, 2), &words("1 2")), Err("takes one number, not 2 words".to_owned()));
        assert!(check(Kind::Listen, &words("1 2 127.0.0.1:3")).is_ok());
    }
}
