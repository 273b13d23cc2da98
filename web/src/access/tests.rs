//! Tokens of every kind, and the rules together as requests meet them.

use axum::{
    body::Body,
    http::{Method, Request},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use weir_source::{ClientKind, Denied, Gatekeeper, PerVhost, Secret, StreamKey, Visit};

use super::*;
use crate::{
    VhostConfig,
    testing::{Answer, OFFER, Server, ask},
};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// In the year 2100.
const FAR: u64 = 4_102_444_800;

fn now_s() -> u64 {
    now_ms() / 1_000
}

fn token(claims: &Value) -> String {
    token_of(&Header::new(Algorithm::HS256), claims, SECRET.as_bytes())
}

fn token_of(header: &Header, claims: &Value, secret: &[u8]) -> String {
    encode(header, claims, &EncodingKey::from_secret(secret).unwrap()).unwrap()
}

fn jwt(keys: Vec<TokenKey>) -> JwtConfig {
    JwtConfig { keys, ..JwtConfig::default() }
}

fn hs256() -> JwtConfig {
    jwt(vec![TokenKey::secret(SECRET).unwrap()])
}

mod keys {
    use super::*;

    /// Made by openssl: `{"alg":"EdDSA","kid":"one"}` over `{"sub":"alice","stream":"live/cam*","action":"both"}`.
    const EDDSA: &str = "eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCIsImtpZCI6Im9uZSJ9.eyJzdWIiOiJhbGljZSIsInN0cmVhbSI6ImxpdmUvY2FtKiIsImFjdGlvbiI6ImJvdGgiLCJleHAiOjQxMDI0NDQ4MDB9.L9eowC0qRe4NM_skED5La_zIF_umBQjbTIEgP2GFU2HFbv-vNMoll77Rq4dsrS_-X6prQQ0kKbnU1c21be-HCg";
    const ED25519_PEM: &str =
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAZEZWPNP6Lks/tb9WgJzFGcaXqzq1pstB/kQkYfeffN8=\n-----END PUBLIC KEY-----\n";
    const ED25519_X: &str = "ZEZWPNP6Lks_tb9WgJzFGcaXqzq1pstB_kQkYfeffN8";
    /// The same claims by ES256.
    const ES256: &str = "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbGljZSIsInN0cmVhbSI6ImxpdmUvY2FtKiIsImFjdGlvbiI6ImJvdGgiLCJleHAiOjQxMDI0NDQ4MDB9.Klqc5jwfMS3qYxJuKO1r0v6czU3P53gVQFgbxHVE2ab3R8gi77sb3hJwugR7soMbnrbOVS3OqpSBD9OsyI4M9A";
    /// RFC 7515 appendix A.1.
    const RFC7515: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const RFC7515_KEY: &str = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";

    fn set(keys: &Value) -> String {
        json!({ "keys": keys }).to_string()
    }

    #[test]
    fn tokens_of_other_makers_are_read() {
        let pem = jwt(vec![TokenKey::ed25519(ED25519_PEM).unwrap()]);
        assert_eq!(pem.read(EDDSA, false).unwrap().subject(), Some("alice"));
        let keys = json!([
            {"kty": "EC", "crv": "P-256", "x": "B1raYcCqBbKwGA9hV5V9zlecjHeS2H1nTEvq1qFkrQo", "y": "asVeGOQiqhbU90LOaJ0RNZfM0He6FMJwBbepAVf9Td4"},
            {"kty": "OKP", "crv": "Ed25519", "x": ED25519_X, "kid": "one", "alg": "EdDSA", "use": "sig"},
            {"kty": "AKP", "alg": "ML-DSA-44", "pub": "x"},
            {"kty": "oct", "k": RFC7515_KEY},
        ]);
        let jwks = jwt(TokenKey::jwks(&set(&keys)).unwrap());
        assert_eq!(jwks.keys.len(), 3, "what is unknown is left out");
        assert!(jwks.read(EDDSA, false).is_some() && jwks.read(ES256, false).is_some());
        assert!(jwks.read(RFC7515, true).is_some());
        assert!(jwks.read(RFC7515, false).is_none(), "it expired in 2011");
        for cut in [EDDSA, ES256, RFC7515] {
            assert!(jwks.read(&cut[..cut.len() - 2], true).is_none());
        }
    }

    #[test]
    fn a37_no_key_is_used_with_another_algorithm() {
        let claims = json!({"sub": "eve", "stream": "*", "action": "both", "exp": FAR});
        let pem = jwt(vec![TokenKey::ed25519(ED25519_PEM).unwrap()]);
        // The public key, in each form that somebody may have it, as the secret of HS256.
        let raw = ED25519_X.as_bytes();
        for secret in [ED25519_PEM.as_bytes(), ED25519_PEM.trim().as_bytes(), raw] {
            assert!(pem.read(&token_of(&Header::new(Algorithm::HS256), &claims, secret), false).is_none());
        }
        for algorithm in [Algorithm::HS384, Algorithm::HS512] {
            assert!(hs256().read(&token_of(&Header::new(algorithm), &claims, SECRET.as_bytes()), false).is_none());
        }
        let good = token(&claims);
        let (_, rest) = good.split_once('.').unwrap();
        let (body, _) = rest.split_once('.').unwrap();
        // {"alg":"none"}, {"alg":"None"}, {"alg":"nOnE","typ":"JWT"}
        for head in ["eyJhbGciOiJub25lIn0", "eyJhbGciOiJOb25lIn0", "eyJhbGciOiJuT25FIiwidHlwIjoiSldUIn0"] {
            for sign in ["", "x"] {
                assert!(hs256().read(&format!("{head}.{body}.{sign}"), false).is_none());
            }
        }
        assert!(hs256().read(&good, false).is_some());
    }

    #[test]
    fn a_token_that_names_its_key_is_of_no_other() {
        let key = |id: &str, secret: &str| {
            let k = RFC7515_KEY.replace("AyM1", secret);
            json!({"kty": "oct", "kid": id, "k": k})
        };
        let jwks = jwt(TokenKey::jwks(&set(&json!([key("a", "AyM1"), key("b", "AyM2")]))).unwrap());
        let secret = |start: &str| {
            let jwk = serde_json::from_value(json!({"kty": "oct", "k": RFC7515_KEY.replace("AyM1", start)})).unwrap();
            jsonwebtoken::DecodingKey::from_jwk(&jwk).unwrap().try_get_as_bytes().unwrap().to_vec()
        };
        let signed = |id: Option<&str>, start: &str| {
            let header = Header { kid: id.map(str::to_owned), ..Header::new(Algorithm::HS256) };
            token_of(&header, &json!({"exp": FAR}), &secret(start))
        };
        for (id, start, want) in [
            (Some("a"), "AyM1", true),
            (Some("b"), "AyM2", true),
            (Some("a"), "AyM2", false),
            (Some("c"), "AyM1", false),
            (None, "AyM2", true),
            (None, "AyM3", false),
        ] {
            assert_eq!(jwks.read(&signed(id, start), false).is_some(), want, "{id:?} {start}");
        }
    }

    #[test]
    fn keys_that_are_none_are_refused() {
        assert_eq!(TokenKey::secret("short").unwrap_err(), KeyFault::ShortSecret);
        for bad in ["", "x", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"] {
            assert_eq!(TokenKey::ed25519(bad).unwrap_err(), KeyFault::NotEd25519);
        }
        assert_eq!(TokenKey::jwks("[]").unwrap_err(), KeyFault::NotJwks);
        let encrypting = json!([{"kty": "oct", "k": RFC7515_KEY, "use": "enc"}]);
        let short = json!([{"kty": "oct", "k": "AAAA"}]);
        let confused = json!([{"kty": "OKP", "crv": "Ed25519", "x": ED25519_X, "alg": "HS256"}]);
        let many = Value::Array(vec![json!({"kty": "oct", "k": RFC7515_KEY}); 33]);
        for keys in [json!([]), encrypting, short, confused, many] {
            assert_eq!(TokenKey::jwks(&set(&keys)).unwrap_err(), KeyFault::NoKey, "{keys}");
        }
    }

    #[test]
    fn a67_keys_are_not_printed() {
        let text = format!("{:?} {:?}", TokenKey::secret(SECRET).unwrap(), UrlKey::new(SECRET));
        assert!(!text.contains("0123") && !text.contains("48, 49"), "{text}");
        assert_eq!(TokenKey::secret(SECRET).unwrap(), TokenKey::secret(SECRET).unwrap());
        assert_ne!(TokenKey::secret(SECRET).unwrap(), TokenKey::secret(&SECRET.to_uppercase()).unwrap());
    }
}

#[test]
fn f50_times_count_with_a_minute_of_leeway() {
    let now = now_s();
    let table = [
        (json!({"exp": now + 100}), true),
        (json!({"exp": now - 30}), true),
        (json!({"exp": now - 90}), false),
        (json!({"exp": 0}), false),
        (json!({"exp": -1}), false),
        (json!({"exp": "soon"}), false),
        (json!({"exp": 1e300}), false),
        (json!({"exp": now + 100, "nbf": now + 30}), true),
        (json!({"exp": now + 100, "nbf": now + 90}), false),
        (json!({"exp": now + 100, "nbf": "later"}), false),
        (json!({}), false),
    ];
    for (claims, want) in table {
        assert_eq!(hs256().read(&token(&claims), false).is_some(), want, "{claims}");
    }
    let lenient = JwtConfig { require_expiry: false, ..hs256() };
    assert!(lenient.read(&token(&json!({})), false).is_some());
    assert!(lenient.read(&token(&json!({"exp": now - 90})), false).is_none(), "one that has a time is held to it");
    assert!(hs256().read(&token(&json!({"exp": now - 90})), true).is_some());
}

#[test]
fn audience_and_issuer_count_where_they_are_set() {
    let strict = JwtConfig { audience: Some("weir".to_owned()), issuer: Some("idp".to_owned()), ..hs256() };
    for (claims, want) in [
        (json!({"exp": FAR, "aud": "weir", "iss": "idp"}), true),
        (json!({"exp": FAR, "aud": ["x", "weir"], "iss": "idp"}), true),
        (json!({"exp": FAR, "aud": "other", "iss": "idp"}), false),
        (json!({"exp": FAR, "aud": "weir", "iss": "other"}), false),
        (json!({"exp": FAR, "aud": "weir"}), false),
        (json!({"exp": FAR, "iss": "idp"}), false),
    ] {
        assert_eq!(strict.read(&token(&claims), false).is_some(), want, "{claims}");
    }
    assert!(hs256().read(&token(&json!({"exp": FAR, "aud": "weir"})), false).is_none(), "RFC 7519 section 4.1.3");
}

#[test]
fn a37_what_is_no_token_is_refused() {
    let good = token(&json!({"exp": FAR}));
    let parts: Vec<&str> = good.split('.').collect();
    let [head, body, sign] = parts[..] else { panic!("{good}") };
    let deep = format!("{}{}", "[".repeat(4_000), "]".repeat(4_000));
    for bad in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        good.clone() + ".",
        format!(".{good}"),
        format!("{head}.{body}"),
        format!("{head}.{body}."),
        format!("{head}..{sign}"),
        format!("{head}.{body}.{sign}="),
        format!("{head}.{body} .{sign}"),
        format!("{body}.{body}.{sign}"),
        good.to_uppercase(),
        "x".repeat(1 << 20),
        format!("{good}{}", "A".repeat(9_000)),
        "é.é.é".to_owned(),
        deep,
    ] {
        assert!(hs256().read(&bad, false).is_none(), "{}", bad.chars().take(80).collect::<String>());
    }
}

