//! Every route of the table × every kind of credentials × from here and from elsewhere (A38).

use axum::{
    body::Body,
    http::{Method, Request},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use weir_source::{ClientKind, Secret};

use super::{
    super::{
        guard::Access,
        openapi,
        routes::{ROUTES, Route, Verb},
    },
    key,
};
use crate::{
    ApiConfig, ApiToken, BasicAuth, RawApi, Role, WebConfig,
    testing::{self, Answer, Server, ask},
};

const HERE: &str = "127.0.0.1:40000";
const ELSEWHERE: &str = "192.0.2.9:40000";

fn credentials() -> ApiConfig {
    let token = |name: &str, role| ApiToken { name: name.to_owned(), secret: Secret::new(format!("{name}-secret")), role };
    ApiConfig {
        basic: Some(BasicAuth { username: "admin".into(), password: Secret::new("admin-secret") }),
        tokens: vec![token("reader", Role::Read), token("operator", Role::Operate)],
        raw: RawApi { enabled: true, allow_reload: true },
        ..ApiConfig::default()
    }
}

fn basic(text: &str) -> String {
    format!("Basic {}", STANDARD.encode(text))
}

async fn send(server: &Server, route: &Route, peer: &str, credential: Option<&str>) -> Answer {
    let method = match route.verb {
        Verb::Get => Method::GET,
        Verb::Post => Method::POST,
        Verb::Delete => Method::DELETE,
    };
    let mut request = Request::builder().method(method).uri(route.path.replace("{id}", "none")).header("host", "localhost:1985");
    if let Some(credential) = credential {
        request = request.header("authorization", credential);
    }
    ask(&server.api, peer, request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn a38_every_route_asks_for_what_it_wants() {
    let server = Server::with(WebConfig { api: credentials(), ..WebConfig::default() });
    let shown: Vec<(Option<String>, Option<Role>)> = vec![
        (None, None),
        (Some("Bearer wrong-secret".into()), None),
        (Some("Bearer ".into()), None),
        (Some(basic("admin:wrong")), None),
        (Some(basic("reader:reader-secret")), None),
        (Some("Bearer reader-secret".into()), Some(Role::Read)),
        (Some("Bearer operator-secret".into()), Some(Role::Operate)),
        (Some(basic("admin:admin-secret")), Some(Role::Operate)),
    ];
    let mut asked = 0;
    for route in ROUTES {
        for peer in [HERE, ELSEWHERE] {
            for (credential, role) in &shown {
                let answer = send(&server, route, peer, credential.as_deref()).await;
                let wanted = match (route.access, role) {
                    (Access::Open, _) => None,
                    (_, None) => Some(401),
                    (Access::Operate, Some(Role::Read)) => Some(403),
                    _ => None,
                };
                let what = format!("{} {} from {peer} with {credential:?}", route.verb.name(), route.path);
                match wanted {
                    Some(status) => {
                        assert_eq!(answer.status, status, "{what}");
                        assert_eq!(answer.header("content-type"), "application/problem+json", "{what}");
                        let challenges: Vec<_> = answer.headers.get_all("www-authenticate").iter().collect();
                        assert_eq!(challenges.len(), if status == 401 { 2 } else { 0 }, "{what}");
                    }
                    None => assert!(!matches!(answer.status, 401 | 403 | 421), "{what}: {}", answer.status),
                }
                asked += 1;
            }
        }
    }
    assert_eq!(asked, ROUTES.len() * 2 * shown.len());
}

#[tokio::test]
async fn a38_without_credentials_only_this_machine_may_change_something() {
    let raw = RawApi { enabled: true, allow_reload: true };
    let server = Server::with(WebConfig { api: ApiConfig { raw, ..ApiConfig::default() }, ..WebConfig::default() });
    for route in ROUTES {
        for (peer, foreign) in [(HERE, false), (ELSEWHERE, true)] {
            let answer = send(&server, route, peer, Some("Bearer guessed")).await;
            let refused = foreign && route.access == Access::Operate;
            assert_eq!(answer.status == 403, refused, "{} {} from {peer}: {}", route.verb.name(), route.path, answer.status);
        }
    }
}

#[tokio::test]
async fn whatever_is_under_the_api_wants_credentials_and_the_rest_does_not() {
    let server = Server::with(WebConfig { api: credentials(), ..WebConfig::default() });
    let get = |path: &str| Request::get(path).header("host", "localhost").body(Body::empty()).unwrap();
    for router in [&server.api, &server.http] {
        for path in ["/api/v1/versions", "/api/v1/versions/", "/api/v1/clients/?count=5", "/api/v1/nothing", "/api/v1/"] {
            assert_eq!(ask(router, HERE, get(path)).await.status, 401, "{path}");
        }
        // A preflight cannot have any.
        let preflight = Request::options("/api/v1/clients/").body(Body::empty()).unwrap();
        assert_eq!(ask(router, HERE, preflight).await.status, 200);
        let offer = Request::post("/rtc/v1/whep/?stream=s").header("content-type", "application/sdp");
        assert_eq!(ask(router, HERE, offer.body(Body::from(testing::OFFER)).unwrap()).await.status, 201);
    }
    assert_eq!(ask(&server.http, HERE, get("/")).await.status, 200);
    server.end_all();
}

#[tokio::test]
async fn a39_a_page_of_another_site_cannot_use_its_readers_password() {
    let server = Server::with(WebConfig { api: credentials(), ..WebConfig::default() });
    let kicked = testing::client(&server.state.hub, &key("s"), "client01", ClientKind::FlvPlay);
    let delete = |name: &'static str, value: &'static str, credential: String| {
        let request = Request::delete("/api/v1/clients/client01").header("host", "weir.example:1985").header(name, value);
        request.header("authorization", credential).body(Body::empty()).unwrap()
    };
    for (name, value) in [("origin", "http://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site")] {
        assert_eq!(ask(&server.api, ELSEWHERE, delete(name, value, basic("admin:admin-secret"))).await.status, 403, "{value}");
    }
    assert!(!kicked.is_kicked());
    let own = delete("origin", "http://weir.example:1985", basic("admin:admin-secret"));
    assert_eq!(ask(&server.api, ELSEWHERE, own).await.status, 200);
    assert!(kicked.is_kicked());
}

#[test]
fn the_document_has_every_route_and_no_other() {
    let document = openapi::paths();
    let paths = document["paths"].as_object().unwrap();
    let count: usize = paths.values().map(|path| path.as_object().unwrap().len()).sum();
    assert_eq!(count, ROUTES.len());
    let ids: std::collections::HashSet<_> =
        paths.values().flat_map(|path| path.as_object().unwrap().values()).map(|op| op["operationId"].to_string()).collect();
    assert_eq!(ids.len(), ROUTES.len(), "each has a name of its own");
    // Routes are added to the table, and nowhere else.
    for (name, text) in [("router.rs", include_str!("../../router.rs")), ("index.rs", include_str!("../index.rs"))] {
        assert!(!text.contains(".route("), "{name} adds a route");
    }
}
