//! WebRTC: sans-IO sessions on OS-thread workers over one UDP port, and a TCP port where it is wanted.
//!
//! `wire`, `sdp`, `ice`, `dtls`, `srtp` and `session` take bytes and instants and return outputs:
//! they never read a clock, open a socket, lock or spawn. `net` holds the system calls and the
//! only `unsafe`. `worker` is one thread's loop. `handle` is all that the outside sees.
#![deny(unsafe_code)]

pub mod dtls;
#[doc(hidden)]
pub mod fuzz;
pub mod ice;
pub mod net;
pub mod sdp;
pub mod session;
pub mod srtp;
pub mod wire;

mod candidate;
mod config;
mod error;
mod gate;
mod handle;
mod homes;
mod live;
mod lobby;
mod names;
mod opening;
mod past;
mod record;
mod report;
mod stats;
mod timeline;
mod worker;

pub use candidate::{Candidate, CandidateError};
pub use config::{OwnAddresses, Protocols, RtcConfig};
pub use error::{AnswerError, OpenError, RestartError, StartError};
pub use handle::{Restarted, RtcHandle, RtcServer};
pub use ice::{CONSENT_MIN, CONSENT_TIMEOUT};
pub use live::ReconfigureError;
pub use opening::{OpenRequest, Opened};
pub use record::SessionInfo;
pub use report::SessionReport;
pub use stats::{RtcStats, SessionTotals, StreamCounters, Traffic};
pub use timeline::{EndReason, Event, Moment, Named, Stage};
