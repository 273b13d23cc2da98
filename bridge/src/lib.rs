//! Bridges: RTMP, FLV, MPEG-TS and HLS, the remuxers between packets and frames, and the audio
//! transcoders that they need. All of them meet only at the hub (`weir_source`).
#![forbid(unsafe_code)]

mod begin;
pub mod flv;
pub mod hls;
mod reader;
pub mod remux;
pub mod rtmp;
pub mod sound;
pub mod transcode;
pub mod ts;

pub use begin::Begin;
pub use reader::{FrameReader, LaneReader, NotifyWake, PacketReader};
