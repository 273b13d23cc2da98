//! The chunk layer (Adobe's RTMP 1.0, section 5.3): bytes ↔ messages.

mod reader;
mod writer;

use bytes::Bytes;

pub use reader::{ChunkError, ChunkReader, Limits};
pub use writer::{Header, write};

/// Type 0 to 2 headers with this value in the timestamp field carry the timestamp behind them
/// (section 5.3.1.3).
const TIMESTAMP_EXTENDED: u32 = 0xff_ffff;
/// Before either side says otherwise (section 5.4.1).
const CHUNK_SIZE_INITIAL: usize = 128;

/// A message type id (sections 5.4, 6.2 and 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageKind {
    /// 1: from here on the sender's chunks have this size.
    SetChunkSize,
    /// 2: forget the partial message of a chunk stream.
    Abort,
    /// 3: bytes received so far.
    Acknowledgement,
    /// 4: StreamBegin, ping and others.
    UserControl,
    /// 5: acknowledge each time so many bytes came.
    WindowAckSize,
    /// 6: limit of the output.
    SetPeerBandwidth,
    /// 8: one audio tag body.
    Audio,
    /// 9: one video tag body.
    Video,
    /// 15: data in AMF3.
    DataAmf3,
    /// 17: a command in AMF3.
    CommandAmf3,
    /// 18: data in AMF0.
    Data,
    /// 20: a command in AMF0.
    Command,
    /// 22: several messages in one.
    Aggregate,
    /// Something else.
    Other(u8),
}

impl MessageKind {
    /// From the wire.
    pub const fn new(id: u8) -> Self {
        match id {
            1 => Self::SetChunkSize,
            2 => Self::Abort,
            3 => Self::Acknowledgement,
            4 => Self::UserControl,
            5 => Self::WindowAckSize,
            6 => Self::SetPeerBandwidth,
            8 => Self::Audio,
            9 => Self::Video,
            15 => Self::DataAmf3,
            17 => Self::CommandAmf3,
            18 => Self::Data,
            20 => Self::Command,
            22 => Self::Aggregate,
            other => Self::Other(other),
        }
    }

    /// To the wire.
    pub const fn id(self) -> u8 {
        match self {
            Self::SetChunkSize => 1,
            Self::Abort => 2,
            Self::Acknowledgement => 3,
            Self::UserControl => 4,
            Self::WindowAckSize => 5,
            Self::SetPeerBandwidth => 6,
            Self::Audio => 8,
            Self::Video => 9,
            Self::DataAmf3 => 15,
            Self::CommandAmf3 => 17,
            Self::Data => 18,
            Self::Command => 20,
            Self::Aggregate => 22,
            Self::Other(id) => id,
        }
    }
}

/// One message as it came out of its chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub kind: MessageKind,
    /// The message stream it belongs to, 0 for the connection.
    pub stream_id: u32,
    /// Milliseconds, wrapping at 2^32.
    pub timestamp: u32,
    /// The body.
    pub payload: Bytes,
}
