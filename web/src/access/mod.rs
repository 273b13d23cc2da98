//! Who may come in: the rules that a configuration states, before any callback is asked.
//!
//! [`Access`] is the hub's gatekeeper. It judges by what a client shows and where it is (addresses,
//! pages, tokens, how often it asks), and hands on to the next one whoever passes. It holds no client:
//! what it keeps is counters and the buckets of addresses.

mod jwt;
mod limits;
mod network;
mod pattern;
mod refer;
mod security;
mod session;
mod signed;
#[cfg(test)]
mod tests;
mod token;

use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{Context, SHA256};
use tracing::debug;
use weir_source::{Caller, Claim, ClientInfo, ClientKind, Denied, Gatekeeper, Identity, Takeover, Traffic, Verdict, Visit};

pub use self::{
    jwt::{JwtConfig, KeyFault, TokenKey},
    limits::LimitConfig,
    network::{Network, NotANetwork},
    refer::Refer,
    security::{Action, Rule, Security},
    signed::UrlKey,
    token::TokenConfig,
};
use self::{limits::Limits, token::Ask};
use crate::{AppState, WebConfig, ids::now_ms};

pub(crate) use self::session::{limit, may_touch};

/// Who may come into a vhost. By default everybody may, and only a silent publisher is replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessConfig {
    /// Which addresses; `None`: all.
    pub security: Option<Security>,
    /// From which pages; `None`: all, and from none.
    pub refer: Option<Refer>,
    /// With which tokens; `None`: without.
    pub token: Option<TokenConfig>,
    /// When a publisher may take the place of another.
    pub takeover: Takeover,
}

/// Why somebody is not let in, as the log and the counters tell it. Clients are told less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    TooMany(Duration),
    Address,
    Page,
    NoToken,
    BadToken,
    OtherStream,
}

impl Refusal {
    /// For counters, in the order of [`Refusal::index`].
    const NAMES: [&'static str; 6] = ["too-many", "address", "page", "no-token", "bad-token", "other-stream"];

    const fn index(self) -> usize {
        match self {
            Self::TooMany(_) => 0,
            Self::Address => 1,
            Self::Page => 2,
            Self::NoToken => 3,
            Self::BadToken => 4,
            Self::OtherStream => 5,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::NAMES.get(self.index()).copied().unwrap_or_default())
    }
}

impl From<Refusal> for Denied {
    /// Which rule it was, and whether there is such a stream, is nobody's business outside.
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::TooMany(retry_after) => Self::TooMany { retry_after },
            Refusal::NoToken | Refusal::BadToken => Self::Unauthorized,
            Refusal::Address | Refusal::Page | Refusal::OtherStream => Self::Forbidden("this is not allowed here".to_owned()),
        }
    }
}

/// What all ways in share: the buckets of addresses, and how many were refused for what.
#[derive(Debug, Default)]
pub struct Door {
    limits: Limits,
    refused: [AtomicU64; Refusal::NAMES.len()],
}

impl Door {
    /// How many were refused for each reason since the start.
    pub fn refused(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Refusal::NAMES.into_iter().zip(self.refused.iter().map(|count| count.load(Ordering::Relaxed)))
    }

    /// How many addresses are remembered for their limits, and how many had to be forgotten early.
    pub fn addresses(&self) -> (usize, u64) {
        (self.limits.len(), self.limits.evicted())
    }

    fn take(&self, config: &WebConfig, ip: IpAddr) -> Result<(), Refusal> {
        self.limits.take(&config.limits, ip, Instant::now()).map_err(Refusal::TooMany)
    }

