//! WHIP publishers: H.264 and Opus packets in real time at a pacer's distance, sender reports, and
//! answers to NACK and PLI, as a browser gives them.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::bail;
use weir_rtc::wire::{
    Ntp,
    ext::{AbsSendTime, Values},
    rtcp::{self, Compound, Rtcp, SenderInfo},
    rtp::Fields,
};

use super::{
    Cipher, Client, Io, Plain, Security,
    fleet::{Fleet, Member},
    sdp::{AUDIO_MID, Answer, H264_PT, OPUS_PT, Offer, VIDEO_MID, Wish, extension_ids},
};
use crate::{
    http::{Api, Resource},
    media::{Pictures, Shape, rtp},
};

const TURN: Duration = Duration::from_millis(1);
/// Between the packets of a picture: what libwebrtc's pacer makes of a full packet at 2.5 times
/// this bitrate.
const PACE: Duration = Duration::from_millis(5);
const SOUND_EVERY: Duration = Duration::from_millis(20);
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// Packets of a stream that a NACK can ask for.
const KEPT_MAX: usize = 256;
/// A publisher that was not given time drops what is older, or it would send a burst.
const QUEUE_MAX: usize = 256;

/// What all publishers together have sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counted {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    /// What the server's reports call lost.
    pub(crate) lost: i64,
    /// Packets that the server asked for again.
    pub(crate) nacked: u64,
    /// Keyframes that it asked for.
    pub(crate) plis: u64,
}

impl Counted {
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self {
            packets: self.packets - earlier.packets,
            bytes: self.bytes - earlier.bytes,
            lost: self.lost - earlier.lost,
            nacked: self.nacked - earlier.nacked,
            plis: self.plis - earlier.plis,
        }
    }
}

#[derive(Default)]
struct Shared {
    security: Security,
    packets: AtomicU64,
    bytes: AtomicU64,
    lost: AtomicI64,
    nacked: AtomicU64,
    plis: AtomicU64,
}

/// The publishers; they leave when dropped.
pub(crate) struct Publishers {
    shared: Arc<Shared>,
    wanted: usize,
    _fleet: Fleet<Publisher>,
}

impl Publishers {
    /// Opens a WHIP session for each of `streams` and starts sending.
    pub(crate) fn start(api: SocketAddr, app: &str, streams: &[String], shape: Shape, cipher: Cipher) -> anyhow::Result<Self> {
        let identity = cipher.identity()?;
        let shared = Arc::new(Shared::default());
        let (api, fleet) = (Api::new(api)?, Fleet::start(TURN));
        for (index, stream) in streams.iter().enumerate() {
            let ssrcs = [rand::random(), rand::random()];
            let offer = Offer::new(index, &identity.fingerprint_sha256(), Wish::Send(ssrcs));
            let answer = Answer::read(&api.negotiate(Resource::Whip, app, stream, offer.sdp)?)?;
            let client = Client::new(&identity, &offer.ufrag, &answer)?;
            shared.security.admit(index);
            fleet.add(Publisher::new(client, ssrcs, shape, Arc::clone(&shared)));
        }
        Ok(Self { shared, wanted: streams.len(), _fleet: fleet })
    }

    /// Waits until all are connected, and a group of pictures longer.
    pub(crate) fn wait_until_all_send(&self, timeout: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + timeout;
        while self.shared.security.connected() < self.wanted {
            if Instant::now() > deadline {
                bail!("only {} of {} publishers connected", self.shared.security.connected(), self.wanted);
            }
            thread::sleep(Duration::from_millis(20));
        }
        thread::sleep(Duration::from_secs(3));
        Ok(())
    }

    pub(crate) fn counted(&self) -> Counted {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counted {
            packets: of(&self.shared.packets),
            bytes: of(&self.shared.bytes),
            lost: self.shared.lost.load(Ordering::Relaxed),
            nacked: of(&self.shared.nacked),
            plis: of(&self.shared.plis),
        }
    }

    /// Which SRTP profile was negotiated, and how many packets did not pass it.
    pub(crate) fn cipher(&self) -> String {
        self.shared.security.describe(self.wanted)
    }
}

