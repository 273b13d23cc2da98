//! What can be wrong with a request, and how the answer says so (RFC 9457).

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;
use weir_rtc::{
    OpenError,
    sdp::{ErrorClass, NegotiateError},
};
use weir_source::{Denied, KeyError, NameError};

/// Every reason for which a request is refused. Its [`Fault::slug`] never changes meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The body is no SDP, JSON or fragment.
    Malformed,
    /// The offer is well formed, but cannot be served.
    Unprocessable,
    /// The body is of another type than this resource takes.
    MediaType,
    /// The body is larger than allowed.
    TooLarge,
    /// The body did not come in time.
    TooSlow,
    /// The app or stream name is not allowed.
    Name,
    /// A query parameter has a value that cannot be used.
    Query,
    /// Another client publishes the stream.
    StreamBusy,
    /// Nobody publishes the stream, and viewers are not held.
    NotPublished,
    /// The server has as many sessions as it takes.
    TooManySessions,
    /// What was asked for will be there soon.
    NotReady,
    /// The server is going down.
    ShuttingDown,
    /// There is no such session.
    NoSession,
    /// There is no such resource.
    NotFound,
    /// There was, and it will not come back (RFC 9110 section 15.5.11).
    Gone,
    /// The resource does not have this method.
    Method,
    /// PATCH needs `If-Match` (RFC 6585 section 3).
    PreconditionRequired,
    /// `If-Match` names another ICE session (RFC 9110 section 13.1.1).
    PreconditionFailed,
    /// Credentials are missing or not valid (RFC 9110 section 15.5.2).
    Unauthorized,
    /// The client may not do this.
    Forbidden,
    /// The address asks too often (RFC 6585 section 4).
    TooMany,
    /// Whoever decides about clients could not be asked.
    Undecided,
    /// It is not built (RFC 9110 section 15.6.2).
    NotBuilt,
    /// The configuration has mistakes; nothing was changed.
    Configuration,
    /// The `Host` is not one that this listener serves (RFC 9110 section 7.4).
    Misdirected,
}

impl Fault {
    /// Status, stable name, title, and the number in `code` (SRS's where it has one).
    const fn facts(self) -> (StatusCode, &'static str, &'static str, u16) {
        match self {
            Self::Malformed => (StatusCode::BAD_REQUEST, "malformed", "The body could not be read", 400),
            Self::Unprocessable => (StatusCode::UNPROCESSABLE_ENTITY, "unprocessable-offer", "The offer cannot be served", 422),
            Self::MediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", "The content type is not taken here", 415),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large", 413),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, "too-slow", "The body did not come in time", 408),
            Self::Name => (StatusCode::BAD_REQUEST, "bad-name", "The stream name is not allowed", 400),
            Self::Query => (StatusCode::BAD_REQUEST, "bad-query", "A query parameter cannot be used", 400),
            Self::StreamBusy => (StatusCode::CONFLICT, "stream-busy", "The stream is being published", 5020),
            Self::NotPublished => (StatusCode::CONFLICT, "not-published", "Nobody publishes the stream", 2048),
            Self::TooManySessions => (StatusCode::SERVICE_UNAVAILABLE, "too-many-sessions", "The server is full", 503),
            Self::NotReady => (StatusCode::SERVICE_UNAVAILABLE, "not-ready", "It is not ready yet", 503),
            Self::ShuttingDown => (StatusCode::SERVICE_UNAVAILABLE, "shutting-down", "The server is going down", 503),
            Self::NoSession => (StatusCode::NOT_FOUND, "no-session", "There is no such session", 404),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "There is nothing here", 404),
            Self::Gone => (StatusCode::GONE, "gone", "It has ended", 410),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "method", "The method is not allowed here", 405),
            Self::PreconditionRequired => (StatusCode::PRECONDITION_REQUIRED, "if-match-required", "If-Match is required", 428),
            Self::PreconditionFailed => {
                (StatusCode::PRECONDITION_FAILED, "if-match-failed", "If-Match names another ICE session", 412)
            }
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized", "Credentials are needed", 401),
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "This may not be done", 403),
            Self::TooMany => (StatusCode::TOO_MANY_REQUESTS, "too-many-requests", "There were too many requests", 429),
            Self::Undecided => (StatusCode::SERVICE_UNAVAILABLE, "undecided", "It could not be decided", 503),
            Self::NotBuilt => (StatusCode::NOT_IMPLEMENTED, "not-built", "This is not built", 501),
            Self::Configuration => (StatusCode::UNPROCESSABLE_ENTITY, "configuration", "The configuration has mistakes", 422),
            Self::Misdirected => (StatusCode::MISDIRECTED_REQUEST, "misdirected", "The Host is not served here", 421),
        }
    }

    /// The HTTP status.
    pub const fn status(self) -> StatusCode {
        self.facts().0
    }

    /// The stable name, the last part of the problem's `type`.
    pub const fn slug(self) -> &'static str {
        self.facts().1
    }

    /// The number in `code`.
    pub const fn code(self) -> u16 {
        self.facts().3
    }
}