fn info(kind: ClientKind, stream: &str, param: &str) -> ClientInfo {
    ClientInfo {
        id: "client01".to_owned(),
        kind,
        key: StreamKey::new("live", stream).unwrap(),
        ip: "192.0.2.7".parse().unwrap(),
        url: String::new(),
        page_url: String::new(),
        param: Secret::new(param),
        since: Instant::now(),
    }
}

/// Rules over settings that nobody else has.
fn access(access: AccessConfig) -> Access {
    let vhosts = PerVhost::all(VhostConfig { access, ..VhostConfig::default() });
    let limits = LimitConfig { per_second: 0, ..LimitConfig::default() };
    let settings = Arc::new(ArcSwap::from_pointee(WebConfig { vhosts, limits, ..WebConfig::default() }));
    Access { settings, door: Arc::default(), next: None }
}

fn tokens() -> TokenConfig {
    TokenConfig { play: true, jwt: hs256(), url_key: Some(UrlKey::new(SECRET)), ..TokenConfig::default() }
}

fn check(access: &Access, info: ClientInfo, bearer: Option<&str>) -> Result<Claim, Denied> {
    access.check(&Visit { info: Arc::new(info), bearer: bearer.map(Secret::new) })
}

/// The status that HTTP clients would get.
fn status(access: &Access, info: ClientInfo, bearer: Option<&str>) -> u16 {
    check(access, info, bearer).map_or_else(|denied| crate::Problem::from(denied).fault.status().as_u16(), |_claim| 200)
}

