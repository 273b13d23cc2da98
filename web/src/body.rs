//! Reads a request's body whole, within a size and a time.

use axum::{
    body::Body,
    http::{HeaderMap, header},
};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::{Fault, Problem, WebConfig};

/// The whole body, or why not. What is declared too large is refused before a byte of it is read.
pub(crate) async fn read(headers: &HeaderMap, body: Body, config: &WebConfig) -> Result<Bytes, Problem> {
    let max = config.body_bytes_max;
    let too_large = || Problem::new(Fault::TooLarge, format!("at most {max} bytes are taken"));
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > max as u64) {
        return Err(too_large());
    }
    // Nothing is unpacked here, so nothing can unpack to more than it was.
    if headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        return Err(Problem::new(Fault::MediaType, "compressed bodies are not taken"));
    }
    match tokio::time::timeout(config.body_timeout, Limited::new(body, max).collect()).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_broken)) => Err(Problem::new(Fault::Malformed, "the body ended early")),
        Err(_elapsed) => Err(Problem::new(Fault::TooSlow, "the body took too long")),
    }
}

/// The media type of a `Content-Type`, lower-case and without its parameters.
pub(crate) fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let essence = value.split(';').next().unwrap_or_default();
    Some(essence.trim().to_ascii_lowercase())
}
