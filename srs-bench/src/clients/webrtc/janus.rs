//! Janus: its own HTTP API and its VideoRoom plugin, in place of WHIP and WHEP.
//!
//! A publisher joins a room with its offer; a viewer is made an offer by the server and answers it. Janus
//! forgets sessions that are silent for a minute, so they are kept alive.

use reqwest::{Method, Url, header::CONTENT_TYPE};
use serde_json::{Value, json};

use super::offer::Offer;
use crate::{
    clients::{
        Feedback,
        crew::Failure,
        request::{self, Http},
    },
    measure::Stage,
};

/// Its answers are some kilobytes.
const ANSWER_MAX: usize = 256 << 10;
/// Events that may come before the one that is waited for.
const EVENTS_MAX: usize = 16;
const ROOM: u64 = 1;
const FEED: u64 = 1;

/// What is asked of the server.
pub(super) struct Wanted<'a> {
    pub(super) publish: bool,
    pub(super) offer: &'a Offer,
    pub(super) fingerprint: &'a str,
    pub(super) feedback: Feedback,
}

/// A session at the server, with its one handle.
#[derive(Debug)]
pub(super) struct Session {
    api: Url,
    handle: Url,
    /// It made the offer.
    pub(super) offered: bool,
}

/// Joins a room of `janus://host:port/path?room=1&feed=1`. The server's description, whichever of the
/// two made the offer.
pub(super) async fn negotiate(http: &Http, url: &Url, wanted: &Wanted<'_>) -> Result<(String, Session), Failure> {
    let number = |name: &str, default| {
        let found = url.query_pairs().find(|(key, _)| key == name);
        found.and_then(|(_, value)| value.parse().ok()).unwrap_or(default)
    };
    let (room, feed) = (number("room", ROOM), number("feed", FEED));
    let session = Session { offered: !wanted.publish, ..Session::create(http, url).await? };
    if wanted.publish {
        let body = json!({ "request": "joinandconfigure", "room": room, "ptype": "publisher", "id": feed });
        let answer = session.ask(http, body, Some(("offer", &wanted.offer.sdp))).await?;
        return Ok((description(&answer)?, session));
    }
    let body = json!({ "request": "join", "room": room, "ptype": "subscriber", "streams": [{ "feed": feed }] });
    let offer = description(&session.ask(http, body, None).await?)?;
    let answer = answer(&offer, wanted);
    session.ask(http, json!({ "request": "start", "room": room }), Some(("answer", &answer))).await?;
    Ok((offer, session))
}

impl Session {
    async fn create(http: &Http, url: &Url) -> Result<Self, Failure> {
        let api = url.as_str().replacen("janus://", "http://", 1);
        let mut api = Url::parse(&api).map_err(|error| Failure::new(Stage::Http, error.to_string()))?;
        api.set_query(None);
        let made = post(http, &api, json!({ "janus": "create" })).await?;
        let api = below(&api, id(&made)?);
        let attached = post(http, &api, json!({ "janus": "attach", "plugin": "janus.plugin.videoroom" })).await?;
        Ok(Self { handle: below(&api, id(&attached)?), api, offered: false })
    }

    /// A message to the plugin, and the event that answers it.
    async fn ask(&self, http: &Http, body: Value, jsep: Option<(&str, &str)>) -> Result<Value, Failure> {
        let transaction = format!("{:016x}", rand::random::<u64>());
        let mut message = json!({ "janus": "message", "transaction": transaction, "body": body });
        if let Some((kind, sdp)) = jsep {
            message["jsep"] = json!({ "type": kind, "sdp": sdp });
        }
        post(http, &self.handle, message).await?;
        let mut events = self.api.clone();
        events.set_query(Some("maxev=1"));
        for _ in 0..EVENTS_MAX {
            let event = read(http, http.request(Method::GET, events.clone())).await?;
            if event["transaction"] == transaction.as_str() {
                return plugin_event(event);
            }
        }
        Err(Failure::new(Stage::Http, "Janus never answered the message"))
    }

    /// Says that somebody is still there.
    pub(super) async fn keep(&self, http: &Http) {
        let _kept = post(http, &self.api, json!({ "janus": "keepalive" })).await;
    }

    /// Ends it.
    pub(super) async fn destroy(self, http: &Http) {
        let _gone = post(http, &self.api, json!({ "janus": "destroy" })).await;
    }
}

async fn post(http: &Http, url: &Url, mut message: Value) -> Result<Value, Failure> {
    if message.get("transaction").is_none() {
        message["transaction"] = json!(format!("{:016x}", rand::random::<u64>()));
    }
    let request = http.request(Method::POST, url.clone()).header(CONTENT_TYPE, "application/json");
    read(http, request.body(message.to_string())).await
}

async fn read(http: &Http, request: reqwest::RequestBuilder) -> Result<Value, Failure> {
    let response = http.send(request).await?;
    if !response.status().is_success() {
        return Err(request::refusal(response).await);
    }
    let text = request::text(response, ANSWER_MAX).await?;
    let json: Value = serde_json::from_str(&text).map_err(|_| Failure::new(Stage::Http, "the answer is no JSON"))?;
    if json["janus"] == "error" {
        let reason = json["error"]["reason"].as_str().unwrap_or("no reason given");
        return Err(Failure::new(Stage::Refused, reason));
    }
    Ok(json)
}

fn id(json: &Value) -> Result<u64, Failure> {
    json["data"]["id"].as_u64().ok_or_else(|| Failure::new(Stage::Http, "no id in Janus's answer"))
}

fn below(url: &Url, id: u64) -> Url {
    let mut url = url.clone();
    // `http` URLs always have a path to add to.
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().push(&id.to_string());
    }
    url
}

