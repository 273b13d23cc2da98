//! Offers as real peers shape them: order of lines, numbers and habits are theirs, secrets and
//! fingerprints are made up.

const FINGERPRINT: &str = "19:E2:1C:3B:4B:9F:81:E6:B8:5C:F4:A5:A8:D8:73:04:BB:05:2F:70:9F:04:A9:0E:05:E9:26:33:E8:70:88:A2";

/// Chrome, `addTransceiver` for both kinds, with every codec that it knows.
pub(super) fn chrome(direction: &str) -> String {
    let transport = format!(
        "a=ice-ufrag:Oyef\r\na=ice-pwd:1vd1Q8o6ZVNbTV3Wlp6YdQqk\r\na=ice-options:trickle\r\n\
         a=fingerprint:sha-256 {FINGERPRINT}\r\na=setup:actpass\r\n"
    );
    let mut video = String::new();
    let plain: [(u8, &str, &str); 10] = [
        (96, "VP8", ""),
        (98, "VP9", "profile-id=0"),
        (100, "VP9", "profile-id=2"),
        (102, "H264", "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f"),
        (104, "H264", "level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42001f"),
        (106, "H264", "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"),
        (108, "H264", "level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42e01f"),
        (39, "H264", "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=4d001f"),
        (112, "H264", "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=64001f"),
        (45, "AV1", "level-idx=5;profile=0;tier=0"),
    ];
    let mut list = String::new();
    for (pt, name, fmtp) in plain {
        let rtx = pt + 1;
        list.push_str(&format!(" {pt} {rtx}"));
        video.push_str(&format!(
            "a=rtpmap:{pt} {name}/90000\r\na=rtcp-fb:{pt} goog-remb\r\na=rtcp-fb:{pt} transport-cc\r\n\
             a=rtcp-fb:{pt} ccm fir\r\na=rtcp-fb:{pt} nack\r\na=rtcp-fb:{pt} nack pli\r\n"
        ));
        if !fmtp.is_empty() {
            video.push_str(&format!("a=fmtp:{pt} {fmtp}\r\n"));
        }
        video.push_str(&format!("a=rtpmap:{rtx} rtx/90000\r\na=fmtp:{rtx} apt={pt}\r\n"));
    }
    video.push_str("a=rtpmap:116 red/90000\r\na=rtpmap:117 rtx/90000\r\na=fmtp:117 apt=116\r\na=rtpmap:118 ulpfec/90000\r\n");
    let (audio_sources, video_sources) = if direction == "recvonly" {
        (String::new(), String::new())
    } else {
        (
            "a=msid:5c1b7d30 0a3e\r\na=ssrc:2882550433 cname:Dk3c\r\na=ssrc:2882550433 msid:5c1b7d30 0a3e\r\n".to_owned(),
            "a=msid:5c1b7d30 77b1\r\na=ssrc-group:FID 1369394305 3063731331\r\na=ssrc:1369394305 cname:Dk3c\r\n\
             a=ssrc:1369394305 msid:5c1b7d30 77b1\r\na=ssrc:3063731331 cname:Dk3c\r\na=ssrc:3063731331 msid:5c1b7d30 77b1\r\n"
                .to_owned(),
        )
    };
    format!(
        "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\na=extmap-allow-mixed\r\n\
         a=msid-semantic: WMS 5c1b7d30\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n{transport}a=mid:0\r\n\
         a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n\
         a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\r\n\
         a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
         a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
         a={direction}\r\na=rtcp-mux\r\na=rtcp-rsize\r\na=rtpmap:111 opus/48000/2\r\na=rtcp-fb:111 transport-cc\r\n\
         a=fmtp:111 minptime=10;useinbandfec=1\r\na=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\na=rtpmap:9 G722/8000\r\n\
         a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:13 CN/8000\r\na=rtpmap:110 telephone-event/48000\r\n\
         a=rtpmap:126 telephone-event/8000\r\n{audio_sources}\
         m=video 9 UDP/TLS/RTP/SAVPF{list} 116 117 118\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n{transport}a=mid:1\r\n\
         a=extmap:14 urn:ietf:params:rtp-hdrext:toffset\r\n\
         a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\r\n\
         a=extmap:13 urn:3gpp:video-orientation\r\n\
         a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
         a=extmap:5 http://www.webrtc.org/experiments/rtp-hdrext/playout-delay\r\n\
         a=extmap:6 http://www.webrtc.org/experiments/rtp-hdrext/video-content-type\r\n\
         a=extmap:12 https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension\r\n\
         a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
         a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n\
         a=extmap:11 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id\r\n\
         a={direction}\r\na=rtcp-mux\r\na=rtcp-rsize\r\n{video}{video_sources}"
    )
}

