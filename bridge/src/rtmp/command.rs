//! Commands as clients send them: AMF0 values → one typed [`Command`].

use weir_source::Secret;

use super::amf0::Value;

/// The longest URL kept of a client. It is for people to read, in lists and logs.
const URL_BYTES_MAX: usize = 1_024;

/// What a client says of itself in `connect`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Connect {
    /// Without its query and without slashes at its ends.
    pub app: String,
    /// Without its query, which may hold a token.
    pub tc_url: String,
    /// The query of `tcUrl` or else of `app`, with its `?`: a token may be in it.
    pub param: Secret,
    /// The vhost that `tcUrl` or `app` names, or the host of `tcUrl`.
    pub host: String,
    /// Without its query.
    pub page_url: String,
    /// 0 for AMF0, 3 for AMF3.
    pub object_encoding: f64,
}

/// A command (RTMP 1.0, section 7.2, and what encoders have added). `transaction` is 0 where no
/// answer is wanted.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names are the protocol's")]
#[non_exhaustive]
pub enum Command {
    Connect {
        transaction: f64,
        connect: Connect,
    },
    CreateStream {
        transaction: f64,
    },
    ReleaseStream {
        transaction: f64,
    },
    FcPublish {
        transaction: f64,
    },
    FcUnpublish {
        transaction: f64,
    },
    Publish {
        name: String,
    },
    /// `None`: stop playing.
    Play {
        name: Option<String>,
    },
    DeleteStream {
        stream_id: f64,
    },
    CloseStream,
    Pause {
        is_paused: bool,
    },
    GetStreamLength {
        transaction: f64,
    },
    /// An answer to us, or a notice.
    Notice,
    /// `_checkbw` and all that we have no more to say to than "done".
    Other {
        name: String,
        transaction: f64,
    },
}

impl Command {
    /// Reads the values of a command message. `None` if they are no command.
    pub fn parse(values: &[Value]) -> Option<Self> {
        let name = values.first()?.as_str()?;
        let transaction = values.get(1).and_then(Value::as_number).filter(|number| number.is_finite()).unwrap_or(0.0);
        let argument = values.get(3);
        let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        Some(match name {
            "connect" => Self::Connect { transaction, connect: Connect::parse(values.get(2)?) },
            "createStream" => Self::CreateStream { transaction },
            "releaseStream" => Self::ReleaseStream { transaction },
            "FCPublish" => Self::FcPublish { transaction },
            "FCUnpublish" => Self::FcUnpublish { transaction },
            "publish" => Self::Publish { name: text(argument) },
            "play" => Self::Play { name: argument.and_then(Value::as_bool).is_none().then(|| text(argument)) },
            "deleteStream" => Self::DeleteStream { stream_id: argument.and_then(Value::as_number).unwrap_or(0.0) },
            "closeStream" => Self::CloseStream,
            "pause" | "pauseRaw" => Self::Pause { is_paused: argument.and_then(Value::as_bool).unwrap_or(true) },
            "getStreamLength" => Self::GetStreamLength { transaction },
            "_result" | "_error" | "onStatus" => Self::Notice,
            other => Self::Other { name: clipped(other), transaction },
        })
    }
}

impl Connect {
    fn parse(object: &Value) -> Self {
        let text = |key| object.get(key).and_then(Value::as_str).unwrap_or_default();
        let without_query = |text: &str| clipped(text.split_once('?').map_or(text, |(path, _)| path));
        let (tc_url, app) = (text("tcUrl"), text("app"));
        let query = [tc_url, app].into_iter().find_map(|text| Some(text.split_once('?')?.1)).unwrap_or_default();
        let authority = tc_url.split_once("://").map_or("", |(_, rest)| rest.split(['/', '?']).next().unwrap_or_default());
        Self {
            param: Secret::new(if query.is_empty() { String::new() } else { clipped(&format!("?{query}")) }),
            host: clipped(vhost_of(query).unwrap_or(authority)),
            app: without_query(app).trim_matches('/').to_owned(),
            tc_url: without_query(tc_url),
            page_url: without_query(text("pageUrl")),
            object_encoding: object.get("objectEncoding").and_then(Value::as_number).unwrap_or(0.0),
        }
    }
}

/// The vhost that a query names, in SRS's words for it.
pub(super) fn vhost_of(query: &str) -> Option<&str> {
    let named = |name: &str| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(key, value)| *key == name && !value.is_empty()).map(|(_, value)| value).next()
    };
    named("vhost").or_else(|| named("domain"))
}

fn clipped(text: &str) -> String {
    text.get(..text.floor_char_boundary(URL_BYTES_MAX)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connect_keeps_no_query_and_no_slashes() {
        let object = Value::object([
            ("app", Value::string("/live/?vhost=a&token=secret")),
            ("tcUrl", Value::string("http://host/live?token=secret")),
            ("objectEncoding", Value::Number(3.0)),
        ]);
        let command = Command::parse(&[Value::string("connect"), Value::Number(1.0), object]).unwrap();
        let Command::Connect { transaction, connect } = command else { panic!("connect") };
        assert_eq!(transaction, 1.0);
        assert_eq!((&connect.app[..], &connect.tc_url[..], connect.object_encoding), ("live", "http://host/live", 3.0));
        assert_eq!((connect.param.expose(), &connect.host[..]), ("?token=secret", "host"));
    }

    #[test]
    fn short_and_odd_commands_are_read_or_none() {
        assert_eq!(Command::parse(&[]), None);
        assert_eq!(Command::parse(&[Value::Null]), None);
        assert_eq!(Command::parse(&[Value::string("connect")]), None);
        let publish = Command::parse(&[Value::string("publish"), Value::Number(f64::NAN)]);
        assert_eq!(publish, Some(Command::Publish { name: String::new() }));
        let stop = [Value::string("play"), Value::Number(0.0), Value::Null, Value::Boolean(false)];
        assert_eq!(Command::parse(&stop), Some(Command::Play { name: None }));
        let other = Command::parse(&[Value::string("_checkbw"), Value::Number(7.0)]);
        assert_eq!(other, Some(Command::Other { name: "_checkbw".into(), transaction: 7.0 }));
    }
}