/// A refusal of the plugin comes as an event like any other.
fn plugin_event(event: Value) -> Result<Value, Failure> {
    match event["plugindata"]["data"]["error"].as_str() {
        Some(error) => Err(Failure::new(Stage::Refused, error)),
        None => Ok(event),
    }
}

fn description(event: &Value) -> Result<String, Failure> {
    let sdp = event["jsep"]["sdp"].as_str();
    sdp.map(str::to_owned).ok_or_else(|| Failure::new(Stage::Sdp, "no description in Janus's event"))
}

/// Our answer to the server's offer: all of its sections, received, each with its first format.
fn answer(offer: &str, wanted: &Wanted<'_>) -> String {
    let Offer { ufrag, pwd, .. } = wanted.offer;
    let session: u64 = rand::random::<u64>() >> 2;
    let mut text = format!("v=0\r\no=- {session} 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n");
    let lines = || offer.lines().map(str::trim_end);
    text.extend(lines().filter(|line| line.starts_with("a=group:")).map(|line| format!("{line}\r\n")));
    let mut format = None;
    for line in lines() {
        if line.starts_with("m=") {
            let mut words = line.split_ascii_whitespace();
            let (kind, protocol) = (words.next().unwrap_or("m=video"), words.nth(1).unwrap_or("UDP/TLS/RTP/SAVPF"));
            let first = words.next().unwrap_or("0");
            format = Some(first);
            text += &format!(
                "{kind} 9 {protocol} {first}\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\n\
                 a=fingerprint:sha-256 {}\r\na=setup:active\r\na=rtcp-mux\r\na=recvonly\r\n",
                wanted.fingerprint
            );
        } else if let Some(first) = format
            && is_kept(line, first, wanted.feedback)
        {
            text += &format!("{line}\r\n");
        }
    }
    text
}

/// A line of the offer's section that its answer has, too.
fn is_kept(line: &str, format: &str, feedback: Feedback) -> bool {
    let of_format = |name: &str| line.strip_prefix(name).and_then(|rest| rest.split_once(' ')).filter(|(id, _)| *id == format);
    if let Some((_, what)) = of_format("a=rtcp-fb:") {
        return match what {
            "nack" => feedback.nack,
            "nack pli" => feedback.pli,
            "transport-cc" => feedback.transport_cc,
            _ => false,
        };
    }
    let transport_cc = line.starts_with("a=extmap:") && line.ends_with(super::offer::TRANSPORT_CC_URI);
    line.starts_with("a=mid:")
        || of_format("a=rtpmap:").is_some()
        || of_format("a=fmtp:").is_some()
        || (transport_cc && feedback.transport_cc)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::{
        Cipher,
        webrtc::{answer::Answer, offer::Wish},
    };

    const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=room\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
        a=fingerprint:sha-256 6F:F1:9D:DF:32:CD:4A:9C:D2:44:79:66:80:C0:70:0F:55:0D:87:4C:A0:1E:68:47:DB:A8:B1:BD:BA:80:AE:06\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 10.0.0.1\r\na=sendonly\r\na=mid:0\r\na=rtcp-mux\r\na=ice-ufrag:rMyy\r\n\
        a=ice-pwd:KbnEYGAxcEGBU53KqqI4I6\r\na=setup:actpass\r\na=rtpmap:111 opus/48000/2\r\n\
        a=candidate:1 1 udp 2015363327 10.0.0.1 24577 typ host\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 106 107\r\nc=IN IP4 10.0.0.1\r\na=sendonly\r\na=mid:1\r\na=rtcp-mux\r\na=setup:actpass\r\n\
        a=rtpmap:106 H264/90000\r\na=fmtp:106 packetization-mode=1\r\na=rtcp-fb:106 nack\r\na=rtcp-fb:106 nack pli\r\n\
        a=rtcp-fb:106 goog-remb\r\na=rtpmap:107 rtx/90000\r\na=fmtp:107 apt=106\r\n";

    #[test]
    fn an_offer_of_janus_is_answered_section_by_section() {
        let offer = Offer::new("AA:BB", Cipher::Gcm, Wish::Receive(Feedback::default()));
        let feedback = Feedback { pli: false, ..Feedback::default() };
        let text = answer(OFFER, &Wanted { publish: false, offer: &offer, fingerprint: "AA:BB", feedback });
        assert!(text.contains("a=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"), "{text}");
        assert!(text.contains("m=video 9 UDP/TLS/RTP/SAVPF 106\r\n"), "one format is chosen: {text}");
        assert!(text.contains("a=mid:1\r\na=rtpmap:106 H264/90000\r\na=fmtp:106 packetization-mode=1\r\na=rtcp-fb:106 nack\r\n"));
        for absent in ["sendonly", "nack pli", "goog-remb", "rtx", "KbnEYG"] {
            assert!(!text.contains(absent), "{absent}: {text}");
        }
        assert_eq!(text.matches("a=recvonly").count(), 2);
        assert_eq!(text.matches(&format!("a=ice-ufrag:{}", offer.ufrag)).count(), 2);
    }

    #[test]
    fn an_offer_of_janus_tells_a_client_what_an_answer_would() {
        let read = Answer::read(OFFER).unwrap();
        assert_eq!((read.types.audio, read.types.video), (Some(111), Some(106)));
        assert_eq!(read.candidates.len(), 1);
        assert_eq!(read.role, weir_rtc::sdp::DtlsRole::Active, "actpass leaves it to us");
    }

    #[test]
    fn refusals_of_the_plugin_are_told() {
        let event = json!({ "plugindata": { "data": { "videoroom": "event", "error_code": 428, "error": "No such feed (1)" } } });
        let failure = plugin_event(event).unwrap_err();
        assert_eq!((failure.stage, failure.reason.as_str()), (Stage::Refused, "No such feed (1)"));
    }
}
