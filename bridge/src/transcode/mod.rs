//! AAC ↔ Opus on threads of its own, bounded on both sides, run only while somebody needs it.
//!
//! A [`Transcoder`] is one stream's way through a [`Pool`]: coded frames go in with the time when
//! they sound, coded frames come out with the time when those sound. What codecs and resampler
//! delay is taken off again, so that picture and sound stay together.

mod chain;
mod clock;
mod decode;
mod encode;
mod job;
mod pool;
mod resample;

pub use chain::Coded;
pub(crate) use decode::opus_samples;
pub use encode::Bitrates;
pub use job::Transcoder;
pub use pool::{OpenError, Pool, PoolStats};

/// The one rate inside and behind the transcoder in Hz: Opus knows no other (RFC 7587 4.1).
pub const RATE: u32 = 48_000;
/// The channels inside and behind the transcoder.
const CHANNELS: usize = 2;
