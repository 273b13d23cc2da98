//! WHEP viewers: they check and decrypt every packet, count it and the holes in the sequence
//! numbers, and report reception once a second as a browser does.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::bail;
use weir_rtc::wire::rtcp::{self, ReportBlock};

use super::{
    Cipher, Client, Io, Plain, Security,
    fleet::{Fleet, Member},
    sdp::{Answer, Offer, Wish},
};
use crate::http::{Api, Resource};

/// How often all sockets are looked at: packets of a frame come together, and a jitter buffer
/// would not notice.
const TURN: Duration = Duration::from_millis(8);
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// What all viewers together have received.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counted {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) lost: u64,
}

impl Counted {
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self {
            packets: self.packets - earlier.packets,
            bytes: self.bytes - earlier.bytes,
            lost: self.lost.saturating_sub(earlier.lost),
        }
    }
}

#[derive(Default)]
struct Shared {
    security: Security,
    packets: AtomicU64,
    bytes: AtomicU64,
    lost: AtomicU64,
    receiving: AtomicUsize,
}

/// The viewers of one stream; they leave when dropped.
pub(crate) struct Viewers {
    shared: Arc<Shared>,
    wanted: usize,
    coalesce: bool,
    _fleet: Fleet<Viewer>,
}

impl Viewers {
    /// Opens `count` WHEP sessions and starts receiving.
    pub(crate) fn connect(api: SocketAddr, app: &str, stream: &str, count: usize, cipher: Cipher) -> anyhow::Result<Self> {
        let identity = cipher.identity()?;
        let shared = Arc::new(Shared::default());
        let (api, fleet) = (Api::new(api)?, Fleet::start(TURN));
        let mut coalesce = true;
        for index in 0..count {
            let offer = Offer::new(index, &identity.fingerprint_sha256(), Wish::Receive);
            let answer = Answer::read(&api.negotiate(Resource::Whep, app, stream, offer.sdp)?)?;
            let client = Client::new(&identity, &offer.ufrag, &answer)?;
            coalesce &= client.coalesces();
            shared.security.admit(index);
            fleet.add(Viewer::new(client, Arc::clone(&shared)));
        }
        Ok(Self { shared, wanted: count, coalesce, _fleet: fleet })
    }

    /// Waits until each viewer has had media.
    pub(crate) fn wait_until_all_receive(&self, timeout: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + timeout;
        while self.shared.receiving.load(Ordering::Relaxed) < self.wanted {
            if Instant::now() > deadline {
                bail!("only {} of {} viewers received media", self.shared.receiving.load(Ordering::Relaxed), self.wanted);
            }
            thread::sleep(Duration::from_millis(20));
        }
        thread::sleep(Duration::from_secs(2));
        Ok(())
    }

    pub(crate) fn counted(&self) -> Counted {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counted { packets: of(&self.shared.packets), bytes: of(&self.shared.bytes), lost: of(&self.shared.lost) }
    }

    /// Which SRTP profile was negotiated, and how many packets did not pass it.
    pub(crate) fn cipher(&self) -> String {
        self.shared.security.describe(self.wanted)
    }

    /// All of them have the kernel coalesce what they receive (UDP_GRO).
    pub(crate) fn coalesce(&self) -> bool {
        self.coalesce
    }
}

struct Viewer {
    client: Client,
    shared: Arc<Shared>,
    streams: Vec<Stream>,
    next_report: Instant,
}

struct Stream {
    ssrc: u32,
    highest: u64,
}

impl Viewer {
    fn new(client: Client, shared: Arc<Shared>) -> Self {
        Self { client, shared, streams: Vec::new(), next_report: Instant::now() }
    }

    fn report(&mut self, io: &mut Io) {
        let block = |stream: &Stream| ReportBlock {
            ssrc: stream.ssrc,
            highest_sequence: stream.highest as u32,
            ..ReportBlock::default()
        };
        let blocks: Vec<ReportBlock> = self.streams.iter().map(block).collect();
        let mut plain = Vec::new();
        rtcp::emit_rr(1, &blocks, &mut plain);
        self.client.send_rtcp(io, &plain);
    }
}

impl Member for Viewer {
    fn turn(&mut self, now: Instant, io: &mut Io) {
        let (shared, streams) = (&self.shared, &mut self.streams);
        self.client.receive(now, io, &shared.security, |plain| {
            if let Plain::Rtp { index, ssrc, len } = plain {
                take(streams, shared, ssrc, index, len);
            }
        });
        if now >= self.next_report && self.client.is_connected() {
            self.next_report = now + REPORT_EVERY;
            self.report(io);
        }
    }

    fn leave(&mut self, now: Instant, io: &mut Io) {
        self.client.leave(now, io);
    }
}

fn take(streams: &mut Vec<Stream>, shared: &Shared, ssrc: u32, index: u64, len: usize) {
    shared.packets.fetch_add(1, Ordering::Relaxed);
    shared.bytes.fetch_add(len as u64, Ordering::Relaxed);
    if streams.is_empty() {
        shared.receiving.fetch_add(1, Ordering::Relaxed);
    }
    match streams.iter_mut().find(|stream| stream.ssrc == ssrc) {
        Some(stream) if index > stream.highest => {
            shared.lost.fetch_add(index - stream.highest - 1, Ordering::Relaxed);
            stream.highest = index;
        }
        Some(_) => {
            shared.lost.fetch_sub(1, Ordering::Relaxed);
        }
        None => streams.push(Stream { ssrc, highest: index }),
    }
}
