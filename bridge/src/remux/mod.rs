//! Remuxers between the packets lane and the frames lane.

pub mod aac;
pub(crate) mod bits;
pub mod h264;