#[test]
fn claims_decide_about_stream_action_and_address() {
    use ClientKind::{FlvPlay, RtcPublish};
    let rules = access(AccessConfig { token: Some(tokens()), ..AccessConfig::default() });
    let table = [
        (json!({"stream": "live/s"}), FlvPlay, 200),
        (json!({"stream": "live/s"}), RtcPublish, 403),
        (json!({"stream": "live/s", "action": "publish"}), RtcPublish, 200),
        (json!({"stream": "live/s", "action": "publish"}), FlvPlay, 403),
        (json!({"stream": "live/s", "action": "both"}), RtcPublish, 200),
        (json!({"stream": "live/s", "action": "both"}), FlvPlay, 200),
        (json!({"stream": "live/s", "action": "admin"}), FlvPlay, 403),
        (json!({"stream": "live/s", "action": 1}), FlvPlay, 401),
        (json!({"stream": "live/*"}), FlvPlay, 200),
        (json!({"stream": ["live/a", "live/s"]}), FlvPlay, 200),
        (json!({"stream": ["live/a", "live/b"]}), FlvPlay, 403),
        (json!({"stream": []}), FlvPlay, 403),
        (json!({"stream": "live/other"}), FlvPlay, 403),
        (json!({"sub": "live/s"}), FlvPlay, 200),
        (json!({"sub": "alice"}), FlvPlay, 403),
        (json!({"sub": "live/s", "stream": "live/other"}), FlvPlay, 403),
        (json!({}), FlvPlay, 403),
        (json!({"stream": "live/s", "ip": "192.0.2.7"}), FlvPlay, 200),
        (json!({"stream": "live/s", "ip": "192.0.2.0/24"}), FlvPlay, 200),
        (json!({"stream": "live/s", "ip": "192.0.2.8"}), FlvPlay, 403),
        (json!({"stream": "live/s", "ip": "everywhere"}), FlvPlay, 403),
    ];
    for (mut claims, kind, want) in table {
        claims["exp"] = FAR.into();
        assert_eq!(status(&rules, info(kind, "s", ""), Some(&token(&claims))), want, "{claims} {kind:?}");
    }
}

