//! What can happen in a session that is worth being told.

use std::net::SocketAddr;

use super::EndReason;
use crate::{ice::Path, sdp::Direction, srtp::SrtpProfile};

/// The addresses of ours that a client was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// By UDP.
    pub udp: Vec<SocketAddr>,
    /// By TCP.
    pub tcp: Vec<SocketAddr>,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The client's offer came by HTTP, with so many of its candidates.
    Offer {
        /// Lines of `a=candidate`. None is needed: the client's addresses are learnt from its checks.
        candidates: usize,
    },
    /// It was answered.
    Answer(Box<Named>),
    /// It was answered by an offer of ours.
    CounterOffer(Box<Named>),
    /// The client answered that.
    ClientAnswer,
    /// The client sent candidates by PATCH.
    Trickle {
        /// How many.
        candidates: usize,
    },
    /// The client restarted ICE by PATCH.
    Restart,
    /// A check came that names this session and is signed with another password. Told once.
    BadCheck {
        /// Where it came from.
        remote: SocketAddr,
    },
    /// The first right check.
    Check {
        /// Where it came from.
        remote: SocketAddr,
        /// Over a TCP connection.
        tcp: bool,
    },
    /// The first pair that the client nominated.
    Nominated {
        /// The client's end of it.
        remote: SocketAddr,
        /// Over a TCP connection.
        tcp: bool,
    },
    /// The DTLS handshake began.
    Handshake,
    /// The handshake is done.
    Connected {
        /// What media is encrypted with.
        srtp: SrtpProfile,
        /// What the handshake was encrypted with: the suite's IANA name.
        suite: Box<str>,
    },
    /// Player: the stream is there.
    StreamCame,
    /// Player: nothing of the stream is there, or no longer.
    StreamGone,
    /// The first packet of media.
    Media,
    /// The first keyframe.
    Keyframe,
    /// Player: the first report of what it got.
    Report,
    /// Packets were lost since this was told last.
    Loss {
        /// How many.
        lost: u64,
        /// Of so many.
        of: u64,
    },
    /// Keyframes were asked for since this was told last: by the player, or of the publisher.
    KeyframesAsked {
        /// How often.
        count: u64,
    },
    /// Player: it gets another simulcast layer, by its name.
    Layer(Box<str>),
    /// The client was followed to another address.
    Moved {
        /// Where it is now.
        to: SocketAddr,
    },
    /// The session is over.
    End(EndReason),
}

impl Event {
    pub(crate) const fn checked(path: Path) -> Self {
        Self::Check { remote: path.remote, tcp: path.connection.is_some() }
    }

    pub(crate) const fn nominated(path: Path) -> Self {
        Self::Nominated { remote: path.remote, tcp: path.connection.is_some() }
    }

    /// One lower-case word, the same for ever.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Offer { .. } => "offer",
            Self::Answer(_) => "answer",
            Self::CounterOffer(_) => "counter_offer",
            Self::ClientAnswer => "client_answer",
            Self::Trickle { .. } => "trickle",
            Self::Restart => "ice_restart",
            Self::BadCheck { .. } => "bad_check",
            Self::Check { .. } => "check",
            Self::Nominated { .. } => "nominated",
            Self::Handshake => "handshake",
            Self::Connected { .. } => "connected",
            Self::StreamCame => "stream_came",
            Self::StreamGone => "stream_gone",
            Self::Media => "media",
            Self::Keyframe => "keyframe",
            Self::Report => "report",
            Self::Loss { .. } => "loss",
            Self::KeyframesAsked { .. } => "keyframes_asked",
            Self::Layer(_) => "layer",
            Self::Moved { .. } => "moved",
            Self::End(_) => "end",
        }
    }

    /// For people.
    pub fn text(&self, direction: Direction) -> String {
        let publishes = direction == Direction::Publish;
        let by = |tcp: &bool| if *tcp { "TCP" } else { "UDP" };
        match self {
            Self::Offer { candidates } => format!("the offer came, with {candidates} candidates of the client"),
            Self::Answer(named) => format!("answered, naming {named}"),
            Self::CounterOffer(named) => format!("refused in favour of an offer of ours, naming {named}"),
            Self::ClientAnswer => "the client answered our offer".to_owned(),
            Self::Trickle { candidates } => format!("the client sent {candidates} candidates"),
            Self::Restart => "the client restarted ICE".to_owned(),
            Self::BadCheck { remote } => format!("a STUN check from {remote} was signed with another password"),
            Self::Check { remote, tcp } => format!("the first STUN check came, from {remote} by {}", by(tcp)),
            Self::Nominated { remote, tcp } => format!("the client nominated {remote} by {}", by(tcp)),
            Self::Handshake => "the DTLS handshake began".to_owned(),
            Self::Connected { srtp, suite } => format!("the DTLS handshake is done: {suite}, media in {}", srtp.name()),
            Self::StreamCame => "the stream is there".to_owned(),
            Self::StreamGone => "nothing of the stream is there".to_owned(),
            Self::Media if publishes => "the first packet came".to_owned(),
            Self::Media => "the first packet went out".to_owned(),
            Self::Keyframe if publishes => "the first keyframe came".to_owned(),
            Self::Keyframe => "the first keyframe went out".to_owned(),
            Self::Report => "the client reported for the first time what it got".to_owned(),
            Self::Loss { lost, of } => format!("{lost} of {of} packets were lost"),
            Self::KeyframesAsked { count } if publishes => format!("it was asked for a keyframe, {count} times"),
            Self::KeyframesAsked { count } => format!("it asked for a keyframe, {count} times"),
            Self::Layer(rid) => format!("it gets the layer {rid}"),
            Self::Moved { to } => format!("the client moved to {to}"),
            Self::End(reason) => format!("ended: {}", reason.text()),
        }
    }
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all = self.udp.iter().map(|addr| (addr, "udp")).chain(self.tcp.iter().map(|addr| (addr, "tcp")));
        for (index, (addr, transport)) in all.enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{addr}/{transport}")?;
        }
        Ok(())
    }
}
