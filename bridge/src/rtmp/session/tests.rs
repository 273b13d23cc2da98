//! The state machine: what real clients send, and what hostile ones do.

use weir_source::Vhosts;

use super::*;
use crate::rtmp::{
    amf0::{self, Value},
    chunk::{Header, write},
};

struct Client {
    session: Session,
    input: BytesMut,
    reader: ChunkReader,
    now: Instant,
}

impl Client {
    /// Past the handshake.
    fn new() -> Self {
        let now = Instant::now();
        let limits = Limits { message_bytes: 1 << 20, partial_bytes: 1 << 20 };
        let mut client = Self {
            session: Session::new(Arc::new(RtmpConfig::default()), now),
            input: BytesMut::new(),
            reader: ChunkReader::new(limits),
            now,
        };
        client.input.extend_from_slice(&[3; 1 + 1536 + 1536]);
        assert!(client.poll().unwrap().is_none());
        assert_eq!(client.session.take_output().len(), 1 + 1536 + 1536);
        client
    }

    fn connected(app: &str) -> Self {
        let mut client = Self::new();
        client.connect(app);
        client
    }

    fn connect(&mut self, app: &str) {
        let object = Value::object([("app", Value::string(app)), ("tcUrl", Value::string("rtmp://h/x?secret"))]);
        self.send(0, &[Value::string("connect"), Value::Number(1.0), object]);
    }

    fn raw(&mut self, kind: MessageKind, stream_id: u32, body: &[u8]) {
        let mut bytes = Vec::new();
        write(&mut bytes, Header { chunk_stream: 3, timestamp: 0, kind, stream_id }, &[body], 128);
        self.input.extend_from_slice(&bytes);
    }

    fn send(&mut self, stream_id: u32, values: &[Value]) {
        self.raw(MessageKind::Command, stream_id, &amf0::encode(values));
    }

    /// A command with a null object and one argument.
    fn command(&mut self, stream_id: u32, name: &str, transaction: f64, argument: Value) {
        self.send(stream_id, &[Value::string(name), Value::Number(transaction), Value::Null, argument]);
    }

    /// The next event but `connect`, which is accepted.
    fn poll(&mut self) -> Result<Option<Event>, SessionError> {
        loop {
            match self.poll_all()? {
                Some(Event::Connect(_)) => self.session.accept_connect(self.now, &RtmpVhost::default()),
                other => return Ok(other),
            }
        }
    }

    fn poll_all(&mut self) -> Result<Option<Event>, SessionError> {
        self.session.handle_input(self.now, &mut self.input)
    }

    /// The sizes of chunks that the server told of.
    fn chunks_told(&mut self) -> Vec<u32> {
        // A `SetChunkSize` is a message of one chunk with its own header, on the control channel.
        let said = self.session.take_output();
        let told = said.windows(16).filter(|at| at.starts_with(&[2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0]));
        told.filter_map(|at| Some(u32::from_be_bytes(*at.last_chunk()?))).collect()
    }

    /// What the server said, each as kind and the words that matter.
    fn heard(&mut self) -> Vec<String> {
        let mut bytes = BytesMut::from(&self.session.take_output()[..]);
        let mut said = Vec::new();
        while let Some(message) = self.reader.next_message(&mut bytes).unwrap() {
            let body = &message.payload;
            said.push(match message.kind {
                MessageKind::Command | MessageKind::Data => words(&amf0::decode(body).unwrap()),
                MessageKind::UserControl => format!("user {}", body[1]),
                kind => format!("{kind:?}"),
            });
        }
        said
    }

    fn publishing() -> Self {
        let mut client = Self::connected("live");
        client.command(0, "createStream", 2.0, Value::Null);
        client.command(1, "publish", 3.0, Value::string("s"));
        assert!(matches!(client.poll(), Ok(Some(Event::Publish(_)))));
        client.session.accept_publish(client.now, &RtmpVhost::default());
        client.heard();
        client
    }
}

fn words(values: &[Value]) -> String {
    let mut words = Vec::new();
    for value in values {
        match value {
            Value::String(text) => words.push(text.clone()),
            Value::Number(number) => words.push(number.to_string()),
            other => words.extend(other.get("code").and_then(Value::as_str).map(str::to_owned)),
        }
    }
    words.join(" ")
}