#[test]
fn a_token_may_stand_in_the_header_or_the_query() {
    use ClientKind::{FlvPlay, RtmpPlay};
    let good = token(&json!({"stream": "live/s", "exp": FAR}));
    let bad = token(&json!({"stream": "live/s", "exp": 1}));
    let query = format!("?a=b&token={good}&vhost=x");
    let rules = access(AccessConfig { token: Some(tokens()), ..AccessConfig::default() });
    for (kind, param, bearer, want) in [
        (FlvPlay, "", None, 401),
        (FlvPlay, "?token=", None, 401),
        (FlvPlay, query.as_str(), None, 200),
        (FlvPlay, "", Some(&good), 200),
        (FlvPlay, "", Some(&bad), 401),
        (FlvPlay, query.as_str(), Some(&bad), 401),
        (FlvPlay, query.as_str(), Some(&String::new()), 401),
        (RtmpPlay, query.as_str(), None, 200),
        (RtmpPlay, "?token=x", None, 401),
    ] {
        assert_eq!(status(&rules, info(kind, "s", param), bearer.map(String::as_str)), want, "{kind:?} {param} {bearer:?}");
    }
    let strict = access(AccessConfig { token: Some(TokenConfig { query: false, ..tokens() }), ..AccessConfig::default() });
    assert_eq!(status(&strict, info(FlvPlay, "s", &query), None), 401);
    assert_eq!(status(&strict, info(RtmpPlay, "s", &query), None), 200, "RTMP has no other place");
}

