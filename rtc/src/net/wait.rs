//! Waiting: for datagrams, for another thread, or for a time.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    ptr,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use super::{Poller, Socket};

/// Wakes one waiting thread from others. Calls coalesce, and while the thread is awake a call costs
/// two atomic operations and no system call.
#[derive(Debug)]
pub struct Waker {
    event: File,
    notified: AtomicBool,
    asleep: AtomicBool,
}

impl Waker {
    /// A waker that nobody has called yet.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers; the result is checked.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a fresh descriptor that nobody else owns.
        let event = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
        Ok(Self { event, notified: AtomicBool::new(false), asleep: AtomicBool::new(false) })
    }

    /// Ends the present or the next [`wait`].
    pub fn wake(&self) {
        // The waiter announces its sleep before it looks for a notice, and we leave the notice
        // before we look whether it sleeps: one of the two sees the other.
        if !self.notified.swap(true, Ordering::SeqCst) && self.asleep.load(Ordering::SeqCst) {
            // Full means notified already.
            let _full = (&self.event).write(&1u64.to_ne_bytes());
        }
    }

    fn drain(&self) {
        let _empty = (&self.event).read(&mut [0; 8]);
    }
}

/// The most sockets that one thread waits for: IPv4 and IPv6, each public and loopback.
pub const SOCKETS_MAX: usize = 4;

/// Sleeps until one of the first four `sockets` is readable, `poller` has something to say, `waker`
/// was called, or `timeout` has passed (`None`: for ever). May return early for no reason.
pub fn wait<'a>(sockets: impl Iterator<Item = &'a Socket>, poller: Option<&Poller>, waker: &Waker, timeout: Option<Duration>) {
    let entry = |fd: RawFd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let mut fds = [entry(-1); SOCKETS_MAX + 2];
    fds[0] = entry(waker.event.as_raw_fd());
    fds[1] = entry(poller.map_or(-1, Poller::raw));
    for (place, socket) in fds.iter_mut().skip(2).zip(sockets) {
        *place = entry(socket.raw());
    }
    waker.asleep.store(true, Ordering::SeqCst);
    let timeout = if waker.notified.load(Ordering::SeqCst) { Some(Duration::ZERO) } else { timeout };
    let limit = timeout.map(|timeout| libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(timeout.subsec_nanos()),
    });
    let limit = limit.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: `fds` is so many pollfds, entries of -1 are skipped; `limit` is null or points to a
    // timespec that outlives the call; no signal mask.
    let ready = unsafe { libc::ppoll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, limit, ptr::null()) };
    waker.asleep.store(false, Ordering::SeqCst);
    if ready > 0 && fds[0].revents != 0 {
        waker.drain();
    }
    // Acquires what was queued before the notice.
    waker.notified.swap(false, Ordering::SeqCst);
}
