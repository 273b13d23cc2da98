//! Answers as foreign servers write them.

use super::*;

const SHA: &str = "4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB:4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF";

/// Like Janus: full ICE off, everything in the media, it wants to be the DTLS client, several candidates, no RTX.
fn janus() -> String {
    let media = format!(
        "c=IN IP4 192.168.1.5\r\na=sendonly\r\na=mid:MID\r\na=rtcp-mux\r\na=ice-ufrag:Xy1z\r\na=ice-pwd:pwdpwdpwdpwdpwdpwdpwd\r\n\
         a=ice-options:trickle\r\na=fingerprint:sha-256 {SHA}\r\na=setup:active\r\n"
    );
    let candidates = "a=candidate:3 1 tcp 1518149375 192.168.1.5 0 typ host tcptype active\r\n\
         a=candidate:1 1 udp 2015363327 192.168.1.5 50000 typ host\r\n\
         a=candidate:2 1 udp 2015363583 fd00::5 50002 typ host\r\n\
         a=candidate:4 2 udp 2015363326 192.168.1.5 50001 typ host\r\n\
         a=candidate:5 1 udp 2015363999 2f3a-11.local 50003 typ host\r\na=end-of-candidates\r\n";
    format!(
        "v=0\r\no=- 1 1 IN IP4 192.168.1.5\r\ns=VideoRoom 1\r\nt=0 0\r\na=group:BUNDLE 0 1\r\na=ice-lite\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n{audio}a=rtpmap:111 opus/48000/2\r\n{candidates}\
         m=video 9 UDP/TLS/RTP/SAVPF 106\r\n{video}a=rtpmap:106 H264/90000\r\na=rtcp-fb:106 nack\r\na=rtcp-fb:106 nack pli\r\n\
         a=extmap:4/sendonly urn:ietf:params:rtp-hdrext:sdes:mid\r\n{candidates}",
        audio = media.replace("MID", "0"),
        video = media.replace("MID", "1"),
    )
}

/// Like SRS: lite, passive, one candidate, transport-cc.
fn srs() -> String {
    format!(
        "v=0\r\no=SRS/6.0 1 2 IN IP4 0.0.0.0\r\ns=SRSPlaySession\r\nt=0 0\r\na=ice-lite\r\na=group:BUNDLE 0 1\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:8ab\r\na=ice-pwd:0123456789012345678901\r\n\
         a=fingerprint:sha-256 {SHA}\r\na=setup:passive\r\na=mid:0\r\na=sendonly\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n\
         a=candidate:0 1 udp 2130706431 10.1.2.3 8000 typ host generation 0\r\n\
         m=video 9 UDP/TLS/RTP/SAVPF 106\r\na=mid:1\r\na=rtpmap:106 H264/90000\r\na=rtcp-fb:106 transport-cc\r\n\
         a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\na=ssrc:7 cname:x\r\n"
    )
}

/// Like MediaMTX: the fingerprint at the session, upper-case hash name, video not taken, actpass never.
fn mediamtx() -> String {
    format!(
        "v=0\no=- 5 2 IN IP4 127.0.0.1\ns=-\nt=0 0\na=fingerprint:SHA-256 {SHA}\na=group:BUNDLE 0 1\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 96\nc=IN IP4 0.0.0.0\na=setup:passive\na=mid:0\na=ice-ufrag:abcd\n\
         a=ice-pwd:abcdefghijklmnopqrstuvwx\na=rtpmap:96 opus/48000/2\na=sendonly\n\
         a=candidate:1 1 UDP 2130706431 172.17.0.1 8189 typ host\na=candidate:1 1 udp 2130706431 127.0.0.1 8189 typ host\n\
         m=video 0 UDP/TLS/RTP/SAVPF 0\na=mid:1\na=inactive\n"
    )
}

#[test]
fn of_many_candidates_those_for_udp_are_ordered_by_priority() {
    let answer = Answer::read(&janus()).unwrap();
    let addrs: Vec<String> = answer.candidates.iter().map(|c| c.addr.to_string()).collect();
    assert_eq!(addrs, ["[fd00::5]:50002", "192.168.1.5:50000"]);
    assert_eq!(answer.role, DtlsRole::Passive, "the server is active");
    assert_eq!(answer.types, PayloadTypes { audio: Some(111), video: Some(106), rtx: None });
    assert_eq!((answer.extensions.mid, answer.extensions.transport_cc), (Some(4), None));
    assert!(!answer.transport_cc);
    assert_eq!((answer.ufrag.as_str(), answer.fingerprints.len()), ("Xy1z", 1));
}

#[test]
fn an_answer_of_srs_is_read() {
    let answer = Answer::read(&srs()).unwrap();
    assert_eq!(answer.role, DtlsRole::Active);
    assert_eq!(answer.candidates[0].addr.to_string(), "10.1.2.3:8000");
    assert_eq!(answer.extensions.transport_cc, Some(3));
    assert!(answer.transport_cc);
}

#[test]
fn attributes_may_stand_at_the_session_and_media_may_be_refused() {
    let answer = Answer::read(&mediamtx()).unwrap();
    assert_eq!(answer.types, PayloadTypes { audio: Some(96), video: None, rtx: None });
    assert_eq!(answer.candidates.len(), 2);
}

#[test]
fn what_cannot_be_used_is_told() {
    let tcp_only = srs().replace(" udp ", " tcp ");
    for (sdp, word) in [
        ("<html>".to_owned(), "no session description"),
        (srs().replace("a=candidate", "a=x"), "trickle"),
        (tcp_only, "only tcp 10.1.2.3"),
        (srs().replace("10.1.2.3", "a-b.local"), "only udp a-b.local"),
        (srs().replace("a=ice-pwd", "a=x"), "ice-pwd"),
        (srs().replace("a=fingerprint", "a=x"), "fingerprint"),
        (srs().replace("4A:AD", "4A"), "length"),
        (srs().replace("4A:AD", "4A:GG"), "odd fingerprint"),
        (srs().replace("m=audio 9", "m=audio 0").replace("H264", "VP8"), "neither"),
    ] {
        let error = format!("{:#}", Answer::read(&sdp).unwrap_err());
        assert!(error.contains(word), "{error} lacks {word}");
    }
}

#[test]
fn no_cut_of_an_answer_panics() {
    for sdp in [janus(), srs(), mediamtx()] {
        for end in 0..sdp.len() {
            let _any = Answer::read(&sdp[..end]);
        }
    }
}
