//! SDP fragments (RFC 8840 section 9), as far as an ICE-lite server needs them.

/// The most candidates that are counted: browsers send a dozen.
const CANDIDATES_MAX: usize = 64;

/// What a PATCH says about its ICE session.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fragment<'a> {
    /// `a=ice-ufrag` and `a=ice-pwd`; some clients leave them out.
    pub(super) credentials: Option<(&'a str, &'a str)>,
    /// How many candidates there are.
    pub(super) candidates: usize,
}

impl<'a> Fragment<'a> {
    /// `None` if a line is no SDP line, or credentials come by half. Candidate lines are counted and not
    /// looked into: what cannot be used is to be skipped silently (RFC 9725 section 4.3.2).
    ///
    /// Only what stands before the second m-line counts: all is bundled with the first (RFC 8840 section
    /// 4.4).
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (mut ufrag, mut pwd, mut lines, mut sections, mut candidates) = (None, None, 0, 0, 0);
        for line in text.lines().filter(|line| !line.is_empty()) {
            let (kind, value) = line.split_once('=')?;
            if kind.len() != 1 || !kind.bytes().all(|b| b.is_ascii_lowercase()) {
                return None;
            }
            lines += 1;
            sections += usize::from(kind == "m");
            match value.split_once(':') {
                _ if kind != "a" || sections > 1 => {}
                Some(("ice-ufrag", value)) => ufrag = ufrag.or(Some(value)),
                Some(("ice-pwd", value)) => pwd = pwd.or(Some(value)),
                // An empty one is one way to say that there are no more (RFC 8838 section 14).
                Some(("candidate", value)) if !value.is_empty() => candidates += 1,
                _ => {}
            }
        }
        let halves = ufrag.is_some() == pwd.is_some();
        let legal = ufrag.is_none_or(|text| is_ice(text, 4)) && pwd.is_none_or(|text| is_ice(text, 22));
        let credentials = ufrag.zip(pwd);
        (lines > 0 && halves && legal).then_some(Self { credentials, candidates: candidates.min(CANDIDATES_MAX) })
    }
}

/// RFC 8839 section 5.4: at least `min` and at most 256 letters, digits, "+" and "/".
fn is_ice(text: &str, min: usize) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    (min..=256).contains(&text.len()) && text.bytes().all(legal)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PWD: &str = "P2uYro0UCOQ4zxjKXaWCBui1";

    #[test]
    fn reads_the_credentials_of_a_browsers_fragment() {
        let text = "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n\
                    a=candidate:1387637174 1 udp 2122260223 x.local 61764 typ host generation 0\r\na=end-of-candidates\r\n";
        assert_eq!(Fragment::parse(text), Some(Fragment { credentials: Some(("EsAw", PWD)), candidates: 1 }));
        assert_eq!(Fragment::parse("a=end-of-candidates\n"), Some(Fragment { credentials: None, candidates: 0 }));
        assert_eq!(Fragment::parse("a=candidate:\n"), Some(Fragment { credentials: None, candidates: 0 }), "no more");
    }

    #[test]
    fn h22_only_the_first_m_line_counts() {
        let first =
            format!("m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=ice-ufrag:EsAw\r\na=ice-pwd:{PWD}\r\na=candidate:1 1 udp 1 ::1 1\r\n");
        let second = "m=video 9 RTP/AVP 0\r\na=mid:1\r\na=ice-ufrag:other\r\na=ice-pwd:short\r\na=candidate:2 1 udp 1 ::1 1\r\n";
        let expected = Some(Fragment { credentials: Some(("EsAw", PWD)), candidates: 1 });
        assert_eq!(Fragment::parse(&format!("{first}{second}")), expected);
        let alone = format!("m=audio 9 RTP/AVP 0\r\na=mid:0\r\n{second}");
        assert_eq!(Fragment::parse(&alone), Some(Fragment { credentials: None, candidates: 0 }));
    }

    #[test]
    fn refuses_what_is_no_fragment() {
        let short = format!("a=ice-ufrag:x\na=ice-pwd:{PWD}");
        let strange = format!("a=ice-ufrag:Es w\na=ice-pwd:{PWD}");
        for bad in ["", "\r\n", "hello", "{\"a\":1}", "ab=1", "A=1", "a=ice-ufrag:EsAw", &short, &strange] {
            assert_eq!(Fragment::parse(bad), None, "{bad:?}");
        }
    }
}
