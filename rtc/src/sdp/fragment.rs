//! What the answer to an ICE restart says: an SDP fragment (RFC 8840 section 9) with our new
//! credentials and the candidates of the first answer (RFC 9725 section 4.3.3).

use super::IceCredentials;

/// The lines of an answer that a fragment has too, without the credentials: those of the session, the
/// first accepted m-line (the others are bundled with it) and its candidates.
pub(crate) fn fragment(answer: &str) -> String {
    let mut lines = answer.lines();
    let session = lines.by_ref().take_while(|line| !line.starts_with("m="));
    // RFC 9725 section 4.3.3: what the answer says of ICE in general is said again, as it was.
    let general = ["a=ice-lite", "a=ice-options:", "a=ice-pacing:", "a=group:BUNDLE"];
    let mut fragment: String =
        session.filter(|line| general.iter().any(|prefix| line.starts_with(prefix))).map(|line| format!("{line}\r\n")).collect();
    // A rejected m-line has port 0 (RFC 3264 section 6).
    let sections = answer.split("\r\nm=").skip(1);
    let accepted = sections.map(|section| format!("m={section}")).find(|section| section.split(' ').nth(1) != Some("0"));
    let wanted = ["m=", "a=mid:", "a=candidate:", "a=end-of-candidates"];
    for line in accepted.iter().flat_map(|section| section.lines()) {
        if wanted.iter().any(|prefix| line.starts_with(prefix)) {
            fragment.push_str(line);
            fragment.push_str("\r\n");
        }
    }
    fragment
}

/// The fragment with credentials: they stand after the m-line's identification.
pub(crate) fn with_credentials(fragment: &str, ice: &IceCredentials) -> String {
    let mut whole = String::with_capacity(fragment.len() + 128);
    for line in fragment.lines() {
        whole.push_str(line);
        whole.push_str("\r\n");
        if line.starts_with("a=mid:") {
            whole.push_str(&format!("a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n", ice.ufrag, ice.pwd));
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h27_a_fragment_says_the_same_of_ice_as_the_answer() {
        let answer = "v=0\r\na=ice-lite\r\na=ice-options:ice2\r\na=ice-pacing:50\r\na=group:BUNDLE 0\r\n\
            m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=candidate:0 1 udp 1 192.0.2.1 8000 typ host\r\n";
        let fragment = fragment(answer);
        for line in ["a=ice-lite\r\n", "a=ice-options:ice2\r\n", "a=ice-pacing:50\r\n"] {
            assert_eq!((answer.matches(line).count(), fragment.matches(line).count()), (1, 1), "{line}");
        }
        let silent = super::fragment(&answer.replace("a=ice-lite\r\n", "").replace("a=ice-options:ice2\r\n", ""));
        assert!(!silent.contains("ice-lite") && !silent.contains("ice-options"));
    }

    #[test]
    fn a_fragment_has_the_first_accepted_section_its_candidates_and_new_credentials() {
        let answer = "v=0\r\na=ice-lite\r\na=group:BUNDLE 1 2\r\na=msid-semantic: WMS s\r\n\
            m=audio 0 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=inactive\r\n\
            m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:old\r\na=ice-pwd:old\r\na=mid:1\r\n\
            a=candidate:0 1 udp 1 192.0.2.1 8000 typ host\r\na=end-of-candidates\r\n\
            m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:2\r\na=candidate:0 1 udp 1 192.0.2.1 8000 typ host\r\n";
        let ice = IceCredentials { ufrag: "new".to_owned(), pwd: "secret".to_owned() };
        assert_eq!(
            with_credentials(&fragment(answer), &ice),
            "a=ice-lite\r\na=group:BUNDLE 1 2\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:1\r\n\
             a=ice-ufrag:new\r\na=ice-pwd:secret\r\na=candidate:0 1 udp 1 192.0.2.1 8000 typ host\r\na=end-of-candidates\r\n"
        );
    }
}
