//! Viewers: each plays for a while and reports what it saw and heard.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;

use super::{
    process::{self, ffmpeg, python, run, scratch},
    report::Report,
};

/// Over what a viewer plays: start-up, browsers, judging.
const OVERHEAD: Duration = Duration::from_secs(60);

/// ffmpeg records without re-encoding; what it recorded is decoded and judged. `name` is unique.
///
/// It records to FLV: its Matroska muxer writes a broken header when parameter sets change.
pub async fn ffmpeg_plays(name: &str, url: &str, seconds: u32) -> Report {
    let file = scratch(&format!("{name}.flv"));
    let limit = Duration::from_secs(u64::from(seconds)) + OVERHEAD;
    let mut record = ffmpeg();
    record
        .args(["-rw_timeout", "20000000", "-t", &seconds.to_string(), "-i", url, "-map", "0:v", "-map", "0:a", "-c", "copy"])
        .args(["-flvflags", "no_duration_filesize"])
        .arg(&file);
    let recorded = run(name, record, limit).await;
    let mut errors = vec![String::from_utf8_lossy(&recorded.stderr).into_owned()];
    let mut decode = ffmpeg();
    decode.arg("-i").arg(&file).args(["-f", "null", "-"]);
    errors.push(String::from_utf8_lossy(&run(name, decode, limit).await.stderr).into_owned());
    let mut judge = python("judge.py");
    judge.arg(&file);
    let mut report = Report::read(name, &run(name, judge, limit).await);
    report.add_errors(errors.into_iter().filter(|error| !error.trim().is_empty()));
    report
}

/// aiortc plays by WHEP.
pub async fn aiortc_plays(name: &str, url: &str, seconds: u32) -> Report {
    let mut command = python("whep.py");
    command.args([url, "--seconds", &seconds.to_string()]);
    Report::read(name, &run(name, command, Duration::from_secs(u64::from(seconds)) + OVERHEAD).await)
}

/// aiortc joins and leaves by WHEP, one time after the other, each until its first picture.
pub async fn aiortc_joins(url: &str, joins: u32) {
    let mut command = python("whep.py");
    command.args([url, "--joins", &joins.to_string()]);
    let output = run("aiortc joins", command, Duration::from_secs(u64::from(joins) * 2) + OVERHEAD).await;
    assert!(output.status.success(), "aiortc joins: {}", String::from_utf8_lossy(&output.stderr));
}

/// Chromium plays all of these at once, each in a page of its own: `(kind, url)` with kind `whep`,
/// `flv` (mpegts.js) or `hls` (hls.js).
pub async fn chromium_plays(name: &str, orders: &[(&str, String)], seconds: u32) -> Vec<Report> {
    chromium("play", name, orders, seconds).await
}

/// The same; those of WebRTC restart their ICE in the middle.
pub async fn chromium_plays_and_restarts(name: &str, orders: &[(&str, String)], seconds: u32) -> Vec<Report> {
    chromium("restart", name, orders, seconds).await
}

async fn chromium(order: &str, name: &str, orders: &[(&str, String)], seconds: u32) -> Vec<Report> {
    let mut command = process::browser();
    command.args([order, &seconds.to_string()]).args(orders.iter().map(|(kind, url)| format!("{kind}={url}")));
    let output = run(name, command, Duration::from_secs(u64::from(seconds)) + OVERHEAD).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    let parsed: Result<BTreeMap<String, Value>, _> = serde_json::from_slice(&output.stdout);
    let mut reports = parsed.unwrap_or_else(|error| panic!("{name}: {error}: {stderr}"));
    let report = |kind: &str| Report::new(&format!("{name} {kind}"), reports.remove(kind).unwrap_or_default(), &stderr);
    orders.iter().map(|(kind, _)| *kind).map(report).collect()
}