#[test]
fn an_encoders_way_to_publishing_is_answered_as_srs_does() {
    let mut client = Client::connected("live/");
    assert!(client.poll().unwrap().is_none());
    let said = client.heard();
    let connected = ["WindowAckSize", "SetPeerBandwidth", "_result 1 NetConnection.Connect.Success", "onBWDone 0"];
    assert_eq!(said, connected);

    client.command(0, "releaseStream", 2.0, Value::string("cam?token=1"));
    client.command(0, "FCPublish", 3.0, Value::string("cam?token=1"));
    client.command(0, "createStream", 4.0, Value::Null);
    client.command(0, "_checkbw", 5.0, Value::Null);
    client.command(1, "publish", 6.0, Value::string("cam?token=1"));
    let Some(Event::Publish(request)) = client.poll().unwrap() else { panic!("asks to publish") };
    assert_eq!((&request.app[..], &request.stream[..], &request.host[..]), ("live", "cam", "h"));
    assert_eq!((request.param.expose(), &request.tc_url[..]), ("?token=1", "rtmp://h/x"));
    assert_eq!(client.heard(), ["_result 2", "_result 3", "_result 4 1", "_result 5"]);

    client.session.accept_publish(client.now, &RtmpVhost::default());
    assert_eq!(client.heard(), ["onFCPublish 0 NetStream.Publish.Start", "onStatus 0 NetStream.Publish.Start"]);
    client.raw(MessageKind::Video, 1, &[0x17, 1]);
    assert!(matches!(client.poll(), Ok(Some(Event::Video(0, body))) if body.len() == 2));

    client.command(0, "FCUnpublish", 7.0, Value::string("cam"));
    assert!(matches!(client.poll(), Ok(Some(Event::Stopped))));
    let stopped = ["onFCUnpublish 0 NetStream.Unpublish.Success", "_result 7", "onStatus 0 NetStream.Unpublish.Success"];
    assert_eq!(client.heard(), stopped);
    client.command(0, "deleteStream", 8.0, Value::Number(1.0));
    client.command(0, "createStream", 9.0, Value::Null);
    client.command(1, "publish", 10.0, Value::string("cam"));
    assert!(matches!(client.poll(), Ok(Some(Event::Publish(_)))), "it may publish again");
    assert_eq!(client.heard(), ["_result 9 1"]);
}

#[test]
fn a_players_way_to_media_is_answered_as_srs_does() {
    let mut client = Client::connected("live?vhost=other");
    client.command(0, "createStream", 2.0, Value::Null);
    client.command(0, "getStreamLength", 3.0, Value::string("s"));
    client.command(1, "play", 4.0, Value::string("s"));
    assert!(matches!(client.poll(), Ok(Some(Event::Play(request))) if request.app == "live" && request.stream == "s"));
    client.heard();
    client.session.accept_play(&RtmpVhost::default());
    let started = [
        "user 0",
        "onStatus 0 NetStream.Play.Reset",
        "onStatus 0 NetStream.Play.Start",
        "|RtmpSampleAccess",
        "onStatus NetStream.Data.Start",
    ];
    assert_eq!(client.heard(), started);
    client.session.notify_published();
    client.command(1, "pause", 0.0, Value::Boolean(true));
    assert!(matches!(client.poll(), Ok(Some(Event::Paused(true)))));
    assert_eq!(client.heard(), ["onStatus 0 NetStream.Play.PublishNotify", "onStatus 0 NetStream.Pause.Notify", "user 1"]);
    client.command(1, "closeStream", 0.0, Value::Null);
    assert!(matches!(client.poll(), Ok(Some(Event::Stopped))));
}

#[test]
fn connect_is_answered_when_it_is_decided() {
    let mut client = Client::connected("live");
    client.command(0, "createStream", 2.0, Value::Null);
    assert!(matches!(client.poll_all(), Ok(Some(Event::Connect(connect))) if connect.app == "live"));
    assert!(client.poll_all().unwrap().is_none(), "nothing is read on meanwhile");
    assert_eq!(client.heard(), [""; 0]);
    client.session.accept_connect(client.now, &RtmpVhost::default());
    assert!(client.poll_all().unwrap().is_none());
    assert_eq!(client.heard()[2..], ["_result 1 NetConnection.Connect.Success", "onBWDone 0", "_result 2 1"]);
}

