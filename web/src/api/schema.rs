//! The shapes of the API's answers, as JSON Schema (2020-12) for the OpenAPI document. `required` lists
//! SRS's fields: a test holds each answer against its shape.

use serde_json::{Map, Value, json};

/// An object that has all of these, and maybe others.
fn object(fields: &[(&str, Value)]) -> Value {
    let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    let properties: Map<String, Value> = fields.iter().map(|(name, shape)| ((*name).to_owned(), shape.clone())).collect();
    json!({"type": "object", "required": names, "properties": properties})
}

/// An object of numbers.
fn counted(names: &[&'static str]) -> Vec<(&'static str, Value)> {
    names.iter().map(|name| (*name, number())).collect()
}

fn text() -> Value {
    json!({"type": "string"})
}

fn whole() -> Value {
    json!({"type": "integer"})
}

fn number() -> Value {
    json!({"type": "number"})
}

fn truth() -> Value {
    json!({"type": "boolean"})
}

fn list(of: &Value) -> Value {
    json!({"type": "array", "items": of})
}

fn or_null(mut shape: Value) -> Value {
    shape["type"] = json!(["object", "null"]);
    shape
}

/// What every answer starts with; `fields` are there when its `code` is 0.
fn envelope(fields: &[(&str, Value)]) -> Value {
    let common = |code: Value| vec![("code", code), ("server", text()), ("service", text()), ("pid", text())];
    let done = common(json!({"const": 0})).into_iter().chain(fields.iter().map(|(name, shape)| (*name, shape.clone())));
    let failed = common(json!({"type": "integer", "minimum": 1}));
    json!({"oneOf": [object(&done.collect::<Vec<_>>()), object(&failed)]})
}

fn data(fields: &[(&str, Value)]) -> Value {
    envelope(&[("data", object(fields))])
}

pub(super) fn any() -> Value {
    json!({})
}

pub(super) fn done() -> Value {
    envelope(&[])
}

pub(super) fn urls() -> Value {
    envelope(&[("urls", json!({"type": "object", "additionalProperties": text()}))])
}

pub(super) fn versions() -> Value {
    data(&[("major", whole()), ("minor", whole()), ("revision", whole()), ("version", text())])
}

pub(super) fn summaries() -> Value {
    let mut own = vec![("version", text()), ("argv", text()), ("cwd", text())];
    own.extend(counted(&["pid", "ppid", "mem_kbyte", "mem_percent", "cpu_percent", "srs_uptime"]));
    let system = counted(&[
        "cpu_percent",
        "disk_read_KBps",
        "disk_write_KBps",
        "disk_busy_percent",
        "mem_ram_kbyte",
        "mem_ram_percent",
        "mem_swap_kbyte",
        "mem_swap_percent",
        "cpus",
        "cpus_online",
        "uptime",
        "ilde_time",
        "load_1m",
        "load_5m",
        "load_15m",
        "net_sample_time",
        "net_recv_bytes",
        "net_send_bytes",
        "net_recvi_bytes",
        "net_sendi_bytes",
        "srs_sample_time",
        "srs_recv_bytes",
        "srs_send_bytes",
        "conn_sys",
        "conn_sys_et",
        "conn_sys_tw",
        "conn_sys_udp",
        "conn_srs",
    ]);
    data(&[("ok", truth()), ("now_ms", whole()), ("self", object(&own)), ("system", object(&system)), ("weir", object(&[]))])
}

/// `ok`, `sample_time` and numbers.
pub(super) fn numbers() -> Value {
    let mut shape = object(&[("ok", truth()), ("sample_time", whole())]);
    shape["additionalProperties"] = number();
    envelope(&[("data", shape)])
}

/// `ok`, `sample_time`, numbers and words.
pub(super) fn figures() -> Value {
    let mut shape = object(&[("ok", truth()), ("sample_time", whole()), ("pid", whole()), ("comm", text()), ("state", text())]);
    shape["additionalProperties"] = number();
    envelope(&[("data", shape)])
}

pub(super) fn authors() -> Value {
    data(&[("license", text()), ("contributors", text())])
}

pub(super) fn features() -> Value {
    let names = [
        "ssl",
        "hls",
        "hds",
        "callback",
        "api",
        "httpd",
        "dvr",
        "transcode",
        "ingest",
        "stat",
        "caster",
        "complex_send",
        "tcp_nodelay",
        "so_sendbuf",
        "mr",
    ];
    let features: Vec<(&str, Value)> = names.into_iter().map(|name| (name, truth())).collect();
    data(&[("options", text()), ("options2", text()), ("build", text()), ("build2", whole()), ("features", object(&features))])
}

fn kbps() -> Value {
    object(&[("recv_30s", whole()), ("send_30s", whole())])
}

fn vhost_row() -> Value {
    let mut hls = object(&[("enabled", truth())]);
    hls["properties"]["fragment"] = number();
    object(&[
        ("id", text()),
        ("name", text()),
        ("enabled", truth()),
        ("clients", whole()),
        ("streams", whole()),
        ("send_bytes", whole()),
        ("recv_bytes", whole()),
        ("kbps", kbps()),
        ("hls", hls),
    ])
}

pub(super) fn vhosts() -> Value {
    envelope(&[("vhosts", list(&vhost_row())), ("total", whole())])
}

pub(super) fn vhost() -> Value {
    envelope(&[("vhost", vhost_row())])
}

fn stream_row() -> Value {
    let video = object(&[("codec", text()), ("profile", text()), ("level", text()), ("width", whole()), ("height", whole())]);
    let audio = object(&[("codec", text()), ("sample_rate", whole()), ("channel", whole()), ("profile", text())]);
    object(&[
        ("id", text()),
        ("name", text()),
        ("vhost", text()),
        ("app", text()),
        ("tcUrl", text()),
        ("url", text()),
        ("live_ms", whole()),
        ("clients", whole()),
        ("frames", whole()),
        ("audio_frames", whole()),
        ("video_frames", whole()),
        ("send_bytes", whole()),
        ("recv_bytes", whole()),
        ("kbps", kbps()),
        ("publish", object(&[("active", truth()), ("cid", text())])),
        ("video", or_null(video)),
        ("audio", or_null(audio)),
    ])
}

pub(super) fn streams() -> Value {
    envelope(&[("streams", list(&stream_row())), ("total", whole())])
}

pub(super) fn stream() -> Value {
    envelope(&[("stream", stream_row())])
}

fn client_row() -> Value {
    object(&[
        ("id", text()),
        ("vhost", text()),
        ("stream", text()),
        ("ip", text()),
        ("pageUrl", text()),
        ("swfUrl", text()),
        ("tcUrl", text()),
        ("url", text()),
        ("name", text()),
        ("type", text()),
        ("publish", truth()),
        ("alive", number()),
        ("send_bytes", whole()),
        ("recv_bytes", whole()),
        ("kbps", kbps()),
    ])
}

pub(super) fn clients() -> Value {
    envelope(&[("clients", list(&client_row())), ("total", whole())])
}

pub(super) fn client() -> Value {
    envelope(&[("client", client_row())])
}

fn session_fields() -> Vec<(&'static str, Value)> {
    let maybe = |kind: &str| json!({"type": [kind, "null"]});
    vec![
        ("id", text()),
        ("vhost", text()),
        ("app", text()),
        ("name", text()),
        ("ip", text()),
        ("publish", truth()),
        ("stage", text()),
        ("age_ms", whole()),
        ("end", maybe("string")),
        ("ended_ms_ago", maybe("integer")),
        ("cause", maybe("string")),
    ]
}

pub(super) fn webrtc_sessions() -> Value {
    envelope(&[("sessions", list(&object(&session_fields()))), ("total", whole())])
}

pub(super) fn webrtc_session() -> Value {
    let moment = object(&[("at_ms", number()), ("event", text()), ("text", text())]);
    let mut fields = session_fields();
    fields.extend([("timeline", list(&moment)), ("skipped", whole()), ("webrtc", object(&[]))]);
    envelope(&[("session", object(&fields))])
}

pub(super) fn clusters() -> Value {
    let query = object(&[("ip", text()), ("vhost", text()), ("app", text()), ("stream", text())]);
    let origin = object(&[("ip", text()), ("port", whole()), ("vhost", text()), ("api", text()), ("routers", list(&text()))]);
    data(&[("query", query), ("origin", or_null(origin))])
}

/// Different things for each `rpc`.
pub(super) fn raw() -> Value {
    envelope(&[])
}

pub(super) fn reloaded() -> Value {
    data(&[("rid", text()), ("changed", list(&text()))])
}

pub(super) fn request() -> Value {
    data(&[("uri", text()), ("path", text()), ("METHOD", text()), ("headers", object(&[])), ("server", object(&[]))])
}

/// RFC 9457.
pub(super) fn problem() -> Value {
    object(&[("type", text()), ("title", text()), ("status", whole()), ("detail", text()), ("code", whole())])
}
