//! What can wake the server's main loop.

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// An end that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    /// By which signal.
    pub(crate) signal: &'static str,
    /// Clients may finish.
    pub(crate) is_graceful: bool,
}

/// All signals that mean something here, in SRS's sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// SIGINT, SIGTERM, SIGQUIT.
    End(Ending),
    /// SIGHUP.
    Reload,
    /// SIGUSR1.
    ReopenLog,
}

/// The signals, caught.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    quit: Signal,
    hang_up: Signal,
    user: Signal,
}

impl Signals {
    pub(crate) fn catch() -> anyhow::Result<Self> {
        let catch = |kind| signal(kind).context("a signal cannot be caught");
        Ok(Self {
            interrupt: catch(SignalKind::interrupt())?,
            terminate: catch(SignalKind::terminate())?,
            quit: catch(SignalKind::quit())?,
            hang_up: catch(SignalKind::hangup())?,
            user: catch(SignalKind::user_defined1())?,
        })
    }

    /// The next one. Cancelling it loses none.
    pub(crate) async fn next(&mut self) -> Sent {
        let end = |signal, is_graceful| Sent::End(Ending { signal, is_graceful });
        tokio::select! {
            _ = self.interrupt.recv() => end("SIGINT", false),
            _ = self.terminate.recv() => end("SIGTERM", false),
            _ = self.quit.recv() => end("SIGQUIT", true),
            _ = self.hang_up.recv() => Sent::Reload,
            _ = self.user.recv() => Sent::ReopenLog,
        }
    }
}