#[test]
fn a_refused_connect_is_rejected_as_srs_does() {
    let mut client = Client::connected("live");
    assert!(matches!(client.poll_all(), Ok(Some(Event::Connect(_)))));
    client.session.refuse(client.now, "no");
    assert_eq!(client.heard(), ["_error 1 NetConnection.Connect.Rejected"]);
    client.command(0, "createStream", 2.0, Value::Null);
    assert!(client.poll_all().unwrap().is_none());
    assert!(client.session.is_refused() && client.heard().is_empty());
    let later = client.now + Duration::from_secs(3);
    assert_eq!(client.session.handle_timeout(later), Err(SessionError::TimedOut("after it was refused")));
}

#[test]
fn a56_amf3_commands_are_amf0_behind_one_byte() {
    let mut client = Client::new();
    let connect = [Value::string("connect"), Value::Number(1.0), Value::object([("app", Value::string("live"))])];
    client.raw(MessageKind::CommandAmf3, 0, &[vec![0], amf0::encode(&connect)].concat());
    assert!(client.poll().unwrap().is_none());
    assert!(client.heard().iter().any(|said| said.contains("Connect.Success")));
}

/// What the connection does with a request: the session passes names on as they come.
fn is_name(request: &StreamRequest) -> bool {
    Vhosts::default().key(&request.host, &request.app, &request.stream).is_ok()
}

#[test]
fn a59_names_that_no_protocol_takes_are_refused_with_a_status() {
    for bad in ["", "../x", "a/b", "a b", "a\n", "\u{202e}", "%2e", &"x".repeat(65), &"x".repeat(60_000)] {
        for (command, code) in [("publish", "NetStream.Publish.BadName"), ("play", "NetStream.Play.StreamNotFound")] {
            let mut client = Client::connected("live");
            client.command(1, command, 4.0, Value::string(bad));
            let Ok(Some(Event::Publish(request) | Event::Play(request))) = client.poll() else { panic!("{bad:?}") };
            assert!(!is_name(&request), "{bad:?}");
            client.session.refuse(client.now, "no name");
            assert!(client.heard().contains(&format!("onStatus 0 {code}")), "{bad:?}");
            assert!(client.session.is_refused());
        }
    }
    let mut client = Client::connected("");
    client.command(1, "play", 4.0, Value::string("s"));
    assert!(matches!(client.poll(), Ok(Some(Event::Play(request))) if !is_name(&request)));
}

#[test]
fn who_may_not_is_told_so_and_no_more() {
    for (command, code) in [("publish", "NetStream.Publish.Denied"), ("play", "NetStream.Play.Failed")] {
        let mut client = Client::connected("live");
        client.command(1, command, 4.0, Value::string("s?token=x"));
        assert!(client.poll().unwrap().is_some());
        client.heard();
        client.session.deny(client.now, "credentials are missing or not valid");
        assert_eq!(client.heard(), [format!("onStatus 0 {code}")]);
        assert!(client.session.is_refused());
    }
}

#[test]
fn a_publisher_that_was_replaced_is_told_and_heard_no_more() {
    let mut client = Client::publishing();
    client.session.replaced(client.now);
    assert_eq!(client.heard(), ["onStatus 0 NetStream.Publish.BadName"]);
    client.raw(MessageKind::Video, 1, &[0x17, 1]);
    assert!(client.poll().unwrap().is_none());
    assert!(client.session.is_refused());
    client.now += REFUSED_LINGER;
    assert!(client.session.handle_timeout(client.now).is_err(), "it is not waited for long");
}

#[test]
fn a58_metadata_comes_in_all_its_wrappings_and_only_from_publishers() {
    let object = Value::object([("width", Value::Number(640.0))]);
    let set = [Value::string("@setDataFrame"), Value::string("onMetaData"), object.clone()];
    for (kind, prefix, values) in
        [(MessageKind::Data, &[][..], &set[..]), (MessageKind::Data, &[], &set[1..]), (MessageKind::DataAmf3, &[0], &set[..])]
    {
        let mut client = Client::publishing();
        client.raw(kind, 1, &[prefix, &amf0::encode(values)].concat());
        let Some(Event::Metadata(bytes)) = client.poll().unwrap() else { panic!("metadata") };
        assert_eq!(amf0::decode(&bytes).unwrap(), std::slice::from_ref(&object));
    }
    for bad in [&set[..1], &set[..2], &[][..]] {
        let mut client = Client::publishing();
        client.raw(MessageKind::Data, 1, &amf0::encode(bad));
        assert!(client.poll().unwrap().is_none());
        assert_eq!(client.session.ignored(), 1);
    }
    let mut client = Client::connected("live");
    client.raw(MessageKind::Data, 1, &amf0::encode(&set));
    assert!(client.poll().unwrap().is_none());
}