/// Firefox: the fingerprint at session level, braces round ids, `fmtp` before the rest.
pub(super) fn firefox(direction: &str) -> String {
    format!(
        "v=0\r\no=mozilla...THIS_IS_SDPARTA-99.0 7350284021834731906 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=sendrecv\r\n\
         a=fingerprint:sha-256 {FINGERPRINT}\r\na=group:BUNDLE 0 1\r\na=ice-options:trickle\r\na=msid-semantic:WMS *\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 109 9 0 8 101\r\nc=IN IP4 0.0.0.0\r\na={direction}\r\n\
         a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\na=extmap:2/recvonly urn:ietf:params:rtp-hdrext:csrc-audio-level\r\n\
         a=extmap:3 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=fmtp:109 maxplaybackrate=48000;stereo=1;useinbandfec=1\r\n\
         a=fmtp:101 0-15\r\na=ice-pwd:45a5713ee1e2b3c7e7e5fd3a8d1a2d5e\r\na=ice-ufrag:c2af7b21\r\na=mid:0\r\n\
         a=msid:{{f1f2}} {{a1a2}}\r\na=rtcp-mux\r\na=rtpmap:109 opus/48000/2\r\na=rtpmap:9 G722/8000/1\r\na=rtpmap:0 PCMU/8000\r\n\
         a=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000/1\r\na=setup:actpass\r\na=ssrc:1054327681 cname:{{c1c2}}\r\n\
         m=video 9 UDP/TLS/RTP/SAVPF 120 124 121 125 126 127 97 98 105 106\r\nc=IN IP4 0.0.0.0\r\na={direction}\r\n\
         a=extmap:3 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=extmap:4 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\r\n\
         a=extmap:5 urn:ietf:params:rtp-hdrext:toffset\r\na=extmap:6/recvonly http://www.webrtc.org/experiments/rtp-hdrext/playout-delay\r\n\
         a=extmap:7 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
         a=fmtp:126 profile-level-id=42e01f;level-asymmetry-allowed=1;packetization-mode=1\r\n\
         a=fmtp:97 profile-level-id=42e01f;level-asymmetry-allowed=1\r\n\
         a=fmtp:105 profile-level-id=42001f;level-asymmetry-allowed=1;packetization-mode=1\r\n\
         a=fmtp:120 max-fs=12288;max-fr=60\r\na=fmtp:124 apt=120\r\na=fmtp:121 max-fs=12288;max-fr=60\r\na=fmtp:125 apt=121\r\n\
         a=fmtp:127 apt=126\r\na=fmtp:98 apt=97\r\na=fmtp:106 apt=105\r\na=ice-pwd:45a5713ee1e2b3c7e7e5fd3a8d1a2d5e\r\n\
         a=ice-ufrag:c2af7b21\r\na=mid:1\r\na=msid:{{f1f2}} {{b1b2}}\r\n\
         a=rtcp-fb:120 nack\r\na=rtcp-fb:120 nack pli\r\na=rtcp-fb:120 ccm fir\r\na=rtcp-fb:120 goog-remb\r\na=rtcp-fb:120 transport-cc\r\n\
         a=rtcp-fb:126 nack\r\na=rtcp-fb:126 nack pli\r\na=rtcp-fb:126 ccm fir\r\na=rtcp-fb:126 goog-remb\r\na=rtcp-fb:126 transport-cc\r\n\
         a=rtcp-mux\r\na=rtcp-rsize\r\na=rtpmap:120 VP8/90000\r\na=rtpmap:124 rtx/90000\r\na=rtpmap:121 VP9/90000\r\n\
         a=rtpmap:125 rtx/90000\r\na=rtpmap:126 H264/90000\r\na=rtpmap:127 rtx/90000\r\na=rtpmap:97 H264/90000\r\n\
         a=rtpmap:98 rtx/90000\r\na=rtpmap:105 H264/90000\r\na=rtpmap:106 rtx/90000\r\na=setup:actpass\r\n\
         a=ssrc:2310455873 cname:{{c1c2}}\r\na=ssrc:1172937125 cname:{{c1c2}}\r\na=ssrc-group:FID 2310455873 1172937125\r\n"
    )
}

