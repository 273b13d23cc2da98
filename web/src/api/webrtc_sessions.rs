//! `/api/v1/webrtc/sessions`: each WebRTC session, and those that ended lately, with what happened in it and
//! the likely cause of its trouble. Their secret names are not among what is told.

use axum::{
    extract::{Path, State},
    http::Uri,
    response::Response,
};
use serde::Serialize;
use serde_json::json;
use weir_rtc::{Moment, RtcHandle, SessionReport, sdp::Direction};

use super::{ERROR_CLIENT_NOT_FOUND, Page, answer, failure, webrtc::WebRtc};
use crate::{Problem, router::AppState};

/// One session.
#[derive(Serialize)]
struct Row {
    /// Its client's id.
    id: String,
    vhost: String,
    app: String,
    name: String,
    ip: String,
    publish: bool,
    /// How far it got: `unanswered`, `waiting`, `checking`, `handshaking`, `connected` or `flowing`.
    stage: &'static str,
    /// Since its request came.
    age_ms: u64,
    /// Why it ended; `null` while it lives.
    end: Option<&'static str>,
    ended_ms_ago: Option<u64>,
    /// What is most likely wrong, in plain words.
    cause: Option<String>,
}

#[derive(Serialize)]
struct Detail {
    #[serde(flatten)]
    row: Row,
    timeline: Vec<Told>,
    /// Moments in the middle that were not kept.
    skipped: u64,
    webrtc: WebRtc,
}

/// One moment.
#[derive(Serialize)]
struct Told {
    /// After the request came.
    at_ms: f64,
    event: &'static str,
    text: String,
}

pub(super) async fn list(State(state): State<AppState>, uri: Uri) -> Result<Response, Problem> {
    let page = Page::of(&uri)?;
    let reports = state.rtc.as_ref().map(RtcHandle::reports).unwrap_or_default();
    let total = reports.len();
    let rows: Vec<Row> = page.cut(reports).map(|report| row(&state, &report)).collect();
    Ok(answer(&state, 0, json!({"sessions": rows, "total": total})))
}

pub(super) async fn one(State(state): State<AppState>, Path(id): Path<String>) -> Response {
    match state.rtc.as_ref().and_then(|rtc| rtc.report(&id)) {
        Some(report) => answer(&state, 0, json!({"session": detail(&state, report)})),
        None => failure(&state, ERROR_CLIENT_NOT_FOUND),
    }
}

fn row(state: &AppState, report: &SessionReport) -> Row {
    let info = &report.info;
    let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Row {
        id: info.id.clone(),
        vhost: state.ids.vhost(info.key.vhost()),
        app: info.key.app().to_owned(),
        name: info.key.stream().to_owned(),
        ip: info.client_ip.to_string(),
        publish: info.direction == Direction::Publish,
        stage: report.stage.name(),
        age_ms: millis(info.age),
        end: report.end.map(|(reason, _)| reason.name()),
        ended_ms_ago: report.end.map(|(_, ago)| millis(ago)),
        cause: report.cause.clone(),
    }
}

fn detail(state: &AppState, report: SessionReport) -> Detail {
    let (row, direction) = (row(state, &report), report.info.direction);
    let told = |moment: &Moment| Told {
        at_ms: (moment.at.as_secs_f64() * 10_000.0).round() / 10.0,
        event: moment.event.name(),
        text: moment.event.text(direction),
    };
    Detail {
        row,
        timeline: report.timeline.iter().map(told).collect(),
        skipped: report.skipped,
        webrtc: WebRtc::of(state, report.info),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Method;

    use crate::testing::{OFFER, Server};

    #[tokio::test]
    async fn a_session_is_told_of_while_it_lives_and_when_it_has_ended_without_its_secrets() {
        let server = Server::new();
        let created = server.send(Method::POST, "/rtc/v1/whep/?stream=s&secret=xyzzy", Some("application/sdp"), OFFER).await;
        let id = server.client().info.id.clone();
        let list = server.send(Method::GET, "/api/v1/webrtc/sessions", None, "").await.json();
        assert_eq!((&list["code"], &list["total"], &list["sessions"][0]["id"]), (&0.into(), &1.into(), &id.clone().into()));
        let path = format!("/api/v1/webrtc/sessions/{id}");
        let living = server.send(Method::GET, &path, None, "").await.json();
        let session = &living["session"];
        for (field, value) in [("stage", "waiting"), ("app", "live"), ("name", "s"), ("ip", "127.0.0.1")] {
            assert_eq!(session[field], value, "{field}");
        }
        assert!(session["publish"] == false && session["end"].is_null() && session["webrtc"]["connected"] == false);
        let events: Vec<_> = session["timeline"].as_array().unwrap().iter().map(|told| told["event"].as_str().unwrap()).collect();
        assert_eq!(events, ["offer", "answer"]);
        let place = server.rtc.handle().candidates()[0];
        assert_eq!(session["timeline"][1]["text"], format!("answered, naming {place}/udp"));

        let name = server.rtc.handle().list()[0].session.clone();
        let pwd = created.text().lines().find_map(|line| line.strip_prefix("a=ice-pwd:")).unwrap();
        server.end_all();
        let gone = server.send(Method::GET, &path, None, "").await;
        assert_eq!((&gone.json()["session"]["end"], &gone.json()["session"]["cause"]), (&"deleted".into(), &().into()));
        for secret in [&name, pwd, "xyzzy", "P2uYro0UCOQ4zxjKXaWCBui1"] {
            assert!(!living.to_string().contains(secret) && !gone.text().contains(secret), "{secret}");
        }
        assert_eq!(server.send(Method::GET, "/api/v1/webrtc/sessions/none", None, "").await.json()["code"], 2049);
    }

    #[tokio::test]
    async fn the_list_is_paged_with_the_latest_first() {
        let server = Server::new();
        for n in 0..12 {
            server.send(Method::POST, &format!("/rtc/v1/whep/?stream=s{n}"), Some("application/sdp"), OFFER).await;
        }
        for (query, rows, first) in [("", 10, "s11"), ("?start=10&count=5", 2, "s1")] {
            let list = server.send(Method::GET, &format!("/api/v1/webrtc/sessions/{query}"), None, "").await.json();
            let sessions = list["sessions"].as_array().unwrap();
            assert_eq!((sessions.len(), list["total"].as_u64(), sessions[0]["name"].as_str()), (rows, Some(12), Some(first)));
        }
    }
}