#[test]
fn a_signed_url_opens_its_stream_until_its_time() {
    use ClientKind::{FlvPlay, RtmpPublish};
    let rules = access(AccessConfig { token: Some(tokens()), ..AccessConfig::default() });
    let sign = |text: &str| {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, SECRET.as_bytes());
        let tag = aws_lc_rs::hmac::sign(&key, text.as_bytes());
        tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let (soon, past) = (now_s() + 60, now_s() - 3_600);
    let good = format!("?expires={soon}&sign={}", sign(&format!("publish:/live/s:{soon}")));
    let over = format!("?expires={past}&sign={}", sign(&format!("publish:/live/s:{past}")));
    assert_eq!(status(&rules, info(RtmpPublish, "s", &good), None), 200);
    assert_eq!(status(&rules, info(RtmpPublish, "t", &good), None), 401);
    assert_eq!(status(&rules, info(FlvPlay, "s", &good), None), 401);
    assert_eq!(status(&rules, info(RtmpPublish, "s", &over), None), 401);
    let plain = TokenConfig { url_key: None, ..tokens() };
    let rules = access(AccessConfig { token: Some(plain), ..AccessConfig::default() });
    assert_eq!(status(&rules, info(RtmpPublish, "s", &good), None), 401);
}

#[test]
fn each_direction_needs_a_token_where_it_is_said() {
    let only_publish = TokenConfig { play: false, ..tokens() };
    let rules = access(AccessConfig { token: Some(only_publish), ..AccessConfig::default() });
    assert_eq!(status(&rules, info(ClientKind::RtcPlay, "s", ""), None), 200);
    assert_eq!(status(&rules, info(ClientKind::RtcPublish, "s", ""), None), 401);
}

#[test]
fn the_same_publisher_is_known_again() {
    let rules = access(AccessConfig { token: Some(tokens()), ..AccessConfig::default() });
    let claim = |claims: Value| {
        let token = token(&claims);
        check(&rules, info(ClientKind::RtcPublish, "s", ""), Some(&token)).unwrap().identity.unwrap()
    };
    let alice = |exp: u64| json!({"sub": "alice", "stream": "live/s", "action": "publish", "exp": exp});
    assert_eq!(claim(alice(FAR)), claim(alice(FAR + 1)), "by the subject, whichever token");
    assert_ne!(claim(alice(FAR)), claim(json!({"sub": "bob", "stream": "live/s", "action": "publish", "exp": FAR})));
    let nobody = |exp: u64| json!({"stream": "live/s", "action": "publish", "exp": exp});
    assert_eq!(claim(nobody(FAR)), claim(nobody(FAR)));
    assert_ne!(claim(nobody(FAR)), claim(nobody(FAR + 1)));
    let open = access(AccessConfig::default());
    let by_place = |param: &str, ip: &str| {
        let info = ClientInfo { ip: ip.parse().unwrap(), ..info(ClientKind::RtmpPublish, "s", param) };
        check(&open, info, None).unwrap().identity
    };
    assert_eq!(by_place("?k=1", "192.0.2.7"), by_place("?k=1", "::ffff:192.0.2.7"));
    assert_ne!(by_place("?k=1", "192.0.2.7"), by_place("?k=2", "192.0.2.7"));
    assert_ne!(by_place("?k=1", "192.0.2.7"), by_place("?k=1", "192.0.2.8"));
}