struct Publisher {
    client: Client,
    shared: Arc<Shared>,
    pictures: Pictures,
    sounds: u64,
    audio: Stream,
    video: Stream,
    transport_seq: u16,
    /// When the stream begins: somewhere in the first group of pictures, for not all to send
    /// their keyframes at once.
    start: Option<Instant>,
    wall: Ntp,
    /// Packets that wait for their time, in its order.
    queue: VecDeque<Due>,
    next_report: Instant,
}

/// One packet and when it leaves.
struct Due {
    at: Instant,
    video: bool,
    marker: bool,
    timestamp: u32,
    payload: Vec<u8>,
}

/// What the server has to say of the streams.
#[derive(Default)]
struct Heard {
    nacks: Vec<(u32, u16)>,
    keyframe: bool,
    lost: Vec<(u32, i32)>,
}

impl Publisher {
    fn new(client: Client, [audio, video]: [u32; 2], shape: Shape, shared: Arc<Shared>) -> Self {
        Self {
            client,
            shared,
            pictures: Pictures::new(shape, rtp::SOUND_KBPS),
            sounds: 0,
            audio: Stream::new(audio, OPUS_PT, AUDIO_MID, 48_000),
            video: Stream::new(video, H264_PT, VIDEO_MID, 90_000),
            transport_seq: 0,
            start: None,
            wall: Ntp::default(),
            queue: VecDeque::new(),
            next_report: Instant::now(),
        }
    }

    fn begin(&mut self, now: Instant) -> Instant {
        let delay = Duration::from_millis(rand::random::<u64>() % 2_000);
        let start = now + delay;
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.wall = Ntp::from_unix(unix + delay);
        self.next_report = start + REPORT_EVERY / 4;
        *self.start.insert(start)
    }

    /// Makes what is due by now.
    fn capture(&mut self, now: Instant, start: Instant) {
        while start + self.pictures.due() <= now {
            let picture = self.pictures.next();
            let timestamp = self.video.timestamp(picture.at);
            let payloads = rtp::of_picture(&picture);
            let last = payloads.len().saturating_sub(1);
            for (place, payload) in payloads.into_iter().enumerate() {
                let at = start + picture.at + PACE * place as u32;
                self.push(Due { at, video: true, marker: place == last, timestamp, payload });
            }
        }
        while start + SOUND_EVERY * self.sounds as u32 <= now {
            let at = SOUND_EVERY * self.sounds as u32;
            let timestamp = self.audio.timestamp(at);
            let payload = rtp::of_sound(self.sounds);
            self.push(Due { at: start + at, video: false, marker: false, timestamp, payload });
            self.sounds += 1;
        }
    }

    fn push(&mut self, due: Due) {
        if self.queue.len() < QUEUE_MAX {
            let place = self.queue.partition_point(|other| other.at <= due.at);
            self.queue.insert(place, due);
        }
    }

    fn send_due(&mut self, now: Instant, start: Instant, io: &mut Io) {
        while let Some(due) = self.queue.pop_front_if(|due| due.at <= now) {
            let sent = AbsSendTime::from_ntp(self.wall.plus(now.saturating_duration_since(start)));
            let stream = if due.video { &mut self.video } else { &mut self.audio };
            let len = stream.send(&self.client, io, &due, self.transport_seq, sent);
            self.transport_seq = self.transport_seq.wrapping_add(1);
            self.shared.packets.fetch_add(1, Ordering::Relaxed);
            self.shared.bytes.fetch_add(len as u64, Ordering::Relaxed);
        }
    }

    fn answer(&mut self, io: &mut Io, heard: &Heard) {
        for (ssrc, seq) in &heard.nacks {
            self.shared.nacked.fetch_add(1, Ordering::Relaxed);
            for stream in [&self.audio, &self.video].into_iter().filter(|stream| stream.ssrc == *ssrc) {
                stream.resend(&self.client, io, *seq);
            }
        }
        if heard.keyframe {
            self.shared.plis.fetch_add(1, Ordering::Relaxed);
            self.pictures.force_keyframe();
        }
        for (ssrc, lost) in &heard.lost {
            for stream in [&mut self.audio, &mut self.video].into_iter().filter(|stream| stream.ssrc == *ssrc) {
                self.shared.lost.fetch_add(i64::from(lost - stream.lost), Ordering::Relaxed);
                stream.lost = *lost;
            }
        }
    }

