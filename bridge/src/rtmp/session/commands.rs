//! The session's answers to commands, and what of data messages is of use.

use std::time::Instant;

use bytes::Bytes;
use weir_source::Secret;

use super::{Ask, Event, LIMITS_BEFORE, REPUBLISH_WAIT, Role, STREAMS_MAX, Session, SessionError, StreamRequest};
use crate::rtmp::{
    amf0::{self, Value},
    command::{Command, vhost_of},
};

/// The publisher's metadata kept, encoded. Real ones take under 1 KiB.
const METADATA_BYTES_MAX: usize = 32 << 10;

impl Session {
    pub(super) fn command(&mut self, now: Instant, stream_id: u32, body: &[u8]) -> Result<Option<Event>, SessionError> {
        let Some(command) = amf0::decode(body).ok().as_deref().and_then(Command::parse) else {
            self.ignored += 1;
            return Ok(None);
        };
        if let Command::Connect { transaction, connect } = command {
            if self.connect.is_some() {
                return Err(SessionError::OutOfTurn("connect twice"));
            }
            self.connect = Some(connect.clone());
            self.role = Role::Connecting(transaction);
            return Ok(Some(Event::Connect(connect)));
        }
        if self.connect.is_none() {
            return Err(SessionError::OutOfTurn("a command before connect"));
        }
        match command {
            Command::CreateStream { transaction } => self.create_stream(transaction),
            Command::ReleaseStream { transaction } => self.replies.result(transaction, Value::Undefined),
            Command::FcPublish { transaction } => {
                self.said_fc_publish = true;
                self.replies.result(transaction, Value::Undefined);
            }
            Command::FcUnpublish { transaction } => {
                if let Role::Publishing(stream_id) = self.role {
                    self.replies.unpublished(stream_id, transaction);
                    return Ok(self.stop(now));
                }
                self.replies.result(transaction, Value::Undefined);
            }
            Command::Publish { name } => return Ok(self.ask(Ask::Publish, stream_id, &name)),
            Command::Play { name: Some(name) } => return Ok(self.ask(Ask::Play, stream_id, &name)),
            Command::Play { name: None } => return Ok(self.stop_stream(now, stream_id)),
            Command::DeleteStream { stream_id } => {
                let id = (1..=STREAMS_MAX).find(|id| f64::from(*id) == stream_id).unwrap_or(0);
                let stopped = self.stop_stream(now, id);
                self.streams &= !(1 << id);
                return Ok(stopped);
            }
            Command::CloseStream => return Ok(self.stop_stream(now, stream_id)),
            Command::Pause { is_paused } => {
                if let Role::Playing(stream_id) = self.role {
                    self.replies.paused(stream_id, is_paused);
                    return Ok(Some(Event::Paused(is_paused)));
                }
            }
            Command::GetStreamLength { transaction } => self.replies.result(transaction, Value::Number(0.0)),
            Command::Other { transaction, .. } => self.replies.result(transaction, Value::Null),
            Command::Connect { .. } | Command::Notice => {}
        }
        Ok(None)
    }

    fn create_stream(&mut self, transaction: f64) {
        match (1..=STREAMS_MAX).find(|id| self.streams & (1 << id) == 0) {
            Some(id) => {
                self.streams |= 1 << id;
                self.replies.result(transaction, Value::Number(f64::from(id)));
            }
            None => self.replies.error(transaction, "too many streams"),
        }
    }

    fn ask(&mut self, ask: Ask, stream_id: u32, name: &str) -> Option<Event> {
        if self.role != Role::Idle {
            self.replies.on_status(stream_id, "error", refusal(ask), "this connection already publishes or plays");
            return None;
        }
        let connect = self.connect.as_ref()?;
        let (stream, query) = name.split_once('?').unwrap_or((name, ""));
        let request = StreamRequest {
            app: connect.app.clone(),
            stream: stream.to_owned(),
            host: vhost_of(query).unwrap_or(&connect.host).to_owned(),
            param: if query.is_empty() { connect.param.clone() } else { Secret::new(format!("?{query}")) },
            tc_url: connect.tc_url.clone(),
            page_url: connect.page_url.clone(),
        };
        self.role = Role::Asking(ask, stream_id);
        Some(match ask {
            Ask::Publish => Event::Publish(request),
            Ask::Play => Event::Play(request),
        })
    }

    fn stop_stream(&mut self, now: Instant, stream_id: u32) -> Option<Event> {
        match self.role {
            Role::Publishing(id) | Role::Playing(id) if id == stream_id => self.stop(now),
            _ => None,
        }
    }

    fn stop(&mut self, now: Instant) -> Option<Event> {
        self.role = Role::Idle;
        self.reader.set_limits(LIMITS_BEFORE);
        self.aggregate = None;
        self.messages_before = 0;
        self.bytes_before = 0;
        self.deadline = Some((now + REPUBLISH_WAIT, "after it stopped"));
        Some(Event::Stopped)
    }
}

pub(super) const fn refusal(ask: Ask) -> &'static str {
    match ask {
        Ask::Publish => "NetStream.Publish.BadName",
        Ask::Play => "NetStream.Play.StreamNotFound",
    }
}

/// The codes on which librtmp, and so OBS, gives up.
pub(super) const fn denial(ask: Ask) -> &'static str {
    match ask {
        Ask::Publish => "NetStream.Publish.Denied",
        Ask::Play => "NetStream.Play.Failed",
    }
}

/// The object of `@setDataFrame onMetaData` or of a bare `onMetaData`.
pub(super) fn metadata(body: &[u8]) -> Option<Bytes> {
    let values = amf0::decode(body).ok()?;
    let (name, value) = match values.first()?.as_str()? {
        "@setDataFrame" => (values.get(1)?.as_str()?, values.get(2)?),
        name => (name, values.get(1)?),
    };
    if name != "onMetaData" || value.properties().is_none() {
        return None;
    }
    let mut bytes = Vec::new();
    amf0::encode_into(value, &mut bytes);
    (bytes.len() <= METADATA_BYTES_MAX).then(|| bytes.into())
}