/// Safari: H.264 and H.265 first, video above audio as its WHIP pages do, only High and Baseline.
pub(super) fn safari(direction: &str) -> String {
    let transport = format!(
        "a=ice-ufrag:q1Xb\r\na=ice-pwd:8fKq2mJpLh0SzBv3TnWc7RyD\r\na=fingerprint:sha-256 {FINGERPRINT}\r\na=setup:actpass\r\n"
    );
    format!(
        "v=0\r\no=- 7218351236519826432 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\na=extmap-allow-mixed\r\n\
         m=video 9 UDP/TLS/RTP/SAVPF 96 97 98 99 100 101 127\r\nc=IN IP4 0.0.0.0\r\n{transport}a=mid:0\r\n\
         a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
         a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\na={direction}\r\na=rtcp-mux\r\na=rtcp-rsize\r\n\
         a=rtpmap:96 H264/90000\r\na=rtcp-fb:96 transport-cc\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\n\
         a=fmtp:96 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=640c1f\r\n\
         a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\na=rtpmap:98 H264/90000\r\na=rtcp-fb:98 transport-cc\r\na=rtcp-fb:98 nack\r\n\
         a=rtcp-fb:98 nack pli\r\na=fmtp:98 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n\
         a=rtpmap:99 rtx/90000\r\na=fmtp:99 apt=98\r\n\
         a=rtpmap:100 H265/90000\r\na=rtcp-fb:100 transport-cc\r\na=rtcp-fb:100 nack\r\na=rtcp-fb:100 nack pli\r\n\
         a=rtpmap:101 rtx/90000\r\na=fmtp:101 apt=100\r\na=rtpmap:127 VP8/90000\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 111 0 8\r\nc=IN IP4 0.0.0.0\r\n{transport}a=mid:1\r\na={direction}\r\na=rtcp-mux\r\n\
         a=rtpmap:111 opus/48000/2\r\na=rtcp-fb:111 transport-cc\r\na=fmtp:111 minptime=10;useinbandfec=1\r\n"
    )
}

/// OBS: libdatachannel, names as ids, one codec each.
pub(super) fn obs() -> String {
    format!(
        "v=0\r\no=rtc 2784612358 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\na=group:LS 0 1\r\n\
         a=msid-semantic:WMS *\r\na=setup:actpass\r\na=ice-ufrag:Hj6q\r\na=ice-pwd:9dKbfYqPzWcT1sXvLmN0aE\r\n\
         a=ice-options:ice2,trickle\r\na=fingerprint:sha-256 {FINGERPRINT}\r\n\
         m=audio 49742 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 192.0.2.17\r\na=mid:0\r\na=sendonly\r\n\
         a=ssrc:1093822111 cname:pKq1\r\na=ssrc:1093822111 msid:obs-stream obs-audio\r\na=msid:obs-stream obs-audio\r\n\
         a=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;maxaveragebitrate=160000;stereo=1;sprop-stereo=1;useinbandfec=1\r\n\
         a=candidate:1 1 UDP 2122317823 192.0.2.17 49742 typ host\r\na=end-of-candidates\r\n\
         m=video 49742 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 192.0.2.17\r\na=mid:1\r\na=sendonly\r\n\
         a=ssrc:1093822112 cname:pKq1\r\na=ssrc:1093822112 msid:obs-stream obs-video\r\na=msid:obs-stream obs-video\r\na=rtcp-mux\r\n\
         a=rtpmap:96 H264/90000\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\na=rtcp-fb:96 goog-remb\r\n\
         a=fmtp:96 profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1\r\n"
    )
}