#[test]
fn refusals_tell_outside_neither_rule_nor_stream() {
    let deny = Security { rules: vec![Rule { allows: false, action: Action::Play, network: None }] };
    let refer = Refer { play: vec!["example.com".to_owned()], ..Refer::default() };
    let by_address = access(AccessConfig { security: Some(deny), ..AccessConfig::default() });
    let by_page = access(AccessConfig { refer: Some(refer), ..AccessConfig::default() });
    let by_stream = access(AccessConfig { token: Some(tokens()), ..AccessConfig::default() });
    let other = token(&json!({"stream": "live/other", "exp": FAR}));
    let told = [&by_address, &by_page, &by_stream]
        .map(|rules| check(rules, info(ClientKind::RtcPlay, "s", ""), Some(&other)).unwrap_err());
    assert!(told.iter().all(|denied| *denied == told[0]), "{told:?}");
    let counted = |rules: &Access, name: &str| rules.door.refused().find(|(reason, _)| *reason == name).unwrap().1;
    assert_eq!((counted(&by_address, "address"), counted(&by_page, "page"), counted(&by_stream, "other-stream")), (1, 1, 1));
}

#[test]
fn settings_count_from_the_moment_they_are_replaced() {
    let rules = access(AccessConfig::default());
    let ask = || status(&rules, info(ClientKind::RtcPlay, "s", ""), None);
    assert_eq!(ask(), 200);
    let strict = AccessConfig { token: Some(tokens()), ..AccessConfig::default() };
    let vhosts = PerVhost::all(VhostConfig { access: strict, ..VhostConfig::default() });
    rules.settings.store(Arc::new(WebConfig { vhosts, ..WebConfig::default() }));
    assert_eq!(ask(), 401);
}

/// Lets nobody in.
struct Closed;

impl Gatekeeper for Closed {
    fn admit(&self, _visit: Visit) -> Verdict {
        Box::pin(std::future::ready(Err(Denied::Unavailable("closed".to_owned()))))
    }

    fn left(&self, _info: &Arc<ClientInfo>, _traffic: &Traffic) {}
}

#[tokio::test]
async fn who_passes_is_handed_on() {
    let rules = Access { next: Some(Arc::new(Closed)), ..access(AccessConfig::default()) };
    let visit = Visit { info: Arc::new(info(ClientKind::RtcPlay, "s", "")), bearer: None };
    assert!(rules.check(&visit).is_ok());
    assert_eq!(rules.admit(visit).await, Err(Denied::Unavailable("closed".to_owned())));
}

fn caller(ip: &str) -> Arc<Caller> {
    Arc::new(Caller {
        id: "caller01".to_owned(),
        ip: ip.parse().unwrap(),
        vhost: weir_source::DEFAULT_VHOST.to_owned(),
        app: "live".to_owned(),
        url: String::new(),
        page_url: String::new(),
        param: Secret::default(),
    })
}

#[tokio::test]
async fn a_connection_is_kept_out_if_it_may_do_nothing() {
    let deny = |action| Rule { allows: false, action, network: "192.0.2.0/24".parse().ok() };
    let half = Security { rules: vec![deny(Action::Publish)] };
    let whole = Security { rules: vec![deny(Action::Publish), deny(Action::Play)] };
    for (security, ip, want) in [(&half, "192.0.2.7", true), (&whole, "192.0.2.7", false), (&whole, "198.51.100.7", true)] {
        let rules = access(AccessConfig { security: Some(security.clone()), ..AccessConfig::default() });
        assert_eq!(rules.admit_connection(caller(ip)).await.is_ok(), want, "{security:?} {ip}");
    }
}

/// A server with rules at its door.
fn guarded(access: AccessConfig) -> Server {
    let vhosts = PerVhost::all(VhostConfig { access, ..VhostConfig::default() });
    let server = Server::with(WebConfig { vhosts, ..WebConfig::default() });
    server.state.hub.set_gatekeeper(Access::new(&server.state, None));
    server
}

async fn send(server: &Server, method: Method, url: &str, bearer: Option<&str>, body: &str) -> Answer {
    let mut request = Request::builder().method(method).uri(url).header("content-type", "application/sdp");
    if let Some(bearer) = bearer {
        request = request.header("authorization", format!("Bearer {bearer}"));
    }
    server.ask(request.body(Body::from(body.to_owned())).unwrap()).await
}