#[test]
fn nothing_is_read_on_while_a_request_waits_for_its_answer() {
    let mut client = Client::connected("live");
    client.command(1, "publish", 3.0, Value::string("s"));
    client.raw(MessageKind::Audio, 1, &[0xaf, 1]);
    assert!(matches!(client.poll(), Ok(Some(Event::Publish(_)))));
    assert!(client.poll().unwrap().is_none());
    client.session.accept_publish(client.now, &RtmpVhost::default());
    assert!(matches!(client.poll(), Ok(Some(Event::Audio(..)))));
}

#[test]
fn a52_what_an_unknown_client_may_send_is_bounded() {
    let mut client = Client::connected("live");
    for _ in 0..40 {
        client.command(0, "createStream", 2.0, Value::Null);
    }
    assert_eq!(client.poll().unwrap_err(), SessionError::TooMuchBefore);
    let said = client.heard();
    assert_eq!(said.iter().filter(|said| said.starts_with("_result")).count(), 9, "connect and eight streams");

    let mut client = Client::new();
    client.input.extend_from_slice(&[4, 0, 0, 0, 1, 0, 1, 9, 1, 0, 0, 0]);
    assert!(matches!(client.poll(), Err(SessionError::Chunk(ChunkError::MessageTooLong { .. }))));

    let mut client = Client::connected("live");
    client.raw(MessageKind::Other(99), 0, &[0; 40_000]);
    client.raw(MessageKind::Other(99), 0, &[0; 40_000]);
    assert_eq!(client.poll().unwrap_err(), SessionError::TooMuchBefore);
}

#[test]
fn a57_a58_commands_out_of_turn_end_the_connection() {
    let mut client = Client::new();
    client.command(1, "publish", 3.0, Value::string("s"));
    assert_eq!(client.poll().unwrap_err(), SessionError::OutOfTurn("a command before connect"));
    let mut client = Client::connected("live");
    client.connect("live");
    assert_eq!(client.poll().unwrap_err(), SessionError::OutOfTurn("connect twice"));
}

#[test]
fn a57_a58_media_before_publishing_and_a_second_request_change_nothing() {
    let mut client = Client::connected("live");
    client.raw(MessageKind::Video, 1, &[0x17, 1]);
    assert!(client.poll().unwrap().is_none());
    assert_eq!(client.session.ignored(), 1);

    let mut client = Client::publishing();
    client.command(1, "play", 4.0, Value::string("s"));
    client.command(2, "publish", 5.0, Value::string("t"));
    client.command(0, "deleteStream", 0.0, Value::Number(7.0));
    client.command(0, "releaseStream", 0.0, Value::string("unknown"));
    assert!(client.poll().unwrap().is_none());
    assert_eq!(client.heard(), ["onStatus 0 NetStream.Play.StreamNotFound", "onStatus 0 NetStream.Publish.BadName"]);
    client.raw(MessageKind::Audio, 1, &[0xaf, 1]);
    assert!(matches!(client.poll(), Ok(Some(Event::Audio(..)))), "it publishes on");
}

#[test]
fn a55_nested_amf_and_random_commands_are_ignored() {
    let mut client = Client::new();
    client.raw(MessageKind::Command, 0, &[0x0a, 0, 0, 0, 1].repeat(4_000));
    client.raw(MessageKind::Command, 0, &[]);
    client.raw(MessageKind::CommandAmf3, 0, &[]);
    assert!(client.poll().unwrap().is_none());
    assert_eq!(client.session.ignored(), 3);
}

#[test]
fn a60_pings_are_answered_ten_a_second_and_acks_at_the_window() {
    let mut client = Client::publishing();
    for _ in 0..100 {
        client.raw(MessageKind::UserControl, 0, &[0, 6, 0, 0, 0, 9]);
    }
    assert!(client.poll().unwrap().is_none());
    assert_eq!(client.heard(), vec!["user 7"; 10]);

    client.raw(MessageKind::WindowAckSize, 0, &[0, 0, 0, 1]);
    for _ in 0..3 {
        client.raw(MessageKind::Audio, 1, &[0xaf; 30_000]);
    }
    while client.poll().unwrap().is_some() {}
    assert_eq!(client.heard(), ["Acknowledgement"], "once per turn, and not for each byte");
}

