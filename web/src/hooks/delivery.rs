//! What is told: sent until it is received, in its order, within bounds.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rand::Rng as _;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::{
    Hook, HooksConfig, Inner,
    contract::Receipt,
    decision::Outcome,
    endpoint::{Call, Endpoint},
    order::{Lane, Place, Turn},
    stats::count,
    wire::{Answer, Ask, Failure},
};

/// Notices that wait or are under way, all vhosts together. Each is a task and a body, some 3 KiB: it
/// holds the leaving of all viewers of a large stream while a server restarts.
const PENDING_MAX: usize = 1_000;
/// Of these, places that only the vital ones take.
const VITAL_PLACES: usize = 100;
/// The first pause between two tries, doubled each time up to the longest, less up to half of it by
/// chance so that what failed together does not return together.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// The longest while the server ends.
const PAUSE_DRAINING: Duration = Duration::from_millis(200);

/// One thing to tell.
pub(super) struct Notice {
    pub(super) hook: Hook,
    pub(super) config: Arc<HooksConfig>,
    /// Whom. They do not wait for each other.
    pub(super) targets: Vec<Target>,
    /// Only if that decision was a yes.
    pub(super) only_if: Option<Outcome>,
}

/// One URL to tell it to.
pub(super) struct Target {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) ask: Ask,
}

impl Inner {
    /// Has it sent after all that stands in `lanes`.
    pub(super) fn tell(self: &Arc<Self>, notice: Notice, lanes: Vec<Lane>) {
        let max = if notice.hook.is_vital() { PENDING_MAX } else { PENDING_MAX - VITAL_PLACES };
        let Some(pending) = Pending::enter(self, max) else {
            self.dropped(notice.hook, "too many wait");
            return;
        };
        let place = self.order.enter(lanes, &[]);
        self.tasks.spawn_on(
            async move {
                pending.0.deliver(notice, place).await;
                drop(pending);
            },
            &self.runtime,
        );
    }

    async fn deliver(&self, notice: Notice, place: Place) {
        if !place.wait().await {
            self.dropped(notice.hook, "the stream has begun anew");
            return;
        }
        if notice.only_if.as_ref().is_some_and(|outcome| outcome.get() != Some(&true)) {
            return;
        }
        let all = notice.targets.iter().map(|target| self.deliver_to(&notice, target, place.turn()));
        futures_util::future::join_all(all).await;
    }

    async fn deliver_to(&self, notice: &Notice, target: &Target, turn: &Turn) {
        let (hook, config) = (notice.hook, &notice.config);
        let deadline = Instant::now() + config.retry_for;
        let mut hurried = false;
        for tries in 1..=config.tries_max.max(1) {
            let tried = tokio::select! {
                biased;
                () = turn.given_up() => Tried::Never("the stream has begun anew"),
                tried = self.try_once(notice, target, turn, deadline, &mut hurried) => tried,
            };
            match tried {
                Tried::Told => return,
                Tried::Never(why) => {
                    self.dropped(hook, why);
                    return;
                }
                Tried::Failed if tries < config.tries_max && Instant::now() < deadline => {
                    count(&self.counters(hook).retries);
                    self.pause(tries, turn, &mut hurried).await;
                }
                Tried::Failed => break,
            }
        }
        self.dropped(hook, "it does not answer");
    }

    async fn try_once(&self, notice: &Notice, target: &Target, turn: &Turn, deadline: Instant, hurried: &mut bool) -> Tried {
        let (hook, endpoint) = (notice.hook, &target.endpoint);
        let Ok(Some(call)) = tokio::time::timeout_at(deadline, place_at(endpoint, turn, hurried)).await else {
            return Tried::Never("it does not answer");
        };
        let Ok(_one_of_all) = self.calls.acquire().await else { return Tried::Never("the server is going down") };
        let outcome = self.exchange(hook, target.ask.clone(), Instant::now() + notice.config.notice_timeout).await;
        let receipt = Receipt::of(&outcome);
        call.record(receipt != Receipt::Again);
        let said = outcome.map_or_else(|failure| failure.to_string(), |answer| format!("status {}", answer.status.as_u16()));
        match receipt {
            Receipt::Received => Tried::Told,
            Receipt::Refused => {
                count(&self.counters(hook).refusals);
                warn!(url = endpoint.url(), hook = hook.name(), said, "a callback server does not take what it is told");
                Tried::Told
            }
            Receipt::Again => {
                count(&self.counters(hook).failures);
                debug!(url = endpoint.url(), hook = hook.name(), said, "a callback failed");
                Tried::Failed
            }
        }
    }

    async fn pause(&self, tries: u32, turn: &Turn, hurried: &mut bool) {
        let longest = PAUSE_MIN.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(PAUSE_MAX);
        let pause = longest.mul_f64(rand::rng().random_range(0.5..=1.0));
        let is_draining = self.draining.is_cancelled();
        tokio::select! {
            () = tokio::time::sleep(if is_draining { pause.min(PAUSE_DRAINING) } else { pause }) => {}
            () = turn.given_up() => {}
            () = turn.hurried(), if !*hurried => *hurried = true,
            () = self.draining.cancelled(), if !is_draining => {}
        }
    }

    /// One request, counted.
    pub(super) async fn exchange(&self, hook: Hook, ask: Ask, deadline: Instant) -> Result<Answer, Failure> {
        let (counters, began) = (self.counters(hook), Instant::now());
        count(&counters.calls);
        let outcome = tokio::time::timeout_at(deadline, self.wire.send(ask)).await.unwrap_or(Err(Failure::TimedOut));
        counters.took(began.elapsed());
        if matches!(outcome, Err(Failure::TimedOut)) {
            count(&counters.timeouts);
        }
        outcome
    }

    /// Counts, and says so at most once a second.
    fn dropped(&self, hook: Hook, why: &str) {
        static SAID_S: AtomicU64 = AtomicU64::new(0);
        count(&self.counters(hook).dropped);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if SAID_S.swap(now, Ordering::Relaxed) != now {
            warn!(hook = hook.name(), why, "a callback was dropped; see the counters for how many");
        }
    }
}

/// A place at the URL: when it is thought to answer, or at once for somebody in a hurry.
async fn place_at<'a>(endpoint: &'a Endpoint, turn: &Turn, hurried: &mut bool) -> Option<Call<'a>> {
    if !*hurried {
        tokio::select! {
            biased;
            call = endpoint.notice(false) => return call,
            () = turn.hurried() => *hurried = true,
        }
    }
    endpoint.notice(true).await
}

/// What came of one try.
enum Tried {
    Told,
    Failed,
    Never(&'static str),
}

/// One of the places for what is to be told.
struct Pending(Arc<Inner>);

impl Pending {
    fn enter(inner: &Arc<Inner>, max: usize) -> Option<Self> {
        let pending: &AtomicUsize = &inner.pending;
        let taken = pending.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| (count < max).then_some(count + 1));
        taken.is_ok().then(|| Self(Arc::clone(inner)))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.pending.fetch_sub(1, Ordering::Relaxed);
    }
}
