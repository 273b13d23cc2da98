//! RTMP: publishers and players over TCP (Adobe's RTMP 1.0 and what encoders have made of it).
//!
//! `chunk`, `amf0`, `command` and `session` are bytes and state only; `listener` and below it
//! `connection`, `publisher` and `player` tie them to sockets and to the hub.

mod aggregate;
pub mod amf0;
pub mod chunk;
mod command;
mod config;
mod connection;
mod door;
mod handshake;
mod listener;
mod player;
mod publisher;
mod reply;
mod session;
mod socket;
mod stats;

pub use command::{Command, Connect};
pub use config::{RtmpConfig, RtmpVhost};
pub use door::{Door, OpenDoor};
pub use handshake::{Handshake, HandshakeError};
pub use listener::{serve, serve_behind};
pub use session::{Event, Session, SessionError, StreamRequest};
pub use stats::RtmpStats;
