//! H.264: access units to RTP payloads and back (RFC 6184, packetization mode 1). Pure: no clock,
//! no task, no lock.

mod assemble;
mod nal;
mod packetize;
mod parameters;
mod sps;

pub use assemble::{AssembleStats, Assembler};
pub use packetize::{PAYLOAD_MAX, PacketizeStats, Packetizer};
pub use parameters::{ConfigError, ParameterSets};
pub use sps::video_info;