    /// RFC 3550 6.4: a sender report of each stream, with its name.
    fn report(&mut self, now: Instant, start: Instant, io: &mut Io) {
        let since = now.saturating_duration_since(start);
        for stream in [&self.audio, &self.video] {
            let info = SenderInfo {
                ssrc: stream.ssrc,
                ntp: self.wall.plus(since),
                rtp_timestamp: stream.timestamp(since),
                packets: stream.packets,
                octets: stream.octets,
            };
            let mut plain = Vec::new();
            rtcp::emit_sr(&info, &[], &mut plain);
            rtcp::emit_sdes_cname(stream.ssrc, "bench", &mut plain);
            self.client.send_rtcp(io, &plain);
        }
    }
}

impl Member for Publisher {
    fn turn(&mut self, now: Instant, io: &mut Io) {
        let mut heard = Heard::default();
        self.client.receive(now, io, &self.shared.security, |plain| {
            if let Plain::Rtcp(data) = plain {
                heard.read(data);
            }
        });
        if !self.client.is_connected() {
            return;
        }
        self.answer(io, &heard);
        let start = self.start.unwrap_or_else(|| self.begin(now));
        self.capture(now, start);
        self.send_due(now, start, io);
        if now >= self.next_report {
            self.next_report += REPORT_EVERY;
            self.report(now, start, io);
        }
    }

    fn leave(&mut self, now: Instant, io: &mut Io) {
        self.client.leave(now, io);
    }
}

impl Heard {
    fn read(&mut self, data: &[u8]) {
        for packet in Compound::new(data) {
            match packet {
                Rtcp::Nack(nack) => self.nacks.extend(nack.lost().map(|seq| (nack.media_ssrc, seq))),
                Rtcp::Pli { .. } | Rtcp::Fir(_) => self.keyframe = true,
                Rtcp::Rr(report) => self.lost.extend(report.blocks().map(|block| (block.ssrc, block.cumulative_lost))),
                _ => {}
            }
        }
    }
}

/// One SSRC of a publisher.
struct Stream {
    ssrc: u32,
    payload_type: u8,
    mid: &'static str,
    clock_rate: u32,
    first_timestamp: u32,
    index: u64,
    packets: u32,
    octets: u32,
    /// As the server's last report says.
    lost: i32,
    /// Index, header and payload of what was sent lately.
    kept: VecDeque<(u64, Vec<u8>, Vec<u8>)>,
}

impl Stream {
    fn new(ssrc: u32, payload_type: u8, mid: &'static str, clock_rate: u32) -> Self {
        Self {
            ssrc,
            payload_type,
            mid,
            clock_rate,
            first_timestamp: rand::random(),
            index: rand::random::<u64>() % (1 << 15),
            packets: 0,
            octets: 0,
            lost: 0,
            kept: VecDeque::new(),
        }
    }

    fn timestamp(&self, at: Duration) -> u32 {
        let ticks = at.as_micros() * u128::from(self.clock_rate) / 1_000_000;
        self.first_timestamp.wrapping_add(ticks as u32)
    }

    fn send(&mut self, client: &Client, io: &mut Io, due: &Due, transport_seq: u16, sent: AbsSendTime) -> usize {
        let values =
            Values { mid: Some(self.mid), transport_seq: Some(transport_seq), abs_send_time: Some(sent), ..Values::default() };
        let fields = Fields {
            marker: due.marker,
            payload_type: self.payload_type,
            sequence: self.index as u16,
            timestamp: due.timestamp,
            ssrc: self.ssrc,
        };
        let mut header = [0; 64];
        let Some(len) = fields.emit_with(false, &values, &extension_ids(), &mut header) else { return 0 };
        client.send_rtp(io, self.index, &header[..len], &due.payload);
        if self.kept.len() >= KEPT_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back((self.index, header[..len].to_vec(), due.payload.clone()));
        self.index += 1;
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(due.payload.len() as u32);
        len + due.payload.len()
    }

    fn resend(&self, client: &Client, io: &mut Io, wire_seq: u16) {
        if let Some((index, header, payload)) = self.kept.iter().find(|(index, ..)| *index as u16 == wire_seq) {
            client.send_rtp(io, *index, header, payload);
        }
    }
}
