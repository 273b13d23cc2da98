//! The hub: a [`Source`] is two rings, one of RTP packets and one of frames.
//!
//! A publisher fills the ring that is native to it, each subscriber reads the ring that is native
//! to it, and when somebody reads the lane that nobody fills, the [`Bridge`] is asked once to
//! remux from the other. The ring is fan-out queue, keyframe cache and retransmission history.
//!
//! This crate moves bytes and counts: it has no runtime, opens no socket, reads no clock
//! (instants are passed in) and never looks into a payload.
#![forbid(unsafe_code)]

mod access;
mod anchor;
mod client;
mod frame;
mod handle;
mod hub;
mod key;
mod lane;
mod layer;
mod packet;
mod ring;
mod secret;
mod shelf;
mod source;
mod takeover;
mod time;
mod track;
mod vhost;

pub use access::{Caller, ConnectionPass, Denials, Denied, Gatekeeper, Pass, Traffic, Verdict, Visit};
pub use anchor::Anchor;
pub use client::{Client, ClientGuard, ClientInfo, ClientKind, Clients};
pub use frame::{Frame, Muxed};
pub use handle::{FrameSubscriber, PacketSubscriber, Publisher, Read, RemuxJob, Subscriber};
pub use hub::{Bridge, Hub, PublishError};
pub use key::{NameError, StreamKey};
pub use lane::LaneItem;
pub use layer::LayerState;
pub use packet::{Packet, PacketExtensions, TemporalPlace};
pub use ring::{Limits, Ring, RingItem};
pub use secret::Secret;
pub use source::{Lane, Source, SourceStats, Wake};
pub use takeover::{Claim, Identity, Takeover};
pub use time::MediaTime;
pub use track::{Codec, Layer, MediaKind, Track, TrackId, TrackSet, Tracks, VideoInfo};
pub use vhost::{DEFAULT_VHOST, KeyError, PerVhost, UnknownVhost, Vhosts};