/// GStreamer's `whipclientsink`: lower-case hex, a space after the semicolons, caps-style names.
pub(super) fn gstreamer() -> String {
    let fingerprint = FINGERPRINT.to_lowercase();
    format!(
        "v=0\r\no=- 8221462341938462210 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=ice-options:trickle\r\na=group:BUNDLE video0 audio1\r\n\
         m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=setup:actpass\r\na=ice-ufrag:S7p9vQ+k/2XeLmWd\r\n\
         a=ice-pwd:mJ4hT8bNcYw5rKzQ0uVxPsGfEaLiDo+/\r\na=rtcp-mux\r\na=rtcp-rsize\r\na=sendonly\r\na=rtpmap:96 H264/90000\r\n\
         a=framerate:30\r\na=fmtp:96 packetization-mode=1; profile-level-id=42c01f; sprop-parameter-sets=Z0LAH9oBQBbsBEAAAAMAQAAADyPGDKg=,aM48gA==\r\n\
         a=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\na=rtcp-fb:96 ccm fir\r\na=rtcp-fb:96 transport-cc\r\n\
         a=extmap:1 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
         a=ssrc:3484078952 msid:user3344 webrtctransceiver0\r\na=ssrc:3484078952 cname:user3344\r\na=mid:video0\r\n\
         a=fingerprint:sha-256 {fingerprint}\r\na=rtcp-mux-only\r\n\
         m=audio 0 UDP/TLS/RTP/SAVPF 97\r\nc=IN IP4 0.0.0.0\r\na=bundle-only\r\na=setup:actpass\r\na=ice-ufrag:S7p9vQ+k/2XeLmWd\r\n\
         a=ice-pwd:mJ4hT8bNcYw5rKzQ0uVxPsGfEaLiDo+/\r\na=rtcp-mux\r\na=rtcp-rsize\r\na=sendonly\r\na=rtpmap:97 OPUS/48000/2\r\n\
         a=fmtp:97 sprop-maxcapturerate=48000; sprop-stereo=1\r\na=ssrc:1293847561 msid:user3344 webrtctransceiver1\r\n\
         a=mid:audio1\r\na=fingerprint:sha-256 {fingerprint}\r\na=rtcp-mux-only\r\n"
    )
}

/// ffmpeg's WHIP muxer: the client is the DTLS server, no header extensions, hardly a feedback.
pub(super) fn ffmpeg() -> String {
    let transport = format!(
        "a=ice-ufrag:2b9c11de\r\na=ice-pwd:a4f1c0d95e7b2863a4f1c0d95e7b2863\r\na=fingerprint:sha-256 {FINGERPRINT}\r\na=setup:passive\r\n"
    );
    format!(
        "v=0\r\no=FFmpeg 4489045141692799359 2 IN IP4 127.0.0.1\r\ns=FFmpegPublishSession\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
         a=extmap-allow-mixed\r\na=msid-semantic: WMS\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\n{transport}a=mid:0\r\n\
         a=sendonly\r\na=msid:FFmpeg audio\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=ssrc:1709124631 cname:FFmpeg\r\n\
         a=ssrc:1709124631 msid:FFmpeg audio\r\nm=video 9 UDP/TLS/RTP/SAVPF 106\r\nc=IN IP4 0.0.0.0\r\n{transport}a=mid:1\r\n\
         a=sendonly\r\na=msid:FFmpeg video\r\na=rtcp-mux\r\na=rtcp-rsize\r\na=rtpmap:106 H264/90000\r\n\
         a=fmtp:106 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=64c01f\r\na=ssrc:1709124632 cname:FFmpeg\r\n\
         a=ssrc:1709124632 msid:FFmpeg video\r\n"
    )
}

