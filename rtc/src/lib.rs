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

mod candidate;
mod config;
mod error;
mod handle;
mod lobby;
mod record;
mod stats;
mod worker;

pub use candidate::{Candidate, CandidateError};
pub use config::RtcConfig;
pub use error::{OpenError, StartError};
pub use handle::{OpenRequest, Opened, RtcHandle, RtcServer};
pub use record::SessionInfo;
pub use stats::{RtcStats, Traffic};