/// A refused request: `application/problem+json`.
#[derive(Clone, Debug)]
pub struct Problem {
    /// The reason.
    pub fault: Fault,
    /// What of this request is at fault. No part of a URL is repeated in it.
    pub detail: String,
    retry_after_s: Option<u32>,
    accepts: Option<(&'static str, &'static str)>,
}

/// A publisher that was silent for 2 s may be replaced: by then a retry can succeed. Who waits for one to come
/// asks no oftener.
const RETRY_BUSY_S: u32 = 2;
const RETRY_SOON_S: u32 = 1;
/// Sessions that never connect are freed after 10 s.
const RETRY_FULL_S: u32 = 10;
/// Two lines of a log.
const DETAIL_CHARS_MAX: usize = 256;

impl Problem {
    /// A problem with its explanation.
    pub fn new(fault: Fault, detail: impl Into<String>) -> Self {
        let retry_after_s = match fault {
            Fault::StreamBusy | Fault::NotPublished => Some(RETRY_BUSY_S),
            Fault::NotReady | Fault::Undecided => Some(RETRY_SOON_S),
            Fault::TooManySessions | Fault::ShuttingDown => Some(RETRY_FULL_S),
            _ => None,
        };
        Self { fault, detail: detail.into(), retry_after_s, accepts: None }
    }

    /// Names the type that the resource takes, in the header `name` (`Accept-Post`, `Accept-Patch`).
    pub(crate) fn accepting(mut self, name: &'static str, media_type: &'static str) -> Self {
        self.accepts = Some((name, media_type));
        self
    }
}

impl From<NameError> for Problem {
    fn from(error: NameError) -> Self {
        Self::new(Fault::Name, error.to_string())
    }
}

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Self {
        let fault = match error {
            KeyError::Vhost(_) => Fault::NotFound,
            KeyError::Name(_) => Fault::Name,
        };
        Self::new(fault, error.to_string())
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        let fault = match &denied {
            Denied::Unauthorized => Fault::Unauthorized,
            Denied::TooMany { .. } => Fault::TooMany,
            Denied::Unavailable(_) => Fault::Undecided,
            Denied::Busy(_) => Fault::StreamBusy,
            // Whatever else it will be, the client is not let in.
            Denied::Forbidden(_) | _ => Fault::Forbidden,
        };
        let mut problem = Self::new(fault, denied.to_string());
        if let Denied::TooMany { retry_after } = denied {
            // Rounded up: who asks earlier asks in vain.
            problem.retry_after_s = Some(u32::try_from(retry_after.as_secs()).unwrap_or(u32::MAX).saturating_add(1));
        }
        problem
    }
}

impl From<NegotiateError> for Problem {
    fn from(error: NegotiateError) -> Self {
        let fault = match error.class() {
            ErrorClass::Malformed => Fault::Malformed,
            ErrorClass::Unprocessable => Fault::Unprocessable,
        };
        // An offer's words may be in it, which can be long.
        Self::new(fault, error.to_string().chars().take(DETAIL_CHARS_MAX).collect::<String>())
    }
}

impl From<OpenError> for Problem {
    fn from(error: OpenError) -> Self {
        let fault = match error {
            OpenError::Negotiate(error) => return error.into(),
            OpenError::StreamBusy => Fault::StreamBusy,
            OpenError::BadIce => Fault::Query,
            OpenError::ShuttingDown => Fault::ShuttingDown,
            // Whatever else it will be, it is not this client's fault.
            OpenError::TooManySessions | _ => Fault::TooManySessions,
        };
        Self::new(fault, error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, slug, title, code) = self.fault.facts();
        let body = json!({
            "type": format!("urn:weir:problem:{slug}"),
            "title": title,
            "status": status.as_u16(),
            "detail": self.detail,
            "code": code,
        });
        let mut response = (status, Json(body)).into_response();
        // For whoever counts it.
        response.extensions_mut().insert(self.fault);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.fault == Fault::Unauthorized {
            // RFC 9110 section 15.5.2 wants it on every 401.
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"weir\""));
        }
        if let Some((name, media_type)) = self.accepts {
            headers.insert(name, HeaderValue::from_static(media_type));
        }
        response
    }
}
