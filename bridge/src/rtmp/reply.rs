//! What the server says: control messages, command answers and notices, as SRS words them.

use super::{
    RtmpVhost,
    amf0::{self, Value},
    chunk::{Header, MessageKind, write},
};

/// Chunk streams that we write on. All our messages start with full headers, so the numbers only
/// keep them apart for readers.
pub(crate) mod chunk_stream {
    pub(crate) const CONTROL: u8 = 2;
    pub(crate) const COMMAND: u8 = 3;
    pub(crate) const STREAM: u8 = 5;
    pub(crate) const VIDEO: u8 = 6;
    pub(crate) const AUDIO: u8 = 7;
}

/// The size of chunks until the peer is told of another (RTMP 1.0, section 5.4.1).
const CHUNK_BYTES_BEFORE: usize = 128;
/// What a client may send unacknowledged (SRS's figure).
const BANDWIDTH_BYTES: u32 = 2_500_000;
/// "Dynamic" (RTMP 1.0, section 5.4.5).
const LIMIT_DYNAMIC: u8 = 2;
/// What SRS and Adobe's server put there; clients only look whether it is there.
const CLIENT_ID: &str = "ASAICiss";
/// User control events (section 7.1.7).
const STREAM_BEGIN: u16 = 0;
const STREAM_EOF: u16 = 1;
const PING_REQUEST: u16 = 6;
const PING_RESPONSE: u16 = 7;

/// Collects what is to be sent.
#[derive(Debug)]
pub(crate) struct Replies {
    pub(crate) out: Vec<u8>,
    chunk_size: usize,
}

impl Default for Replies {
    fn default() -> Self {
        Self { out: Vec::new(), chunk_size: CHUNK_BYTES_BEFORE }
    }
}

impl Replies {
    /// Tells the peer of another size of chunks than it knows, and uses it from then on.
    pub(crate) fn set_chunk_size(&mut self, chunk_size: usize) {
        if chunk_size != self.chunk_size {
            let size = u32::try_from(chunk_size).unwrap_or(u32::MAX);
            self.control(MessageKind::SetChunkSize, &size.to_be_bytes());
            self.chunk_size = chunk_size;
        }
    }

    pub(crate) fn connected(&mut self, transaction: f64, object_encoding: f64, vhost: &RtmpVhost) {
        if vhost.ack_window_out > 0 {
            self.control(MessageKind::WindowAckSize, &vhost.ack_window_out.to_be_bytes());
        }
        let [a, b, c, d] = BANDWIDTH_BYTES.to_be_bytes();
        self.control(MessageKind::SetPeerBandwidth, &[a, b, c, d, LIMIT_DYNAMIC]);
        self.set_chunk_size(vhost.chunk_size());
        let properties = Value::object([
            ("fmsVer", Value::string("FMS/3,5,3,888")),
            ("capabilities", Value::Number(127.0)),
            ("mode", Value::Number(1.0)),
        ]);
        let version = Value::EcmaArray(vec![
            ("version".to_owned(), Value::string("3,5,3,888")),
            ("server".to_owned(), Value::string(concat!("Weir/", env!("CARGO_PKG_VERSION")))),
        ]);
        let info = Value::object([
            ("level", Value::string("status")),
            ("code", Value::string("NetConnection.Connect.Success")),
            ("description", Value::string("Connection succeeded")),
            ("objectEncoding", Value::Number(object_encoding)),
            ("data", version),
        ]);
        self.command(0, &[Value::string("_result"), Value::Number(transaction), properties, info]);
        self.command(0, &[Value::string("onBWDone"), Value::Number(0.0), Value::Null]);
    }

    pub(crate) fn connect_rejected(&mut self, transaction: f64, why: &str) {
        let info = status("error", "NetConnection.Connect.Rejected", why);
        self.command(0, &[Value::string("_error"), Value::Number(transaction), Value::Null, info]);
    }

    /// `_result`; nothing for transaction 0, which asks for none.
    pub(crate) fn result(&mut self, transaction: f64, value: Value) {
        if transaction != 0.0 {
            self.command(0, &[Value::string("_result"), Value::Number(transaction), Value::Null, value]);
        }
    }

    pub(crate) fn error(&mut self, transaction: f64, description: &str) {
        let info = status("error", "NetConnection.Call.Failed", description);
        self.command(0, &[Value::string("_error"), Value::Number(transaction), Value::Null, info]);
    }

