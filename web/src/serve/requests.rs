//! From a connection's requests to the router's answers, the same for every version of HTTP.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{HeaderValue, Method, Request, Uri, Version, header},
    response::{IntoResponse, Response},
};
use hyper::body::Incoming;
use tower::ServiceExt as _;

use super::line::Guest;
use crate::{Fault, Problem, peer::Scheme};

/// What answers the requests of one connection.
#[derive(Clone)]
pub(super) struct Requests {
    pub(super) router: Router,
    pub(super) peer: SocketAddr,
    pub(super) scheme: Scheme,
    pub(super) guest: Arc<Guest>,
}

impl Requests {
    pub(super) async fn answer(self, request: Request<Incoming>) -> Result<Response, Infallible> {
        self.guest.ask();
        let mut request = request.map(Body::new);
        if let Err(why) = name_host(&mut request) {
            return Ok(refuse(why, request.version()));
        }
        request.extensions_mut().insert(ConnectInfo(self.peer));
        request.extensions_mut().insert(self.scheme);
        self.router.oneshot(request).await
    }
}

/// Sees to it that `Host` says whom the request is for, once and without doubt (A45).
fn name_host(request: &mut Request<Body>) -> Result<(), &'static str> {
    if request.method() == Method::CONNECT {
        return Err("this is no proxy");
    }
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts.next().cloned();
    if hosts.next().is_some() {
        // RFC 9112 section 3.2.
        return Err("there is more than one Host");
    }
    let authority = authority(request.uri());
    match (host, authority) {
        (Some(host), Some(authority)) if !host.as_bytes().eq_ignore_ascii_case(authority.as_bytes()) => {
            Err("Host and the target name different hosts")
        }
        // HTTP/2 names the host in the target only (RFC 9113 section 8.3.1).
        (None, Some(authority)) => {
            request.headers_mut().insert(header::HOST, authority);
            Ok(())
        }
        // RFC 9112 section 3.2.
        (None, None) if request.version() == Version::HTTP_11 => Err("there is no Host"),
        _ => Ok(()),
    }
}

/// The host and port of an absolute target. User names there are nobody's business.
fn authority(uri: &Uri) -> Option<HeaderValue> {
    let text = uri.authority()?.as_str();
    let host = text.rsplit_once('@').map_or(text, |(_user, host)| host);
    HeaderValue::from_str(host).ok()
}

fn refuse(why: &'static str, version: Version) -> Response {
    let mut response = Problem::new(Fault::Malformed, why).into_response();
    if version != Version::HTTP_2 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host_of(target: &str, version: Version, hosts: &[&str]) -> Result<String, &'static str> {
        let builder = Request::builder().uri(target).version(version);
        let builder = hosts.iter().fold(builder, |builder, host| builder.header("host", *host));
        let mut request = builder.body(Body::empty()).unwrap();
        name_host(&mut request)?;
        Ok(request.headers().get("host").map_or("", |host| host.to_str().unwrap()).to_owned())
    }

    #[test]
    fn a45_a_request_is_for_one_host_or_refused() {
        let (one, two) = (Version::HTTP_11, Version::HTTP_2);
        assert_eq!(host_of("/x", one, &["a:1"]).as_deref(), Ok("a:1"));
        assert_eq!(host_of("http://A:1/x", one, &["a:1"]).as_deref(), Ok("a:1"));
        assert!(host_of("http://b/x", one, &["a"]).is_err());
        assert!(host_of("/x", one, &["a", "a"]).is_err() && host_of("/x", one, &[]).is_err());
        assert_eq!(host_of("/x", Version::HTTP_10, &[]).as_deref(), Ok(""));
        assert_eq!(host_of("https://a:8088/x", two, &[]).as_deref(), Ok("a:8088"));
        assert_eq!(host_of("https://user@a/x", two, &[]).as_deref(), Ok("a"));
        assert!(host_of("https://a/x", two, &["b"]).is_err());
    }
}
