//! What callback servers are told: SRS's fields, built as JSON by serde alone.

use std::{fmt::Write as _, sync::Arc};

use bytes::Bytes;
use serde_json::{Map, Value, json};
use weir_bridge::hls::Finished;
use weir_source::{Caller, ClientInfo, ClientKind, StreamKey};

use super::Hook;
use crate::ServerIds;

/// Writes the payloads of one server.
#[derive(Debug)]
pub(super) struct Payloads {
    ids: Arc<ServerIds>,
    /// `cwd` of `on_hls`: where relative paths of this server begin.
    cwd: String,
}

impl Payloads {
    pub(super) fn new(ids: Arc<ServerIds>) -> Self {
        let cwd = std::env::current_dir().map(|path| path.display().to_string()).unwrap_or_default();
        Self { ids, cwd }
    }

    /// `on_connect`: no stream is named yet.
    pub(super) fn connect(&self, caller: &Caller) -> Bytes {
        let mut fields = self.head(Hook::Connect, &caller.id, &caller.ip.to_string(), &caller.vhost, &caller.app);
        add(
            &mut fields,
            json!({
                "stream": "",
                "param": caller.param.expose(),
                "tcUrl": caller.url,
                "pageUrl": caller.page_url,
            }),
        );
        text(fields)
    }

    /// `on_close`.
    pub(super) fn close(&self, caller: &Caller, (sent, received): (u64, u64)) -> Bytes {
        let mut fields = self.head(Hook::Close, &caller.id, &caller.ip.to_string(), &caller.vhost, &caller.app);
        add(&mut fields, json!({ "send_bytes": sent, "recv_bytes": received }));
        text(fields)
    }

    /// `on_publish`, `on_unpublish`, `on_play`, `on_stop`. `clients` are those of the stream.
    pub(super) fn client(&self, hook: Hook, info: &ClientInfo, clients: usize) -> Bytes {
        let mut fields = self.stream(hook, info);
        if hook == Hook::Play {
            add(&mut fields, json!({ "pageUrl": info.page_url }));
        }
        add(&mut fields, json!({ "clients": clients }));
        text(fields)
    }

    /// `on_hls`. Segments live in memory: `file` and `m3u8` are the paths of their URLs. `publisher` is
    /// unknown where nobody asked about it.
    pub(super) fn segment(&self, publisher: Option<&ClientInfo>, key: &StreamKey, segment: &Finished<'_>) -> Bytes {
        let mut fields = match publisher {
            Some(info) => self.stream(Hook::Hls, info),
            None => {
                let mut fields = self.head(Hook::Hls, "", "", key.vhost(), key.app());
                add(&mut fields, json!({ "stream": key.stream(), "param": "", "tcUrl": "" }));
                add(&mut fields, self.names(key));
                fields
            }
        };
        let url = segment_url(key, segment);
        let playlist = format!("{}/{}.m3u8", key.app(), key.stream());
        add(
            &mut fields,
            json!({
                "duration": segment.duration.as_secs_f64(),
                "cwd": self.cwd,
                "file": format!("/{url}"),
                "url": url,
                "m3u8": format!("/{playlist}"),
                "m3u8_url": playlist,
                "seq_no": segment.seq,
            }),
        );
        text(fields)
    }

    /// What replaces the placeholders of `on_hls_notify`; `[param]` last, so that nothing in it is
    /// replaced.
    pub(super) fn placeholders(
        &self,
        publisher: Option<&ClientInfo>,
        key: &StreamKey,
        segment: &Finished<'_>,
    ) -> [(&'static str, String); 6] {
        [
            ("[server_id]", self.ids.server.clone()),
            ("[service_id]", self.ids.service.clone()),
            ("[app]", key.app().to_owned()),
            ("[stream]", key.stream().to_owned()),
            ("[ts_url]", segment_url(key, segment)),
            ("[param]", publisher.map(param).unwrap_or_default()),
        ]
    }

    fn stream(&self, hook: Hook, info: &ClientInfo) -> Map<String, Value> {
        let mut fields = self.head(hook, &info.id, &info.ip.to_string(), info.key.vhost(), info.key.app());
        add(&mut fields, json!({ "stream": info.key.stream(), "param": param(info), "tcUrl": info.url }));
        add(&mut fields, self.names(&info.key));
        fields
    }

    fn names(&self, key: &StreamKey) -> Value {
        json!({ "stream_url": key.to_string(), "stream_id": self.ids.stream(key) })
    }

    fn head(&self, hook: Hook, id: &str, ip: &str, vhost: &str, app: &str) -> Map<String, Value> {
        let mut fields = Map::new();
        add(
            &mut fields,
            json!({
                "server_id": self.ids.server,
                "service_id": self.ids.service,
                "action": hook.name(),
                "client_id": id,
                "ip": ip,
                "vhost": vhost,
                "app": app,
            }),
        );
        fields
    }
}

/// The query that the client came with, its `?` included. By `upstream=rtc` callback servers know
/// WebRTC clients.
fn param(info: &ClientInfo) -> String {
    let mut param = info.param.expose().to_owned();
    if matches!(info.kind, ClientKind::RtcPlay | ClientKind::RtcPublish) {
        let separator = if param.is_empty() { '?' } else { '&' };
        let _infallible = write!(param, "{separator}upstream=rtc");
    }
    param
}

fn segment_url(key: &StreamKey, segment: &Finished<'_>) -> String {
    format!("{}/{}", key.app(), segment.name)
}

fn add(fields: &mut Map<String, Value>, more: Value) {
    if let Value::Object(more) = more {
        fields.extend(more);
    }
}

fn text(fields: Map<String, Value>) -> Bytes {
    Value::Object(fields).to_string().into()
}
