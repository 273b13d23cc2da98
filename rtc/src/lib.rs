//! WebRTC: sans-IO sessions on OS-thread workers over one UDP port.
//!
//! `wire`, `sdp`, `ice`, `dtls`, `srtp` and `session` take bytes and instants and return outputs:
//! they never read a clock, open a socket, lock or spawn. `net` holds the system calls and the
//! only `unsafe`. `worker` is one thread's loop. `handle` is all that the outside sees.
#![deny(unsafe_code)]

pub mod dtls;
pub mod ice;
pub mod net;
pub mod sdp;
pub mod session;
pub mod srtp;
pub mod wire;
pub mod worker;
