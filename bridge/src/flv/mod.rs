//! FLV: tag bodies ↔ frames, and the byte stream of an FLV player. Encoding and decoding only;
//! RTMP's media messages are tag bodies too.

mod aac;
mod avc;
mod demux;
mod flow;
mod hevc;
mod metadata;
mod mux;
mod tag;

pub use avc::AvcError;
pub use demux::{Demuxed, Demuxer, TagError};
pub use flow::{Flow, Piece};
pub use metadata::on_metadata;
pub use mux::{Announce, Muxer};
pub use tag::{BodyHead, Tag, TagKind, TagReader, config_head, config_tag, frame_head, frame_tag, header, millis, tag};