    pub(crate) fn on_status(&mut self, stream_id: u32, level: &str, code: &str, description: &str) {
        let info = status(level, code, description);
        self.command(stream_id, &[Value::string("onStatus"), Value::Number(0.0), Value::Null, info]);
    }

    pub(crate) fn on_fc_publish(&mut self, stream_id: u32) {
        let info = status("status", "NetStream.Publish.Start", "Started publishing stream.");
        self.command(stream_id, &[Value::string("onFCPublish"), Value::Number(0.0), Value::Null, info]);
    }

    pub(crate) fn unpublished(&mut self, stream_id: u32, transaction: f64) {
        let info = status("status", "NetStream.Unpublish.Success", "Stop publishing stream.");
        self.command(stream_id, &[Value::string("onFCUnpublish"), Value::Number(0.0), Value::Null, info]);
        self.result(transaction, Value::Undefined);
        self.on_status(stream_id, "status", "NetStream.Unpublish.Success", "Stream is now unpublished");
    }

    /// Everything a player is told before media.
    pub(crate) fn play_started(&mut self, stream_id: u32) {
        self.stream_event(STREAM_BEGIN, stream_id);
        self.on_status(stream_id, "status", "NetStream.Play.Reset", "Playing and resetting stream.");
        self.on_status(stream_id, "status", "NetStream.Play.Start", "Started playing stream.");
        self.data(stream_id, &[Value::string("|RtmpSampleAccess"), Value::Boolean(true), Value::Boolean(true)]);
        let start = Value::object([("code", Value::string("NetStream.Data.Start"))]);
        self.data(stream_id, &[Value::string("onStatus"), start]);
    }

    pub(crate) fn paused(&mut self, stream_id: u32, is_paused: bool) {
        if is_paused {
            self.on_status(stream_id, "status", "NetStream.Pause.Notify", "Paused stream.");
            self.stream_event(STREAM_EOF, stream_id);
        } else {
            self.on_status(stream_id, "status", "NetStream.Unpause.Notify", "Unpaused stream.");
            self.stream_event(STREAM_BEGIN, stream_id);
        }
    }

    pub(crate) fn acknowledge(&mut self, received: u32) {
        self.control(MessageKind::Acknowledgement, &received.to_be_bytes());
    }

    pub(crate) fn ping(&mut self, timestamp: u32) {
        self.user_control(PING_REQUEST, timestamp);
    }

    /// Answers a user control message if it is a ping; `false` if it is not.
    pub(crate) fn answer_ping(&mut self, body: &[u8]) -> bool {
        let Some([e0, e1, value @ ..]) = body.first_chunk::<6>().copied() else { return false };
        let is_ping = u16::from_be_bytes([e0, e1]) == PING_REQUEST;
        if is_ping {
            self.user_control(PING_RESPONSE, u32::from_be_bytes(value));
        }
        is_ping
    }

    fn stream_event(&mut self, event: u16, stream_id: u32) {
        self.user_control(event, stream_id);
    }

    fn user_control(&mut self, event: u16, value: u32) {
        self.control(MessageKind::UserControl, &[&event.to_be_bytes()[..], &value.to_be_bytes()].concat());
    }

    fn control(&mut self, kind: MessageKind, body: &[u8]) {
        let header = Header { chunk_stream: chunk_stream::CONTROL, timestamp: 0, kind, stream_id: 0 };
        write(&mut self.out, header, &[body], self.chunk_size);
    }

    fn command(&mut self, stream_id: u32, values: &[Value]) {
        let on = if stream_id == 0 { chunk_stream::COMMAND } else { chunk_stream::STREAM };
        self.message(on, MessageKind::Command, stream_id, &amf0::encode(values));
    }

    fn data(&mut self, stream_id: u32, values: &[Value]) {
        self.message(chunk_stream::STREAM, MessageKind::Data, stream_id, &amf0::encode(values));
    }

    fn message(&mut self, chunk_stream: u8, kind: MessageKind, stream_id: u32, body: &[u8]) {
        write(&mut self.out, Header { chunk_stream, timestamp: 0, kind, stream_id }, &[body], self.chunk_size);
    }
}

fn status(level: &str, code: &str, description: &str) -> Value {
    Value::object([
        ("level", Value::string(level)),
        ("code", Value::string(code)),
        ("description", Value::string(description)),
        ("clientid", Value::string(CLIENT_ID)),
    ])
}
