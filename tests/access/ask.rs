//! One try to get in, by any protocol, and how it went.

use std::{process::Command, time::Duration};

use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::support::{Weir, process::Client};

/// The secret of all servers here.
pub(super) const SECRET: &str = "a-secret-of-forty-bytes-for-tests-only!!";
/// Longer than anything here takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);

/// The ways in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Rtmp,
    Whip,
    Whep,
    Json,
    Flv,
    Hls,
}

/// Where a token is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Header,
    Query,
}

/// What is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Show {
    Nothing,
    Wrong,
    Expired,
    OtherStream,
    OtherAction,
    Right,
}

impl Show {
    /// All but the right one.
    pub(super) const BAD: [Self; 5] = [Self::Nothing, Self::Wrong, Self::Expired, Self::OtherStream, Self::OtherAction];

    /// What HTTP answers; 0: it is let in.
    pub(super) const fn status(self) -> u16 {
        match self {
            Self::Nothing | Self::Wrong | Self::Expired => 401,
            Self::OtherStream | Self::OtherAction => 403,
            Self::Right => 0,
        }
    }

    /// The token, to publish or play `stream`.
    pub(super) fn token(self, stream: &str, publish: bool) -> Option<String> {
        let (action, other) = if publish { ("publish", "play") } else { ("play", "publish") };
        let claims = |stream: &str, action: &str, lasts: i64| json!({"sub": "tester", "stream": format!("live/{stream}"), "action": action, "exp": now() + lasts});
        match self {
            Self::Nothing => None,
            Self::Wrong => Some(signed(&claims(stream, action, 3_600), "another-secret-of-forty-bytes-for-tests!")),
            Self::Expired => Some(signed(&claims(stream, action, -3_600), SECRET)),
            Self::OtherStream => Some(signed(&claims("other", action, 3_600), SECRET)),
            Self::OtherAction => Some(signed(&claims(stream, other, 3_600), SECRET)),
            Self::Right => Some(signed(&claims(stream, action, 3_600), SECRET)),
        }
    }
}

/// A token with these claims.
pub(super) fn signed(claims: &Value, secret: &str) -> String {
    encode(&Header::default(), claims, &EncodingKey::from_secret(secret.as_bytes()).expect("a key")).expect("claims")
}

/// Unix time in seconds.
pub(super) fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is after 1970");
    i64::try_from(since.as_secs()).expect("a time")
}

/// How a try went: the status, 0 for in, and what was said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Went {
    pub(super) status: u16,
    pub(super) said: String,
    pub(super) challenge: bool,
}

/// What one try needs.
pub(super) struct Try<'a> {
    pub(super) server: &'a Weir,
    pub(super) way: Way,
    pub(super) publish: bool,
    pub(super) stream: &'a str,
    pub(super) token: Option<&'a str>,
    pub(super) place: Place,
}

impl Try<'_> {
    /// Tries.
    pub(super) fn go(&self) -> Went {
        match self.way {
            Way::Rtmp if self.publish => self.publish_rtmp(),
            Way::Rtmp => self.play_rtmp(),
            _ => http(self),
        }
    }

    fn query(&self) -> String {
        let token = self.token.filter(|_| self.place == Place::Query);
        token.map(|token| format!("token={token}")).unwrap_or_default()
    }

    fn rtmp_url(&self) -> String {
        let query = self.token.map(|token| format!("?token={token}")).unwrap_or_default();
        self.server.rtmp_url(self.stream) + &query
    }

    /// Half a second of a test picture.
    fn publish_rtmp(&self) -> Went {
        let url = self.rtmp_url();
        let args = ["-re", "-f", "lavfi", "-i", "testsrc=size=160x90:rate=10", "-t", "0.5", "-c:v", "libx264"];
        let more = ["-preset", "ultrafast", "-tune", "zerolatency", "-f", "flv", &url];
        rtmp_outcome(Client::ffmpeg("publisher", &[&args[..], &more[..]].concat()))
    }

    /// Until the first picture.
    fn play_rtmp(&self) -> Went {
        let url = self.rtmp_url();
        rtmp_outcome(Client::ffmpeg("player", &["-i", &url, "-frames:v", "1", "-f", "null", "-"]))
    }
}

fn rtmp_outcome(client: Client) -> Went {
    let outcome = client.finish(PATIENCE);
    let said = outcome.stderr.lines().find_map(|line| line.split_once("Server error: ").map(|(_, said)| said.trim().to_owned()));
    match said {
        None if outcome.status.success() => Went { status: 0, said: String::new(), challenge: false },
        said => {
            let said = said.unwrap_or(outcome.stderr);
            let status = if said.contains("credentials") {
                401
            } else if said.contains("not allowed") {
                403
            } else {
                1
            };
            Went { status, said, challenge: status == 401 }
        }
    }
}

