//! Publishers in virtual time, each with a source of its own, and what the server spends on them.
//!
//! A publisher sends a packet a millisecond at most, as a pacer would: some twenty of 150 in each turn
//! of a worker. What browsers do is made outside the time that counts, and ahead of it, so that it
//! leaves the caches alone for the most part.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use weir_rtc::{dtls::Identity, session::Output, srtp::SrtpProfile};
use weir_source::Packet;

use super::{
    parts::{
        client::SERVER,
        netem::Weather,
        world::{PublisherEnd, World},
    },
    thread_cpu,
};

/// A worker with something to do takes in this often what has come.
const TURN: Duration = Duration::from_millis(1);
/// What browsers make at a time.
const AHEAD: Duration = Duration::from_millis(100);
/// Frames from one keyframe to the next: two seconds.
const GOP: u64 = 50;
/// Room for one datagram, as the receive slab has it for small ones: a page each.
const SLOT: usize = 4_096;

/// What a run took.
pub(super) struct Spent {
    cpu: Duration,
    packets: u64,
}

impl Spent {
    pub(super) fn nanos_per_packet(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e9 / self.packets.max(1) as f64
    }
}

/// Connected publishers.
pub(super) struct Studio {
    now: Instant,
    seats: Vec<Seat>,
    /// Datagrams of a turn: whose, and how long. Their bytes are in `slab`, in the same order.
    came: Vec<(usize, usize)>,
    slab: Vec<u8>,
    batch: Vec<Packet>,
}

struct Seat {
    end: PublisherEnd,
    /// Made so far, and not taken in yet.
    wire: VecDeque<(Instant, Vec<u8>)>,
    made_until: Instant,
    /// When its session wants to be called.
    due: Option<Instant>,
}

impl Studio {
    pub(super) fn new(profile: SrtpProfile, publishers: usize) -> Self {
        let browser = Identity::offering(&[profile]).expect("randomness");
        let now = Instant::now() + Duration::from_secs(60);
        let seats = (0..publishers).map(|n| Seat::new(&browser, now, n)).collect();
        Self { now, seats, came: Vec::new(), slab: vec![0; SLOT * publishers], batch: Vec::new() }
    }

    /// Turns for so long of media time.
    pub(super) fn run(&mut self, time: Duration) -> Spent {
        let mut spent = Spent { cpu: Duration::ZERO, packets: 0 };
        let end = self.now + time;
        while self.now < end {
            let until = self.now + AHEAD;
            self.seats.iter_mut().for_each(|seat| seat.make(until));
            while self.now < until {
                self.now += TURN;
                self.deliver();
                let before = thread_cpu();
                self.take_in();
                spent.cpu += thread_cpu().saturating_sub(before);
                spent.packets += self.came.len() as u64;
            }
        }
        spent
    }

    /// What the kernel does in one turn.
    fn deliver(&mut self) {
        self.came.clear();
        for (place, seat) in self.seats.iter_mut().enumerate() {
            if let Some((_, data)) = seat.wire.pop_front_if(|(at, _)| *at <= self.now) {
                let at = self.came.len() * SLOT;
                self.slab[at..at + data.len()].copy_from_slice(&data);
                self.came.push((place, data.len()));
            }
        }
    }

    /// What a worker does in one turn: datagrams, the peers that they touched, timers.
    fn take_in(&mut self) {
        for (slot, (place, len)) in self.slab.chunks_mut(SLOT).zip(&self.came) {
            let wire = &mut self.seats[*place].end.wire;
            wire.session.handle_datagram(self.now, wire.client.address, SERVER, &mut slot[..*len]);
        }
        for (place, _) in &self.came {
            self.seats[*place].settle(self.now, &mut self.batch);
        }
        for seat in &mut self.seats {
            if seat.due.is_some_and(|due| due <= self.now) {
                seat.end.wire.session.handle_timeout(self.now);
                seat.settle(self.now, &mut self.batch);
            }
        }
    }
}

impl Seat {
    /// A publisher who is connected by `now`. Not all make their pictures at one moment.
    fn new(browser: &Identity, now: Instant, n: usize) -> Self {
        let mut world = World::with_browsers(browser.clone());
        world.now = now - Duration::from_millis(1_000 + n as u64 * 7 % 40);
        world.publish(Weather::FINE).camera.gop = GOP;
        world.run(now - world.now);
        let end = world.publisher.take().expect("it publishes");
        assert!(end.wire.session.is_connected());
        Self { end, wire: VecDeque::new(), made_until: now, due: None }
    }

    /// The browser's part: media, reports and checks up to `until`.
    fn make(&mut self, until: Instant) {
        let PublisherEnd { wire, camera, .. } = &mut self.end;
        while self.made_until < until {
            self.made_until += TURN;
            camera.poll(self.made_until, &mut wire.client);
            wire.client.poll(self.made_until);
            self.wire.extend(wire.client.take_out().into_iter().map(|data| (self.made_until, data)));
        }
    }

    /// Outputs are drained, and packets enter the ring.
    fn settle(&mut self, now: Instant, batch: &mut Vec<Packet>) {
        let PublisherEnd { wire, handle, .. } = &mut self.end;
        while let Some(output) = wire.session.poll_output() {
            if let Output::Tracks(tracks) = output {
                assert!(handle.set_tracks(tracks));
            }
        }
        wire.session.take_packets(batch);
        assert!(handle.push(batch, now));
        self.due = wire.session.poll_timeout();
    }
}