/// aiortc: three fingerprints, host candidates at once, VP8 before H.264, mode 0 as well.
pub(super) fn aiortc(direction: &str) -> String {
    let transport = format!(
        "a=ice-ufrag:0y4V\r\na=ice-pwd:N2w4CyxVaeJPqZkfJL3SFW\r\na=fingerprint:sha-256 {FINGERPRINT}\r\n\
         a=fingerprint:sha-384 {FINGERPRINT}:{half}\r\na=fingerprint:sha-512 {FINGERPRINT}:{FINGERPRINT}\r\na=setup:actpass\r\n",
        half = &FINGERPRINT[..47]
    );
    format!(
        "v=0\r\no=- 3912834012 3912834012 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\na=msid-semantic:WMS *\r\n\
         m=audio 38922 UDP/TLS/RTP/SAVPF 96 0 8\r\nc=IN IP4 198.51.100.4\r\na={direction}\r\n\
         a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=extmap:2 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\na=mid:0\r\n\
         a=msid:6d2f 91aa\r\na=rtcp:9 IN IP4 0.0.0.0\r\na=rtcp-mux\r\na=ssrc:2231627014 cname:3f1a\r\na=rtpmap:96 opus/48000/2\r\n\
         a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=candidate:0f1 1 udp 2130706431 198.51.100.4 38922 typ host\r\n\
         a=end-of-candidates\r\n{transport}\
         m=video 38922 UDP/TLS/RTP/SAVPF 97 98 99 100 101 102\r\nc=IN IP4 198.51.100.4\r\na={direction}\r\n\
         a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=extmap:3 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\r\n\
         a=mid:1\r\na=msid:6d2f 41bb\r\na=rtcp:9 IN IP4 0.0.0.0\r\na=rtcp-mux\r\na=ssrc-group:FID 3190462761 2906512938\r\n\
         a=ssrc:3190462761 cname:3f1a\r\na=ssrc:2906512938 cname:3f1a\r\na=rtpmap:97 VP8/90000\r\na=rtcp-fb:97 nack\r\n\
         a=rtcp-fb:97 nack pli\r\na=rtcp-fb:97 goog-remb\r\na=rtpmap:98 rtx/90000\r\na=fmtp:98 apt=97\r\na=rtpmap:99 H264/90000\r\n\
         a=rtcp-fb:99 nack\r\na=rtcp-fb:99 nack pli\r\na=rtcp-fb:99 goog-remb\r\n\
         a=fmtp:99 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f\r\na=rtpmap:100 rtx/90000\r\n\
         a=fmtp:100 apt=99\r\na=rtpmap:101 H264/90000\r\na=rtcp-fb:101 nack\r\na=rtcp-fb:101 nack pli\r\n\
         a=fmtp:101 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\na=rtpmap:102 rtx/90000\r\n\
         a=fmtp:102 apt=101\r\n{transport}"
    )
}

/// A data channel as the offers above would carry it in third place.
pub(super) fn data_channel(mid: &str) -> String {
    format!(
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:Oyef\r\na=ice-pwd:1vd1Q8o6ZVNbTV3Wlp6YdQqk\r\n\
         a=fingerprint:sha-256 {FINGERPRINT}\r\na=setup:actpass\r\na=mid:{mid}\r\na=sctp-port:5000\r\na=max-message-size:262144\r\n"
    )
}