fn http(ask: &Try<'_>) -> Went {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(PATIENCE, request(ask)).await.expect("an answer in time") })
}

async fn request(ask: &Try<'_>) -> Went {
    let (api, http, stream, query) = (ask.server.api, ask.server.http, ask.stream, ask.query());
    let client = reqwest::Client::new();
    let sdp = |url: String| client.post(url).header("content-type", "application/sdp").body(OFFER);
    let request = match ask.way {
        Way::Whip => sdp(format!("http://{api}/rtc/v1/whip/?app=live&stream={stream}&{query}")),
        Way::Whep => sdp(format!("http://{api}/rtc/v1/whep/?app=live&stream={stream}&{query}")),
        Way::Json => {
            let verb = if ask.publish { "publish" } else { "play" };
            let url = format!("webrtc://{api}/live/{stream}?{query}");
            client.post(format!("http://{api}/rtc/v1/{verb}/")).json(&json!({"streamurl": url, "sdp": OFFER}))
        }
        Way::Flv => client.get(format!("http://{http}/live/{stream}.flv?{query}")),
        Way::Hls => client.get(format!("http://{http}/live/{stream}.m3u8?{query}")),
        Way::Rtmp => unreachable!("not by HTTP"),
    };
    let request = match ask.token.filter(|_| ask.place == Place::Header) {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    let answer = request.send().await.expect("an answer");
    let status = answer.status().as_u16();
    let challenge = answer.headers().contains_key("www-authenticate");
    if status < 300 && ask.way != Way::Json {
        return Went { status: 0, said: String::new(), challenge };
    }
    let said = answer.text().await.expect("a body");
    if ask.way != Way::Json {
        return Went { status, said, challenge };
    }
    let body: Value = serde_json::from_str(&said).expect("JSON");
    let status = body["code"].as_u64().and_then(|code| u16::try_from(code).ok()).expect("a code");
    // The server's name changes from start to start, not from answer to answer.
    Went { status, said: if status == 0 { String::new() } else { said }, challenge: status == 401 }
}

/// Publishes a test picture and tone until dropped.
pub(super) fn keep_publishing(server: &Weir, stream: &str, param: &str) -> Client {
    let url = format!("{}{param}", server.rtmp_url(stream));
    let inputs = ["-re", "-f", "lavfi", "-i", "testsrc=size=160x90:rate=10", "-re", "-f", "lavfi", "-i", "sine=frequency=440"];
    let codecs =
        ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "10", "-c:a", "aac", "-f", "flv", &url];
    Client::ffmpeg("publisher", &[&inputs[..], &codecs[..]].concat())
}

/// Runs one of the aiortc clients and reads what it prints.
pub(super) fn aiortc(script: &str, args: &[&str]) -> Value {
    let python = std::env::var("WEIR_TEST_PYTHON").unwrap_or_else(|_| "target/test-venv/bin/python".to_owned());
    let path = format!("{}/tests/clients/{script}", env!("CARGO_MANIFEST_DIR"));
    let outcome = Client::start(script, Command::new(python).arg(path).args(args)).finish(PATIENCE);
    assert!(outcome.status.success(), "{}", outcome.stderr);
    serde_json::from_str(outcome.stdout.trim()).unwrap_or_else(|_| panic!("{}\n{}", outcome.stdout, outcome.stderr))
}

/// What a browser offers, for either direction.
pub(super) const OFFER: &str = "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n\
    a=fingerprint:sha-256 19:E2:1C:3B:4B:9F:81:E6:B8:5C:F4:A5:A8:D8:73:04:BB:05:2F:70:9F:04:A9:0E:05:E9:26:33:E8:70:88:A2\r\n\
    a=setup:actpass\r\na=mid:0\r\na=sendrecv\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 106\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n\
    a=fingerprint:sha-256 19:E2:1C:3B:4B:9F:81:E6:B8:5C:F4:A5:A8:D8:73:04:BB:05:2F:70:9F:04:A9:0E:05:E9:26:33:E8:70:88:A2\r\n\
    a=setup:actpass\r\na=mid:1\r\na=sendrecv\r\na=rtcp-mux\r\na=rtpmap:106 H264/90000\r\na=rtcp-fb:106 nack\r\n\
    a=rtcp-fb:106 nack pli\r\na=fmtp:106 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n";
