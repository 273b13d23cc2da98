//! Remuxers between the packets lane and the frames lane.

pub mod h264;
