//! An offer to a server and its answer: WHIP and WHEP (RFC 9725), or SRS's JSON.

use reqwest::{
    Method, StatusCode, Url,
    header::{CONTENT_TYPE, ETAG, IF_MATCH, LOCATION},
};
use serde_json::{Value, json};

use crate::{
    clients::{
        crew::Failure,
        request::{self, Http},
    },
    measure::Stage,
};

/// SRS's API listens there.
const SRS_API_PORT: u16 = 1985;
/// An answer is some kilobytes.
const ANSWER_MAX: usize = 256 << 10;

/// A session at the server, as far as HTTP knows it.
#[derive(Debug)]
pub(super) struct Resource {
    /// Where to DELETE it, if it can be.
    url: Option<Url>,
    etag: Option<String>,
}

/// Posts the offer; the answer and what it was filed under.
pub(super) async fn negotiate(http: &Http, url: &Url, publish: bool, offer: String) -> Result<(String, Resource), Failure> {
    if url.scheme() == "webrtc" { srs(http, url, publish, &offer).await } else { whip(http, url, offer).await }
}

/// RFC 9725 section 4.2.
async fn whip(http: &Http, url: &Url, offer: String) -> Result<(String, Resource), Failure> {
    let request = http.request(Method::POST, url.clone());
    // Redirections with 307 and 308 are followed (section 4.5), the offer with them.
    let response = http.send(request.header(CONTENT_TYPE, "application/sdp").body(offer)).await?;
    // 201 is what the RFC says; some servers say 200.
    if response.status() == StatusCode::NOT_ACCEPTABLE && response.headers().contains_key(CONTENT_TYPE) {
        // The draft of WHEP: the server would rather make the offer itself.
        let refusal = request::refusal(response).await;
        return Err(Failure::new(Stage::Refused, format!("{}; a server's own offer is not taken up", refusal.reason)));
    }
    if !matches!(response.status(), StatusCode::CREATED | StatusCode::OK) {
        return Err(request::refusal(response).await);
    }
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    // Relative to where the answer came from.
    let resource = Resource { url: header(LOCATION).and_then(|to| response.url().join(&to).ok()), etag: header(ETAG) };
    Ok((request::text(response, ANSWER_MAX).await?, resource))
}

/// SRS's own API.
async fn srs(http: &Http, url: &Url, publish: bool, offer: &str) -> Result<(String, Resource), Failure> {
    let api = srs_api(url, publish).ok_or_else(|| Failure::new(Stage::Http, "no API address in the URL"))?;
    let body = json!({ "api": api.as_str(), "tid": format!("{:07x}", rand::random::<u32>() >> 4), "streamurl": url.as_str(), "clientip": null, "sdp": offer });
    let request = http.request(Method::POST, api).header(CONTENT_TYPE, "application/json").body(body.to_string());
    let response = http.send(request).await?;
    if !response.status().is_success() {
        return Err(request::refusal(response).await);
    }
    let text = request::text(response, ANSWER_MAX).await?;
    Ok((srs_answer(&text)?, Resource { url: None, etag: None }))
}

/// `webrtc://host[:port]/…` has its API on that port, over HTTPS with `schema=https`.
fn srs_api(url: &Url, publish: bool) -> Option<Url> {
    let secure = url.query_pairs().any(|(name, value)| name == "schema" && value == "https");
    let (scheme, host) = (if secure { "https" } else { "http" }, url.host_str()?);
    let port = url.port().unwrap_or(SRS_API_PORT);
    Url::parse(&format!("{scheme}://{host}:{port}/rtc/v1/{}/", if publish { "publish" } else { "play" })).ok()
}

/// The SDP in `{code, sdp, sessionid}`.
fn srs_answer(text: &str) -> Result<String, Failure> {
    let json: Value = serde_json::from_str(text).map_err(|_| Failure::new(Stage::Http, "the answer is no JSON"))?;
    let code = json.get("code").and_then(Value::as_i64).unwrap_or(-1);
    if code != 0 {
        let words: Vec<&str> = ["msg", "message", "error", "desc"].iter().filter_map(|name| json.get(name)?.as_str()).collect();
        let words = if words.is_empty() { String::new() } else { format!(": {}", words.join(": ")) };
        return Err(Failure::new(Stage::Refused, format!("code {code}{words}")));
    }
    let sdp = json.get("sdp").and_then(Value::as_str);
    sdp.map(str::to_owned).ok_or_else(|| Failure::new(Stage::Http, "no sdp in the answer"))
}

impl Resource {
    /// Ends the session at the server (RFC 9725 section 4.2). How it went is nobody's business any more.
    pub(super) async fn delete(self, http: &Http) {
        let Some(url) = self.url else { return };
        let mut request = http.request(Method::DELETE, url);
        if let Some(etag) = self.etag {
            request = request.header(IF_MATCH, etag);
        }
        let _gone = http.send(request).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_of_srs_is_on_its_port_unless_the_url_has_another() {
        let api = |url: &str, publish| srs_api(&Url::parse(url).unwrap(), publish).unwrap().to_string();
        assert_eq!(api("webrtc://a/live/x", false), "http://a:1985/rtc/v1/play/");
        assert_eq!(api("webrtc://a:443/live/x?schema=https", true), "https://a/rtc/v1/publish/");
        assert_eq!(api("webrtc://[::1]:2022/live/x", true), "http://[::1]:2022/rtc/v1/publish/");
    }

    #[test]
    fn the_answer_of_srs_is_read_and_its_refusal_told() {
        assert_eq!(srs_answer(r#"{"code":0,"sdp":"v=0\r\n","sessionid":"a:b"}"#).unwrap(), "v=0\r\n");
        let busy = srs_answer(r#"{"code":400,"msg":"stream busy"}"#).unwrap_err();
        assert_eq!((busy.stage, busy.reason.as_str()), (Stage::Refused, "code 400: stream busy"));
        assert_eq!(srs_answer("<html>").unwrap_err().stage, Stage::Http);
        assert_eq!(srs_answer(r#"{"code":0}"#).unwrap_err().stage, Stage::Http);
    }
}
