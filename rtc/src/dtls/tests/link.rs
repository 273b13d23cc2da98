//! The network between two peers: a queue ordered by time of arrival.

use std::time::{Duration, Instant};

use super::super::record;

/// What the link drives.
pub(super) trait Peer {
    fn handle_datagram(&mut self, now: Instant, data: &[u8]);
    fn handle_timeout(&mut self, now: Instant);
    fn poll_timeout(&self) -> Option<Instant>;
    fn poll_transmit(&mut self) -> Option<Vec<u8>>;
}

/// Which way a datagram goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum To {
    First,
    Second,
}

/// A datagram on its way: what to deliver, each with an extra delay.
pub(super) type Fate = Vec<(Duration, Vec<u8>)>;

pub(super) struct Link<'a> {
    pub(super) now: Instant,
    /// Decides what becomes of the n-th datagram (counted over both ways).
    pub(super) fate: Box<dyn FnMut(To, usize, Vec<u8>) -> Fate + 'a>,
    flying: Vec<(Instant, usize, To, Vec<u8>)>,
    count: usize,
}

impl<'a> Link<'a> {
    pub(super) fn new(now: Instant, fate: impl FnMut(To, usize, Vec<u8>) -> Fate + 'a) -> Self {
        Self { now, fate: Box::new(fate), flying: Vec::new(), count: 0 }
    }

    pub(super) fn perfect(now: Instant) -> Self {
        Self::new(now, |_, _, data| vec![(Duration::ZERO, data)])
    }

    /// Runs until nothing happens any more, or for `time`.
    pub(super) fn run(&mut self, first: &mut impl Peer, second: &mut impl Peer, time: Duration) {
        let end = self.now + time;
        loop {
            while let Some(data) = first.poll_transmit() {
                self.send(To::Second, data);
            }
            while let Some(data) = second.poll_transmit() {
                self.send(To::First, data);
            }
            let arrival = self.flying.iter().map(|(at, ..)| *at).min();
            let next = [arrival, first.poll_timeout(), second.poll_timeout()].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            let (now, arrived) = (self.now, |(at, ..): &mut (Instant, usize, To, Vec<u8>)| *at <= next);
            let mut arrived: Vec<_> = self.flying.extract_if(.., arrived).collect();
            arrived.sort_by_key(|(at, index, ..)| (*at, *index));
            for (_, _, to, data) in arrived {
                match to {
                    To::First => first.handle_datagram(now, &data),
                    To::Second => second.handle_datagram(now, &data),
                }
            }
            first.handle_timeout(now);
            second.handle_timeout(now);
        }
    }

    fn send(&mut self, to: To, data: Vec<u8>) {
        let index = self.count;
        self.count += 1;
        for (delay, data) in (self.fate)(to, index, data) {
            self.flying.push((self.now + LATENCY + delay, index, to, data));
        }
    }
}

/// Cuts plaintext handshake messages into pieces of at most `size` bytes, a datagram each.
pub(super) fn cut(datagram: &[u8], size: usize) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for record in record::records(datagram) {
        if record.epoch != 0 || record.content_type != record::HANDSHAKE {
            out.push(record.raw.to_vec());
            continue;
        }
        for fragment in record::fragments(record.body) {
            let mut offset = fragment.offset;
            let pieces: Vec<&[u8]> = if fragment.data.is_empty() { vec![&[]] } else { fragment.data.chunks(size).collect() };
            for piece in pieces {
                let number = 1_000 + out.len() as u64;
                let mut body = vec![fragment.message.message_type];
                body.extend_from_slice(&(fragment.message.length as u32).to_be_bytes()[1..]);
                body.extend_from_slice(&fragment.message.sequence.to_be_bytes());
                body.extend_from_slice(&(offset as u32).to_be_bytes()[1..]);
                body.extend_from_slice(&(piece.len() as u32).to_be_bytes()[1..]);
                body.extend_from_slice(piece);
                let mut raw = Vec::new();
                record::write_record(&mut raw, record::HANDSHAKE, number, &body);
                out.push(raw);
                offset += piece.len();
            }
        }
    }
    out
}

const LATENCY: Duration = Duration::from_millis(5);