#[tokio::test]
async fn h39_an_offer_needs_a_token_for_its_stream() {
    let server = guarded(AccessConfig { token: Some(tokens()), ..AccessConfig::default() });
    let good = token(&json!({"stream": "live/s", "action": "both", "exp": FAR}));
    let other = token(&json!({"stream": "live/t", "action": "both", "exp": FAR}));
    for url in ["/rtc/v1/whip/?app=live&stream=s", "/rtc/v1/whep/?app=live&stream=s"] {
        for (bearer, want) in [(None, 401), (Some("x"), 401), (Some(other.as_str()), 403), (Some(good.as_str()), 201)] {
            let answer = send(&server, Method::POST, url, bearer, OFFER).await;
            assert_eq!(answer.status, want, "{url} {bearer:?}");
            assert_eq!(answer.header("www-authenticate").starts_with("Bearer"), want == 401);
            assert_eq!(answer.header("access-control-allow-origin"), "*");
        }
        let by_query = send(&server, Method::POST, &format!("{url}&token={good}"), None, OFFER).await;
        assert_eq!(by_query.status, if url.contains("whip") { 409 } else { 201 }, "as far as somebody who may come in");
        server.end_all();
    }
}

#[tokio::test]
async fn a35_h39_a_session_is_changed_only_by_who_could_open_it() {
    let server = guarded(AccessConfig { token: Some(tokens()), ..AccessConfig::default() });
    let good = token(&json!({"stream": "live/s", "action": "publish", "exp": FAR}));
    let over = token(&json!({"stream": "live/s", "action": "publish", "exp": 1}));
    let other = token(&json!({"stream": "live/t", "action": "publish", "exp": FAR}));
    let opened = send(&server, Method::POST, "/rtc/v1/whip/?app=live&stream=s", Some(&good), OFFER).await;
    let url = opened.header("location").to_owned();
    for method in [Method::PATCH, Method::DELETE] {
        for (bearer, want) in [(None, 401), (Some("x"), 401), (Some(other.as_str()), 403)] {
            let answer = send(&server, method.clone(), &url, bearer, "").await;
            assert_eq!(answer.status, want, "{method} {bearer:?}");
            assert_eq!(answer.header("www-authenticate").starts_with("Bearer"), want == 401);
        }
    }
    assert_eq!(server.sessions(), 1);
    assert_eq!(send(&server, Method::DELETE, &url, Some(&over), "").await.status, 200, "one's own session may always be ended");
    assert_eq!(server.sessions(), 0);
}

#[tokio::test]
async fn who_opened_a_session_by_its_query_ends_it_by_its_url() {
    let server = guarded(AccessConfig { token: Some(tokens()), ..AccessConfig::default() });
    let good = token(&json!({"stream": "live/s", "action": "publish", "exp": FAR}));
    let opened = send(&server, Method::POST, &format!("/rtc/v1/whip/?app=live&stream=s&token={good}"), None, OFFER).await;
    let url = opened.header("location").to_owned();
    assert!(!url.contains(&good), "the secret is not repeated");
    assert_eq!(send(&server, Method::DELETE, &url, Some("x"), "").await.status, 401);
    assert_eq!(send(&server, Method::DELETE, &url, None, "").await.status, 200);
}

#[tokio::test]
async fn a34_h45_signalling_has_a_limit_for_each_address() {
    let server = guarded(AccessConfig::default());
    let from = |peer: &'static str, method: Method| {
        let request = Request::builder().method(method).uri("/rtc/v1/whip/?app=live&stream=s").body(Body::empty()).unwrap();
        ask(&server.api, peer, request)
    };
    let mut refused = Vec::new();
    for n in 0..60 {
        let method = [Method::POST, Method::DELETE][n % 2].clone();
        let answer = from("192.0.2.1:1", method).await;
        if answer.status == 429 {
            refused.push(answer);
        }
    }
    assert!((15..=20).contains(&refused.len()), "{} of 60", refused.len());
    assert_eq!(refused[0].header("retry-after"), "1");
    assert_eq!(refused[0].header("access-control-allow-origin"), "*");
    assert_eq!(refused[0].json()["type"], "urn:weir:problem:too-many-requests");
    assert_eq!(from("192.0.2.1:2", Method::OPTIONS).await.status, 200, "H40: a preflight is never refused");
    assert_ne!(from("192.0.2.2:1", Method::POST).await.status, 429);
    for _ in 0..60 {
        assert_ne!(from("127.0.0.1:1", Method::POST).await.status, 429);
    }
}