    fn count(&self, refusal: Refusal) {
        if let Some(count) = self.refused.get(refusal.index()) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The rules, with whoever decides after them.
pub struct Access {
    settings: Arc<ArcSwap<WebConfig>>,
    door: Arc<Door>,
    next: Option<Arc<dyn Gatekeeper>>,
}

impl Access {
    /// The rules of `state`'s settings, as they are at the time of asking. Who passes them is let in by
    /// `next`; without one, at once.
    pub fn new(state: &AppState, next: Option<Arc<dyn Gatekeeper>>) -> Arc<Self> {
        Arc::new(Self { settings: Arc::clone(&state.settings), door: Arc::clone(&state.door), next })
    }

    fn judge(&self, config: &WebConfig, visit: &Visit) -> Result<Claim, Refusal> {
        let info = &visit.info;
        if is_counted_here(info.kind) {
            self.door.take(config, info.ip)?;
        }
        let rules = &config.vhosts.get(info.key.vhost()).access;
        let action = action_of(info.kind);
        check_place(rules, action, info.ip, &info.page_url)?;
        let proven = check_token(rules, action, visit)?;
        let identity = info.kind.is_publisher().then(|| proven.unwrap_or_else(|| identity_by_place(info)));
        Ok(Claim { takeover: rules.takeover, identity })
    }

    /// A connection that has not said yet what it wants: refused if it may want nothing at all.
    fn judge_caller(&self, config: &WebConfig, caller: &Caller) -> Result<(), Refusal> {
        self.door.take(config, caller.ip)?;
        let rules = &config.vhosts.get(&caller.vhost).access;
        let check = |action| check_place(rules, action, caller.ip, &caller.page_url);
        check(Action::Play).or_else(|_| check(Action::Publish))
    }
}

impl Gatekeeper for Access {
    fn check(&self, visit: &Visit) -> Result<Claim, Denied> {
        let claim = self.judge(&self.settings.load(), visit).inspect_err(|refusal| {
            self.door.count(*refusal);
            let (info, kind) = (&visit.info, visit.info.kind.name());
            debug!(id = %info.id, stream = %info.key, kind, ip = %info.ip, why = %refusal, "kept out by the rules");
        })?;
        match &self.next {
            // It may have rules of its own, but says nothing of taking over.
            Some(next) => next.check(visit).map(|_claim| claim),
            None => Ok(claim),
        }
    }

    fn admit(&self, visit: Visit) -> Verdict {
        match &self.next {
            Some(next) => next.admit(visit),
            None => Box::pin(std::future::ready(Ok(()))),
        }
    }

    fn left(&self, info: &Arc<ClientInfo>, traffic: &Traffic) {
        if let Some(next) = &self.next {
            next.left(info, traffic);
        }
    }

    fn admit_connection(&self, caller: Arc<Caller>) -> Verdict {
        if let Err(refusal) = self.judge_caller(&self.settings.load(), &caller) {
            self.door.count(refusal);
            debug!(id = %caller.id, ip = %caller.ip, why = %refusal, "connection kept out by the rules");
            return Box::pin(std::future::ready(Err(refusal.into())));
        }
        match &self.next {
            Some(next) => next.admit_connection(caller),
            None => Box::pin(std::future::ready(Ok(()))),
        }
    }

    fn closed(&self, caller: &Arc<Caller>, traffic: &Traffic) {
        if let Some(next) = &self.next {
            next.closed(caller, traffic);
        }
    }
}

const fn action_of(kind: ClientKind) -> Action {
    if kind.is_publisher() { Action::Publish } else { Action::Play }
}

/// WebRTC's are counted at their requests, of which one that opens a session is the first.
const fn is_counted_here(kind: ClientKind) -> bool {
    !matches!(kind, ClientKind::RtcPlay | ClientKind::RtcPublish)
}

fn check_place(rules: &AccessConfig, action: Action, ip: IpAddr, page_url: &str) -> Result<(), Refusal> {
    if rules.security.as_ref().is_some_and(|security| !security.allows(action, ip)) {
        return Err(Refusal::Address);
    }
    match &rules.refer {
        Some(refer) if !refer.allows(action, page_url) => Err(Refusal::Page),
        _ => Ok(()),
    }
}

/// Who it is by its token; `None` where none is needed.
fn check_token(rules: &AccessConfig, action: Action, visit: &Visit) -> Result<Option<Identity>, Refusal> {
    let Some(token) = rules.token.as_ref().filter(|token| token.is_needed(action)) else { return Ok(None) };
    let info = &visit.info;
    // RTMP has no headers.
    let has_query = token.query || matches!(info.kind, ClientKind::RtmpPlay | ClientKind::RtmpPublish);
    let ask = Ask {
        action,
        key: &info.key,
        ip: Some(info.ip),
        bearer: visit.bearer.as_ref().map(|bearer| bearer.expose()),
        query: has_query.then(|| info.param.expose()),
        lasts: false,
    };
    token.check(&ask, now_ms() / 1_000).map(Some)
}

/// Without a token: the same query from the same address.
fn identity_by_place(info: &ClientInfo) -> Identity {
    identity("place", &format!("{} {}", info.ip.to_canonical(), info.param.expose()))
}

fn identity(kind: &str, text: &str) -> Identity {
    let mut context = Context::new(&SHA256);
    context.update(kind.as_bytes());
    context.update(b"\0");
    context.update(text.as_bytes());
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    Identity::of_digest(digest)
}
