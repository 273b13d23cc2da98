//! The system calls: UDP sockets, batches in and out, TCP connections, and waiting. The only `unsafe`
//! of the project.
//!
//! What comes in is split where the kernel coalesced it (UDP_GRO); what goes out is gathered into
//! messages that the kernel or the card cuts up again (UDP_SEGMENT). Nothing here knows what the
//! bytes mean, and nothing blocks but [`wait`].
#![allow(unsafe_code, reason = "recvmmsg, sendmmsg, their control messages, ppoll, epoll and eventfd have no safe form")]

mod addr;
mod control;
mod recv;
mod send;
mod socket;
mod stream;
mod wait;

pub use recv::{Datagram, Receiver, RecvCounters};
pub use send::{SendCounters, Sender, Target};
pub use socket::{DropCount, Granted, Socket, SocketOptions, is_free};
pub use stream::{Event, Listener, Poller, Stream, is_stream_free};
pub use wait::{SOCKETS_MAX, Waker, wait};

/// The longest datagram taken in, and the room that one packet gets in the send arena: an Ethernet
/// MTU. Media and DTLS flights are cut to 1,200 bytes by us and by browsers alike.
pub const DATAGRAM_MAX: usize = 1_500;

#[cfg(test)]
mod tests;
