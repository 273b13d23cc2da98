//! The client half of RTMP until the server grants playing or publishing.

use rml_rtmp::{
    handshake::{Handshake, HandshakeProcessResult, PeerType},
    sessions::{ClientSession, ClientSessionConfig, ClientSessionEvent, ClientSessionResult, PublishRequestType},
};

use crate::{clients::crew::Failure, measure::Stage};

const CHUNK_SIZE: u32 = 60_000;
/// What a server says beside the start that is no refusal.
const HARMLESS: [&str; 4] =
    ["NetStream.Play.Reset", "NetStream.Data.Start", "NetStream.Play.PublishNotify", "NetStream.Play.Notify"];

/// What a client wants after it is connected.
#[derive(Clone, Debug)]
pub(super) enum Wish {
    Publish(String),
    Play(String),
}

/// Bytes in and bytes out.
pub(super) struct Setup {
    handshake: Option<Handshake>,
    pub(super) session: Option<ClientSession>,
    app: String,
    url: String,
    wish: Wish,
    pub(super) granted: bool,
}

/// What a read brought.
#[derive(Default)]
pub(super) struct Step {
    /// To be sent.
    pub(super) out: Vec<u8>,
    /// What came behind the handshake, for who reads on.
    pub(super) chunks: Vec<u8>,
}

impl Setup {
    pub(super) fn new(app: &str, url: &str, wish: Wish) -> Result<(Self, Vec<u8>), Failure> {
        let mut handshake = Handshake::new(PeerType::Client);
        let hello = handshake.generate_outbound_p0_and_p1().map_err(|e| handshake_failed(&e))?;
        let setup =
            Self { handshake: Some(handshake), session: None, app: app.to_owned(), url: url.to_owned(), wish, granted: false };
        Ok((setup, hello))
    }

    /// How far it is, should the server say no more.
    pub(super) const fn stage(&self) -> Stage {
        if self.handshake.is_some() { Stage::Handshake } else { Stage::Refused }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<Step, Failure> {
        let mut step = Step::default();
        let mut rest = bytes.to_vec();
        if let Some(mut handshake) = self.handshake.take() {
            match handshake.process_bytes(&rest).map_err(|e| handshake_failed(&e))? {
                HandshakeProcessResult::InProgress { response_bytes } => {
                    self.handshake = Some(handshake);
                    step.out = response_bytes;
                    return Ok(step);
                }
                HandshakeProcessResult::Completed { response_bytes, remaining_bytes } => {
                    step.out = response_bytes;
                    rest = remaining_bytes;
                    self.connect(&mut step.out)?;
                }
            }
        }
        if let Some(mut session) = self.session.take() {
            let results = session.handle_input(&rest).map_err(|e| odd(&e))?;
            self.sort(results, &mut step.out, &mut session)?;
            self.session = Some(session);
        }
        step.chunks = rest;
        Ok(step)
    }

    fn connect(&mut self, out: &mut Vec<u8>) -> Result<(), Failure> {
        let mut config = ClientSessionConfig::new();
        config.chunk_size = CHUNK_SIZE;
        config.tc_url = Some(self.url.clone());
        let (mut session, first) = ClientSession::new(config).map_err(|e| odd(&e))?;
        self.sort(first, out, &mut session)?;
        let connect = session.request_connection(self.app.clone()).map_err(|e| odd(&e))?;
        self.sort(vec![connect], out, &mut session)?;
        self.session = Some(session);
        Ok(())
    }

    fn sort(&mut self, results: Vec<ClientSessionResult>, out: &mut Vec<u8>, session: &mut ClientSession) -> Result<(), Failure> {
        for result in results {
            match result {
                ClientSessionResult::OutboundResponse(packet) => out.extend(packet.bytes),
                ClientSessionResult::RaisedEvent(event) => self.note(event, out, session)?,
                ClientSessionResult::UnhandleableMessageReceived(_) => {}
            }
        }
        Ok(())
    }

    fn note(&mut self, event: ClientSessionEvent, out: &mut Vec<u8>, session: &mut ClientSession) -> Result<(), Failure> {
        match event {
            ClientSessionEvent::ConnectionRequestAccepted => {
                let next = match self.wish.clone() {
                    Wish::Publish(stream) => session.request_publishing(stream, PublishRequestType::Live),
                    Wish::Play(stream) => session.request_playback(stream),
                };
                self.sort(vec![next.map_err(|e| odd(&e))?], out, session)
            }
            ClientSessionEvent::ConnectionRequestRejected { description } => {
                Err(Failure::new(Stage::Refused, format!("connect: {description}")))
            }
            ClientSessionEvent::PlaybackRequestAccepted | ClientSessionEvent::PublishRequestAccepted => {
                self.granted = true;
                Ok(())
            }
            ClientSessionEvent::UnhandleableOnStatusCode { code } if !self.granted && !HARMLESS.contains(&code.as_str()) => {
                Err(Failure::new(Stage::Refused, code))
            }
            _ => Ok(()),
        }
    }
}

fn handshake_failed(error: &impl std::fmt::Debug) -> Failure {
    Failure::new(Stage::Handshake, format!("{error:?}"))
}

fn odd(error: &impl std::fmt::Debug) -> Failure {
    Failure::new(Stage::Refused, format!("the server's answer: {error:?}"))
}
