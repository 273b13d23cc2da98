//! SDP fragments (RFC 8840 section 9), as far as an ICE-lite server needs them.

/// What a PATCH says about its ICE session.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fragment<'a> {
    /// `a=ice-ufrag` and `a=ice-pwd`; some clients leave them out.
    pub(super) credentials: Option<(&'a str, &'a str)>,
}

impl<'a> Fragment<'a> {
    /// `None` if a line is no SDP line, or credentials come by half. Candidate lines are not looked
    /// into: what cannot be used is to be skipped silently (RFC 9725 section 4.3.2).
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (mut ufrag, mut pwd, mut lines) = (None, None, 0);
        for line in text.lines().filter(|line| !line.is_empty()) {
            let (kind, value) = line.split_once('=')?;
            if kind.len() != 1 || !kind.bytes().all(|b| b.is_ascii_lowercase()) {
                return None;
            }
            lines += 1;
            match value.split_once(':') {
                Some(("ice-ufrag", value)) if kind == "a" => ufrag = ufrag.or(Some(value)),
                Some(("ice-pwd", value)) if kind == "a" => pwd = pwd.or(Some(value)),
                _ => {}
            }
        }
        // RFC 8839 section 5.4: at least 4 and 22 characters.
        let halves = ufrag.is_some() == pwd.is_some();
        let lengths = ufrag.is_none_or(|v| (4..=256).contains(&v.len())) && pwd.is_none_or(|v| (22..=256).contains(&v.len()));
        (lines > 0 && halves && lengths).then_some(Self { credentials: ufrag.zip(pwd) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_credentials_of_a_browsers_fragment() {
        let text = "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n\
                    a=candidate:1387637174 1 udp 2122260223 x.local 61764 typ host generation 0\r\na=end-of-candidates\r\n";
        assert_eq!(Fragment::parse(text).unwrap().credentials, Some(("EsAw", "P2uYro0UCOQ4zxjKXaWCBui1")));
        assert_eq!(Fragment::parse("a=end-of-candidates\n").unwrap().credentials, None);
    }

    #[test]
    fn refuses_what_is_no_fragment() {
        let pwd = "P2uYro0UCOQ4zxjKXaWCBui1";
        for bad in
            ["", "\r\n", "hello", "{\"a\":1}", "ab=1", "A=1", "a=ice-ufrag:EsAw", &format!("a=ice-ufrag:x\na=ice-pwd:{pwd}")]
        {
            assert_eq!(Fragment::parse(bad), None, "{bad:?}");
        }
    }
}
