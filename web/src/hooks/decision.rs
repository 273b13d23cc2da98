//! A client waits while callback servers decide about it.
//!
//! The asking is a task of its own: a client that goes while a server thinks does not stop the
//! question, which may have been heard. If the answer is a yes then, the leaving follows it.

use std::sync::{Arc, OnceLock, atomic::Ordering};

use bytes::Bytes;
use tokio::{sync::oneshot, time::Instant};
use tracing::{Instrument as _, debug, warn};
use weir_source::{Caller, ClientInfo, Denied, Verdict};

use super::{
    Hook, HookUrl, HooksConfig, Inner,
    contract::Meaning,
    order::{Lane, Place},
    stats::count,
    wire::{ANSWER_BYTES_MAX, Ask},
};

/// Clients undecided at a time, those included that have gone meanwhile: as many as the places of
/// sixteen URLs. Each is a task and a body of about 2 KiB.
const UNDECIDED_MAX: usize = 4_096;

/// Whether a decision was a yes, once it is known.
pub(super) type Outcome = Arc<OnceLock<bool>>;

/// About whom.
pub(super) enum Who {
    Client(Arc<ClientInfo>),
    Connection(Arc<Caller>),
}

impl Who {
    fn id(&self) -> &str {
        match self {
            Self::Client(info) => &info.id,
            Self::Connection(caller) => &caller.id,
        }
    }
}

/// Has all URLs of `hook` asked, after whatever is still to be told of the client and of what is
/// `behind`.
pub(super) fn ask(inner: &Arc<Inner>, hook: Hook, config: Arc<HooksConfig>, body: Bytes, who: Who, behind: &[Lane]) -> Verdict {
    if inner.undecided.fetch_add(1, Ordering::Relaxed) >= UNDECIDED_MAX {
        inner.undecided.fetch_sub(1, Ordering::Relaxed);
        count(&inner.counters(hook).failures);
        return Box::pin(std::future::ready(Err(Denied::Unavailable("too many clients wait to be decided about".to_owned()))));
    }
    let place = inner.order.enter(vec![Lane::Client(who.id().into())], behind);
    let outcome = Outcome::default();
    let (answer, answered) = oneshot::channel();
    let decision = Decision { inner: Arc::clone(inner), hook, config, body, place, outcome: Arc::clone(&outcome), answer };
    let id = who.id().to_owned();
    let waiting = Waiting { inner: Arc::clone(inner), who: Some(who), outcome };
    inner.tasks.spawn_on(decision.run(id).in_current_span(), &inner.runtime);
    Box::pin(async move {
        let verdict = answered.await.unwrap_or_else(|_gone| Err(Denied::Unavailable("the server is going down".to_owned())));
        waiting.settle(verdict)
    })
}

struct Decision {
    inner: Arc<Inner>,
    hook: Hook,
    config: Arc<HooksConfig>,
    body: Bytes,
    place: Place,
    outcome: Outcome,
    answer: oneshot::Sender<Result<(), Denied>>,
}

impl Decision {
    async fn run(self, id: String) {
        let verdict = self.decide().await;
        let Self { inner, hook, place, outcome, answer, .. } = self;
        inner.undecided.fetch_sub(1, Ordering::Relaxed);
        if let Err(denied) = &verdict {
            debug!(%id, hook = hook.name(), %denied, "a callback kept a client out");
        }
        let _only_once = outcome.set(verdict.is_ok());
        drop(place);
        // Nobody may be there any more: then the one who waited has seen to it.
        let _heard = answer.send(verdict);
    }

    async fn decide(&self) -> Result<(), Denied> {
        let deadline = Instant::now() + self.config.decision_timeout;
        self.let_others_end(Instant::now() + self.config.decision_timeout / 2).await;
        for (number, url) in self.config.urls(self.hook).iter().enumerate() {
            if number == 0 && self.answer.is_closed() {
                return Err(Denied::Unavailable("the client has gone".to_owned()));
            }
            self.ask(url, deadline).await?;
        }
        Ok(())
    }

    /// What is still to be told goes first, and at once. What cannot be told until `limit` is never:
    /// it would be wrong once this client is there.
    async fn let_others_end(&self, limit: Instant) {
        self.place.hurry_before();
        if tokio::time::timeout_at(limit, self.place.wait()).await.is_err() {
            self.place.give_up_before();
            self.place.wait().await;
        }
    }

    async fn ask(&self, url: &HookUrl, deadline: Instant) -> Result<(), Denied> {
        let counters = self.inner.counters(self.hook);
        let endpoint = self.inner.endpoints.get(&url.to_string());
        let place = tokio::time::timeout_at(deadline, endpoint.decide()).await;
        if !matches!(place, Ok(Some(_))) {
            count(&counters.failures);
            return Err(Denied::Unavailable("the callback server has too much to decide".to_owned()));
        }
        let ask = Ask { uri: url.uri().clone(), body: Some(self.body.clone()), read_max: ANSWER_BYTES_MAX };
        match Meaning::of(&self.inner.exchange(self.hook, ask, deadline).await) {
            Meaning::Yes => Ok(()),
            Meaning::No(why) => {
                count(&counters.refusals);
                Err(Denied::Forbidden(format!("the callback server refused it: {why}")))
            }
            Meaning::Trouble(why) => {
                count(&counters.failures);
                if self.inner.may_say() {
                    warn!(%url, hook = self.hook.name(), %why, "a callback server could not be asked");
                }
                Err(Denied::Unavailable(format!("the callback server could not be asked: {why}")))
            }
        }
    }
}

/// Who waits for a decision. Dropped before it came, it has the leaving told if that becomes due.
struct Waiting {
    inner: Arc<Inner>,
    who: Option<Who>,
    outcome: Outcome,
}

impl Waiting {
    fn settle(mut self, verdict: Result<(), Denied>) -> Result<(), Denied> {
        if let (Some(Who::Client(info)), Ok(())) = (self.who.take(), &verdict) {
            self.inner.enter(&info);
        }
        verdict
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let only_if = Some(Arc::clone(&self.outcome));
        match self.who.take() {
            Some(Who::Client(info)) => self.inner.tell_left(&info, only_if),
            Some(Who::Connection(caller)) => self.inner.tell_closed(&caller, (0, 0), only_if),
            None => {}
        }
    }
}
