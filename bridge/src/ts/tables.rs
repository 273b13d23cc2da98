//! Program association and program map tables, made once and repeated (H.222.0 2.4.4).

use mpeg2ts::{
    es::StreamType,
    ts::{
        ContinuityCounter, EsInfo, ProgramAssociation, TransportScramblingControl, TsHeader, TsPacket, TsPacketWriter, TsPayload,
        VersionNumber, WriteTsPacket,
        payload::{Pat, Pmt},
    },
};

use super::{Layout, PACKET_BYTES};

/// The identifiers that most muxers use, so that readers with fixed ideas find their streams.
pub(super) const VIDEO_PID: u16 = 0x100;
pub(super) const AUDIO_PID: u16 = 0x101;
const MAP_PID: u16 = 0x1000;
const PROGRAM: u16 = 1;

/// Both tables as whole packets; only their continuity counters change.
#[derive(Debug)]
pub(super) struct Tables {
    association: [u8; PACKET_BYTES],
    map: [u8; PACKET_BYTES],
    counter: u8,
}

impl Tables {
    pub(super) fn new(layout: Layout) -> Self {
        let mut es_info = Vec::new();
        if layout.video {
            es_info.push(stream(StreamType::H264, VIDEO_PID));
        }
        if layout.audio {
            es_info.push(stream(StreamType::AdtsAac, AUDIO_PID));
        }
        let pcr_pid = Some(pid(if layout.video { VIDEO_PID } else { AUDIO_PID }));
        let version_number = VersionNumber::default();
        let association = Pat {
            transport_stream_id: 1,
            version_number,
            table: vec![ProgramAssociation { program_num: PROGRAM, program_map_pid: pid(MAP_PID) }],
        };
        let map = Pmt { program_num: PROGRAM, pcr_pid, version_number, program_info: Vec::new(), es_info };
        Self { association: packet(0, TsPayload::Pat(association)), map: packet(MAP_PID, TsPayload::Pmt(map)), counter: 0 }
    }

    pub(super) fn write(&mut self, out: &mut Vec<u8>) {
        for table in [&mut self.association, &mut self.map] {
            table[3] = 0x10 | self.counter;
            out.extend_from_slice(table);
        }
        self.counter = (self.counter + 1) & 0x0f;
    }
}

fn stream(stream_type: StreamType, number: u16) -> EsInfo {
    EsInfo { stream_type, elementary_pid: pid(number), descriptors: Vec::new() }
}

fn pid(number: u16) -> mpeg2ts::ts::Pid {
    mpeg2ts::ts::Pid::new(number).expect("our identifiers have 13 bits")
}

/// The table in a packet of its own. The writer of the crate stuffs in the adaptation field;
/// tables are stuffed behind the section instead (H.222.0 2.4.4.2), as some readers insist.
fn packet(number: u16, payload: TsPayload) -> [u8; PACKET_BYTES] {
    let header = TsHeader {
        transport_error_indicator: false,
        transport_priority: false,
        pid: pid(number),
        transport_scrambling_control: TransportScramblingControl::NotScrambled,
        continuity_counter: ContinuityCounter::default(),
    };
    let mut writer = TsPacketWriter::new(Vec::with_capacity(PACKET_BYTES));
    writer
        .write_ts_packet(&TsPacket { header, adaptation_field: None, payload: Some(payload) })
        .expect("one program of two streams fits into a packet");
    let written = writer.into_stream();
    let stuffed = usize::from(written[4]) + 1;
    let section = &written[4 + stuffed..];
    let mut packet = [0xff; PACKET_BYTES];
    packet[..4].copy_from_slice(&written[..4]);
    packet[4..4 + section.len()].copy_from_slice(section);
    packet
}