#[test]
fn a_vhost_says_when_either_side_acknowledges() {
    let windows = |vhost: &RtmpVhost| {
        let mut client = Client::new();
        client.connect("live");
        assert!(matches!(client.poll_all(), Ok(Some(Event::Connect(_)))));
        client.session.accept_connect(client.now, vhost);
        let told = client.heard().iter().any(|message| message == "WindowAckSize");
        client.command(1, "publish", 3.0, Value::string("s"));
        assert!(matches!(client.poll(), Ok(Some(Event::Publish(_)))));
        client.session.accept_publish(client.now, vhost);
        (0..3).for_each(|_| client.raw(MessageKind::Audio, 1, &[0xaf; 30_000]));
        while client.poll().unwrap().is_some() {}
        (told, client.heard().iter().filter(|message| *message == "Acknowledgement").count())
    };
    assert_eq!(windows(&RtmpVhost::default()), (true, 0));
    let silent = RtmpVhost { ack_window_out: 0, ack_window_in: 70_000, ..RtmpVhost::default() };
    assert_eq!(windows(&silent), (false, 1));
}

#[test]
fn aggregates_are_taken_apart() {
    use crate::flv::{TagKind, tag};
    let mut client = Client::publishing();
    let body = [tag(TagKind::Video, 10, &[&[0x17, 1]]), tag(TagKind::Audio, 30, &[&[0xaf, 1]])].concat();
    client.raw(MessageKind::Aggregate, 1, &body);
    assert!(matches!(client.poll(), Ok(Some(Event::Video(0, _)))));
    assert!(matches!(client.poll(), Ok(Some(Event::Audio(20, _)))));
    assert!(client.poll().unwrap().is_none());
}

#[test]
fn a_vhost_has_times_and_chunks_of_its_own() {
    let quick = RtmpVhost {
        chunk_size_out: 4_096,
        first_media_timeout: Duration::from_secs(2),
        idle_timeout: Duration::from_secs(1),
        ..RtmpVhost::default()
    };
    let mut client = Client::connected("live");
    client.command(1, "publish", 3.0, Value::string("s?vhost=quick"));
    assert!(matches!(client.poll(), Ok(Some(Event::Publish(_)))));
    assert_eq!(client.chunks_told(), [60_000], "those of the vhost that it connected to");
    client.session.accept_publish(client.now, &quick);
    assert_eq!(client.chunks_told(), [4_096]);
    assert_eq!(client.session.poll_timeout(), Some(client.now + Duration::from_secs(2)));
    client.raw(MessageKind::Audio, 1, &[0xaf, 1]);
    assert!(client.poll().unwrap().is_some());
    assert_eq!(client.session.poll_timeout(), Some(client.now + Duration::from_secs(1)));

    let mut client = Client::connected("live");
    client.command(1, "play", 3.0, Value::string("s?vhost=quick"));
    assert!(matches!(client.poll(), Ok(Some(Event::Play(_)))));
    client.chunks_told();
    client.session.accept_play(&quick);
    assert_eq!(client.chunks_told(), [4_096], "before the media that is cut by it");
}

#[test]
fn each_phase_has_its_time() {
    let (config, vhost) = (RtmpConfig::default(), RtmpVhost::default());
    let now = Instant::now();
    let mut session = Session::new(Arc::new(config.clone()), now);
    assert!(session.handle_timeout(now + Duration::from_secs(9)).is_ok());
    assert_eq!(session.handle_timeout(now + config.handshake_timeout), Err(SessionError::TimedOut("in its handshake")));

    let mut client = Client::publishing();
    let at = client.now + vhost.first_media_timeout;
    assert_eq!(client.session.poll_timeout(), Some(at));
    client.now += Duration::from_secs(15);
    client.raw(MessageKind::UserControl, 0, &[0, 6, 0, 0, 0, 9]);
    assert!(client.poll().unwrap().is_none());
    assert_eq!(client.session.poll_timeout(), Some(at), "a ping is no media");
    client.raw(MessageKind::Audio, 1, &[0xaf, 1]);
    assert!(client.poll().unwrap().is_some());
    assert_eq!(client.session.poll_timeout(), Some(client.now + vhost.idle_timeout));
}
