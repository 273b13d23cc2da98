//! RTMP: publishers and players over TCP.

pub mod amf0;
pub mod chunk;
