//! Which clients come, when, and what is asked of the run.
//!
//! `args` makes a [`Plan`] of a command line, `scenario` of a file, `compat` of SRS's flags.

pub(crate) mod args;
pub(crate) mod compat;
mod scenario;
mod span;

use std::{path::PathBuf, time::Duration};

use crate::{
    clients::{Kind, Options},
    expect::Expect,
};

pub use self::span::{Span, SpanError};

/// A run.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The clients, group by group.
    pub groups: Vec<Group>,
    /// How long the run goes on once all ramps are over; none: until Ctrl-C, or until all clients
    /// are done.
    pub duration: Option<Duration>,
    /// The server's process, on this machine.
    pub pid: Option<u32>,
    /// Where the figures go.
    pub json: Option<PathBuf>,
    /// What is expected of them.
    pub expects: Vec<Expect>,
    /// kb/s that each viewer should get, if the run does not publish itself.
    pub expected_kbps: Option<u32>,
    /// What of the flags has no effect here.
    pub notes: Vec<String>,
}

/// Clients of one kind.
#[derive(Clone, Debug)]
pub struct Group {
    /// As it is shown.
    pub name: String,
    /// Protocol and direction.
    pub kind: Kind,
    /// Where to; `{n}` stands for the number of the stream.
    pub url: String,
    /// How many, and how they behave.
    pub options: Options,
    /// Viewers on an independent stack beside them, to compare with.
    pub sample: usize,
    /// How long after the start of the run they come.
    pub after: Duration,
    /// What is expected of this group's own figures.
    pub expects: Vec<Expect>,
}

impl Plan {
    /// From the start until the last client is to be there.
    pub fn ramp(&self) -> Duration {
        self.groups.iter().map(|group| group.after + group.options.ramp).max().unwrap_or_default()
    }

    /// Whether any viewer watches.
    pub fn plays(&self) -> bool {
        self.groups.iter().any(|group| !group.kind.publishes())
    }
}
