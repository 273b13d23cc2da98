//! What an answer means: SRS's contract with its callback servers.

use serde_json::Value;

use super::wire::{Answer, Failure};

/// What came of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// 200 or 201, and `0` or a JSON object whose `code` is the integer 0.
    Yes,
    /// The server has answered, and said no.
    No(String),
    /// It has not answered, or with something that is neither.
    Trouble(String),
}

impl Meaning {
    /// Reads an answer to a decision.
    pub(super) fn of(outcome: &Result<Answer, Failure>) -> Self {
        let answer = match outcome {
            Ok(answer) => answer,
            Err(failure) => return Self::Trouble(failure.to_string()),
        };
        match answer.status.as_u16() {
            200 | 201 => Self::of_body(&answer.body),
            status @ (408 | 429) => Self::Trouble(format!("it answered status {status}")),
            status @ 400..=499 => Self::No(format!("it answered status {status}")),
            status => Self::Trouble(format!("it answered status {status}")),
        }
    }

    fn of_body(body: &[u8]) -> Self {
        if body == b"0" {
            return Self::Yes;
        }
        let code = serde_json::from_slice::<Value>(body).ok().and_then(|value| value.as_object()?.get("code").cloned());
        match code.as_ref().map(Value::as_i64) {
            Some(Some(0)) => Self::Yes,
            Some(Some(code)) => Self::No(format!("it answered code {code}")),
            _ => Self::Trouble("it answered neither 0 nor JSON with an integer code".to_owned()),
        }
    }
}

/// Whether a notice has to be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receipt {
    /// It was received. What the server says to it is of no interest.
    Received,
    /// The server will not take it, however often it comes.
    Refused,
    /// It did not arrive, or the server cannot take it now.
    Again,
}

impl Receipt {
    pub(super) fn of(outcome: &Result<Answer, Failure>) -> Self {
        match outcome.as_ref().map(|answer| answer.status.as_u16()) {
            Ok(200..=299) | Err(Failure::TooLong) => Self::Received,
            Ok(408 | 429 | 500..) | Err(_) => Self::Again,
            Ok(_) => Self::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;

    fn answer(status: u16, body: &str) -> Result<Answer, Failure> {
        Ok(Answer { status: StatusCode::from_u16(status).unwrap(), body: body.to_owned().into() })
    }

    #[test]
    fn only_srs_words_for_yes_are_a_yes() {
        for (status, body) in [(200, "0"), (201, "0"), (200, r#"{"code":0}"#), (200, r#"{"code":0,"msg":"x"}"#)] {
            assert_eq!(Meaning::of(&answer(status, body)), Meaning::Yes, "{status} {body}");
        }
        for (status, body) in [(200, r#"{"code":1}"#), (200, r#"{"code":-1}"#), (403, "0"), (404, ""), (401, r#"{"code":0}"#)] {
            assert!(matches!(Meaning::of(&answer(status, body)), Meaning::No(_)), "{status} {body}");
        }
        let odd =
            ["", "0\n", " 0", "00", "1", "null", "[0]", "\"0\"", "{}", r#"{"code":"0"}"#, r#"{"code":0.0}"#, "{\"code\":0", "ok"];
        for body in odd {
            assert!(matches!(Meaning::of(&answer(200, body)), Meaning::Trouble(_)), "{body}");
        }
        for status in [100, 202, 204, 302, 429, 500, 503] {
            assert!(matches!(Meaning::of(&answer(status, "0")), Meaning::Trouble(_)), "{status}");
        }
        assert!(matches!(Meaning::of(&Err(Failure::TimedOut)), Meaning::Trouble(_)));
    }

    #[test]
    fn a_notice_is_sent_again_only_if_that_can_help() {
        let receipt = |status| Receipt::of(&answer(status, "whatever"));
        assert_eq!([200, 201, 204].map(receipt), [Receipt::Received; 3]);
        assert_eq!([302, 400, 404, 410].map(receipt), [Receipt::Refused; 4]);
        assert_eq!([408, 429, 500, 502, 503].map(receipt), [Receipt::Again; 5]);
        assert_eq!(Receipt::of(&Err(Failure::TimedOut)), Receipt::Again);
    }
}
