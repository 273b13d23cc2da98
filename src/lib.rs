//! Weir's assembly: the only crate that knows all the others.
//!
//! Invariants of the house, each with its reason:
//!
//! 1. WebRTC's `session` and below never read a clock, do I/O, lock or spawn: two peers run in a
//!    unit test in microseconds, over a seeded lossy link.
//! 2. A peer is touched by one thread for its whole life: no lock guards its state.
//! 3. Nothing per packet crosses a thread; batches do: a wake-up costs more than a packet.
//! 4. Per packet and viewer there is no lock, no allocation, no log line and no look-up by string:
//!    this is the product that 1,000 viewers multiply.
//! 5. A lane that nobody reads costs nothing: no remuxer, no transcoder.
//! 6. A slow reader loses its own data and nobody else's. Publishers never wait.
//! 7. Every bound is a named constant or a configuration key, and every overflow is counted.
//! 8. No input from the network can panic; a panic in one peer's turn closes that peer only.
//! 9. Only the HTTP front and the RTMP listener know names; below them all is handles.
#![forbid(unsafe_code)]

mod args;
pub mod config;
pub mod log;
mod observed;
pub mod process;
mod pulse;
mod server;
#[cfg(feature = "otel")]
mod traces;

pub use args::{Args, Command, ConfigCommand};
pub use config::{Config, ConfigError};
pub use server::{ConfigSource, Server, Start};
