//! A thread that drives WebRTC clients: it looks at the sockets that have something, at the clients
//! whose time has come, and rests in between, the longer the more there are.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    iter,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use weir_rtc::{
    net::{Event, Poller, Waker, wait},
    wire::demux::{Class, classify},
};

use super::{client::Client, transport::Io};
use crate::measure::{Recorder, Tally};

/// The rest between two looks, for each client: what comes in it is read at once, with the datagrams
/// of a frame coalesced.
const TURN_EACH: Duration = Duration::from_micros(4);
const TURN_MIN: Duration = Duration::from_millis(1);
const TURN_MAX: Duration = Duration::from_millis(10);
/// Messages of 32 batches from one socket, before the others have their turn.
const BATCHES_MAX: usize = 8;

/// What a fleet is told.
pub(super) enum Command {
    /// One more client, under a number that no other has.
    Join(u64, Box<Client>),
    /// The client with this number leaves.
    Leave(u64),
}

/// The way to a fleet's thread, which ends with the last of these.
#[derive(Clone)]
pub(super) struct Fleet {
    shared: Arc<Shared>,
    _ends: Arc<Ends>,
}

struct Shared {
    /// At most one joining and one leaving of each client.
    commands: Mutex<Inbox>,
    waker: Waker,
}

#[derive(Default)]
struct Inbox {
    commands: Vec<Command>,
    over: bool,
}

struct Ends {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Fleet {
    pub(super) fn start(number: usize, recorder: Recorder) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared { commands: Mutex::default(), waker: Waker::new()? });
        let crew = Crew {
            shared: Arc::clone(&shared),
            recorder,
            poller: Poller::new()?,
            io: Io::new(),
            members: HashMap::new(),
            timers: BinaryHeap::new(),
            events: Vec::new(),
        };
        let thread = thread::Builder::new().name(format!("fleet-{number}")).spawn(move || crew.run()).context("no thread")?;
        let ends = Ends { shared: Arc::clone(&shared), thread: Some(thread) };
        Ok(Self { shared, _ends: Arc::new(ends) })
    }

    pub(super) fn tell(&self, command: Command) {
        self.shared.commands.lock().unwrap_or_else(PoisonError::into_inner).commands.push(command);
        self.shared.waker.wake();
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        self.shared.commands.lock().unwrap_or_else(PoisonError::into_inner).over = true;
        self.shared.waker.wake();
        if let Some(thread) = self.thread.take() {
            let _joined = thread.join();
        }
    }
}

/// The thread's own.
struct Crew {
    shared: Arc<Shared>,
    recorder: Recorder,
    poller: Poller,
    io: Io,
    members: HashMap<u64, Box<Client>>,
    /// Each client is in here once or, when its time moved forward, more often: the others are skipped.
    timers: BinaryHeap<Reverse<(Instant, u64)>>,
    events: Vec<Event>,
}

impl Crew {
    fn run(mut self) {
        loop {
            let next = self.timers.peek().map(|Reverse((at, _))| at.saturating_duration_since(Instant::now()));
            wait(iter::empty(), Some(&self.poller), &self.shared.waker, next);
            let began = Instant::now();
            if self.turn(began) {
                return;
            }
            let turn = TURN_EACH.saturating_mul(u32::try_from(self.members.len()).unwrap_or(u32::MAX));
            thread::sleep(turn.clamp(TURN_MIN, TURN_MAX).saturating_sub(began.elapsed()));
        }
    }

    /// Does all there is to do now; whether that was the last time.
    fn turn(&mut self, now: Instant) -> bool {
        let recorder = self.recorder.clone();
        let tally = &mut *recorder.lock();
        let over = self.follow_commands(now, tally);
        self.receive(tally);
        self.keep_time(tally);
        if over {
            self.members.values_mut().for_each(|client| client.leave(now, &mut self.io.sender, tally));
        }
        over
    }

    fn follow_commands(&mut self, now: Instant, tally: &mut Tally) -> bool {
        let (commands, over) = {
            let mut inbox = self.shared.commands.lock().unwrap_or_else(PoisonError::into_inner);
            (std::mem::take(&mut inbox.commands), inbox.over)
        };
        for command in commands {
            match command {
                Command::Join(number, client) => {
                    // Refused by the kernel (no memory), it hears nothing and fails in time.
                    let _watched = self.poller.add_socket(client.socket(), number);
                    self.timers.push(Reverse((client.due(), number)));
                    self.members.insert(number, client);
                }
                Command::Leave(number) => {
                    if let Some(mut client) = self.members.remove(&number) {
                        client.leave(now, &mut self.io.sender, tally);
                    }
                }
            }
        }
        over
    }

    /// Reads from each socket that has something, once around.
    fn receive(&mut self, tally: &mut Tally) {
        let mut events = std::mem::take(&mut self.events);
        let mut looks = self.members.len() / 64 + 1;
        loop {
            self.poller.poll(&mut events);
            for event in &events {
                self.receive_one(event.token, tally);
            }
            looks -= 1;
            if events.len() < EVENTS_FULL || looks == 0 {
                break;
            }
        }
        self.events = events;
    }

    fn receive_one(&mut self, number: u64, tally: &mut Tally) {
        let Some(client) = self.members.get_mut(&number) else { return };
        let mut done = Ok(());
        for _ in 0..BATCHES_MAX {
            let more = self.io.receiver.recv(client.socket());
            let now = Instant::now();
            // The datagrams borrow the receiver; what is said in answer needs the sender.
            let Io { receiver, sender } = &mut self.io;
            for datagram in receiver.datagrams() {
                done = match classify(datagram.data) {
                    Class::Stun => client.handle_stun(now, datagram.remote, datagram.data, sender),
                    Class::Dtls => client.handle_dtls(now, datagram.data, sender, tally),
                    Class::Rtp => client.handle_rtp(now, datagram.data, tally),
                    Class::Rtcp => client.handle_rtcp(now, datagram.data, sender, tally),
                    Class::Unknown => Ok(()),
                };
                if done.is_err() {
                    break;
                }
            }
            if !more || done.is_err() {
                break;
            }
        }
        match done {
            Ok(()) => {
                if let Some(sooner) = client.sooner(Instant::now()) {
                    self.timers.push(Reverse((sooner, number)));
                }
            }
            Err(failure) => {
                client.fail(&failure, tally);
                self.members.remove(&number);
            }
        }
    }

    fn keep_time(&mut self, tally: &mut Tally) {
        let now = Instant::now();
        while let Some(&Reverse((at, number))) = self.timers.peek().filter(|Reverse((at, _))| *at <= now) {
            self.timers.pop();
            let Some(client) = self.members.get_mut(&number) else { continue };
            // Another entry is the valid one.
            if client.due() != at {
                continue;
            }
            match client.handle_timeout(now, &mut self.io.sender, &self.poller, number, tally) {
                Ok(true) => self.timers.push(Reverse((client.schedule(now), number))),
                Ok(false) => {
                    client.leave(now, &mut self.io.sender, tally);
                    self.members.remove(&number);
                }
                Err(failure) => {
                    client.fail(&failure, tally);
                    self.members.remove(&number);
                }
            }
        }
    }
}

/// As many as a poller tells at a time: there may be more.
const EVENTS_FULL: usize = 128;
