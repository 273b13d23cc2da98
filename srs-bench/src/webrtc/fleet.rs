//! Many clients on one thread, each given its turn again and again.

use std::{
    sync::mpsc::{SyncSender, TryRecvError, sync_channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::Io;

/// Clients that wait to be taken up.
const WAITING_MAX: usize = 64;

/// A client as its thread sees it.
pub(super) trait Member: Send + 'static {
    /// Does what has come and what is due.
    fn turn(&mut self, now: Instant, io: &mut Io);
    /// Says goodbye.
    fn leave(&mut self, now: Instant, io: &mut Io);
}

/// The clients' thread. They leave when this is dropped.
pub(super) struct Fleet<M> {
    joining: Option<SyncSender<M>>,
    thread: Option<JoinHandle<()>>,
}

impl<M: Member> Fleet<M> {
    /// Starts the thread; every client gets its turn once in `every`.
    pub(super) fn start(every: Duration) -> Self {
        let (joining, joined) = sync_channel(WAITING_MAX);
        let thread = thread::spawn(move || {
            let (mut io, mut members) = (Io::new(), Vec::new());
            loop {
                let began = Instant::now();
                loop {
                    match joined.try_recv() {
                        Ok(member) => members.push(member),
                        Err(TryRecvError::Empty) => break,
                        Err(TryRecvError::Disconnected) => {
                            members.iter_mut().for_each(|member: &mut M| member.leave(began, &mut io));
                            return;
                        }
                    }
                }
                for member in &mut members {
                    member.turn(began, &mut io);
                }
                thread::sleep(every.saturating_sub(began.elapsed()));
            }
        });
        Self { joining: Some(joining), thread: Some(thread) }
    }

    /// One more.
    pub(super) fn add(&self, member: M) {
        if let Some(joining) = &self.joining {
            let _taken = joining.send(member);
        }
    }
}

impl<M> Drop for Fleet<M> {
    fn drop(&mut self) {
        self.joining = None;
        if let Some(thread) = self.thread.take() {
            let _joined = thread.join();
        }
    }
}
