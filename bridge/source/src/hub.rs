//! The hub: name to source, and the starting of remuxers.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use dashmap::DashMap;

use crate::{
    Caller, Claim, ClientInfo, Clients, ConnectionPass, Denials, Denied, Frame, FrameSubscriber, Gatekeeper, Lane, Packet,
    PacketSubscriber, Pass, Publisher, RemuxJob, Secret, Source, StreamKey, Subscriber, Vhosts, Visit, Wake,
    lane::LaneItem,
    source::{RemuxSeat, Seat},
};

/// How long a publisher may be silent before another may take its place: longer than any frame or
/// audio interval and any hiccup of a live encoder, short enough for one that crashed and returns.
const SILENCE_BEFORE_TAKEOVER: Duration = Duration::from_secs(2);

/// Why a stream could not be published.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone, Copy)]
#[non_exhaustive]
pub enum PublishError {
    /// Another publisher holds the name and is sending (SRS: 1028 StreamBusy).
    #[error("the stream is being published by another client")]
    StreamBusy,
}

/// Runs remuxers. Implemented by the bridges; called when a lane that nobody fills gains its first
/// reader. Must not block; the job may outlive the call.
pub trait Bridge: Send + Sync {
    /// Fill `job.lane()` until `job.is_over()`.
    fn remux(&self, job: RemuxJob);

    /// Whether this lane may be filled for this stream, as things are set now.
    fn allows(&self, _key: &StreamKey, _lane: Lane) -> bool {
        true
    }
}

/// All sources by name, and all clients.
#[derive(Default)]
pub struct Hub {
    sources: DashMap<StreamKey, Arc<Source>>,
    clients: Arc<Clients>,
    bridge: OnceLock<Arc<dyn Bridge>>,
    keeper: OnceLock<Arc<dyn Gatekeeper>>,
    denials: Denials,
    vhosts: ArcSwap<Vhosts>,
}

impl Hub {
    /// An empty hub.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Sets who runs remuxers. Only the first call counts. Without one, each lane carries only
    /// what is published natively.
    pub fn set_bridge(&self, bridge: Arc<dyn Bridge>) {
        let _already_set = self.bridge.set(bridge);
    }

    /// Sets who decides about clients. Only the first call counts. Without one everybody is let in.
    pub fn set_gatekeeper(&self, keeper: Arc<dyn Gatekeeper>) {
        let _already_set = self.keeper.set(keeper);
    }

    /// Asks whether a client may do what it wants. To be called before it has anything.
    ///
    /// # Errors
    ///
    /// [`Denied`]; a publisher is told that the stream is busy only if it may publish.
    pub async fn admit(&self, info: ClientInfo, bearer: Option<Secret>) -> Result<Pass, Denied> {
        self.ask(info, bearer).await.inspect_err(|denied| self.denials.note(denied))
    }

    async fn ask(&self, info: ClientInfo, bearer: Option<Secret>) -> Result<Pass, Denied> {
        let keeper = self.keeper.get().cloned();
        let visit = Visit { info: Arc::new(info), bearer };
        let claim = match &keeper {
            Some(keeper) => keeper.check(&visit)?,
            None => Claim::default(),
        };
        if visit.info.kind.is_publisher() {
            // Before anybody else is asked: the answer would not help it.
            self.is_free(&visit.info.key, &claim, visit.info.since)?;
        }
        Pass::ask(keeper, visit, claim).await
    }

    /// Asks whether an RTMP connection may go on after its `connect`.
    pub async fn admit_connection(&self, caller: Caller) -> Result<ConnectionPass, Denied> {
        ConnectionPass::ask(self.keeper.get().cloned(), caller).await.inspect_err(|denied| self.denials.note(denied))
    }

    /// How many clients and connections were not let in.
    pub fn denials(&self) -> &Denials {
        &self.denials
    }

    /// The vhosts there are now.
    pub fn vhosts(&self) -> Arc<Vhosts> {
        self.vhosts.load_full()
    }

    /// Replaces the vhosts. Clients that are there stay where they are.
    pub fn set_vhosts(&self, vhosts: Vhosts) {
        self.vhosts.store(Arc::new(vhosts));
    }

    /// The clients of all protocols.
    pub fn clients(&self) -> &Arc<Clients> {
        &self.clients
    }

    /// The source of this name, if somebody publishes or reads it.
    pub fn get(&self, key: &StreamKey) -> Option<Arc<Source>> {
        self.sources.get(key).map(|entry| Arc::clone(&entry))
    }

    /// How many sources there are.
    pub fn count(&self) -> usize {
        self.sources.len()
    }

    /// All sources in the order of their names.
    pub fn list(&self) -> Vec<Arc<Source>> {
        let mut list: Vec<_> = self.sources.iter().map(|entry| Arc::clone(&entry)).collect();
        list.sort_by(|a, b| a.key.cmp(&b.key));
        list
    }

    /// Publishes packets (WebRTC). See [`Hub::publish`].
    pub fn publish_packets(
        self: &Arc<Self>,
        key: &StreamKey,
        client: &str,
        wake: Arc<dyn Wake>,
        now: Instant,
    ) -> Result<Publisher<Packet>, PublishError> {
        self.publish(key, client, wake, now)
    }

    /// Publishes frames (RTMP). See [`Hub::publish`].
    pub fn publish_frames(
        self: &Arc<Self>,
        key: &StreamKey,
        client: &str,
        wake: Arc<dyn Wake>,
        now: Instant,
    ) -> Result<Publisher<Frame>, PublishError> {
        self.publish(key, client, wake, now)
    }

    /// Takes the publisher's seat of a source under `client`'s id. A seat whose holder has been
    /// silent for two seconds is taken over: the former holder's pushes are refused from then on
    /// and its wake is called. `wake` is called for keyframe wishes and on a takeover.
    pub fn publish<T: LaneItem>(
        self: &Arc<Self>,
        key: &StreamKey,
        client: &str,
        wake: Arc<dyn Wake>,
        now: Instant,
    ) -> Result<Publisher<T>, PublishError> {
        self.seat(key, client, Claim::default(), wake, now)
    }

    /// Publishes what a client was let in for, under its vhost's rule of taking over. See
    /// [`Hub::publish`].
    ///
    /// # Errors
    ///
    /// [`PublishError::StreamBusy`]: another one has come since it was let in.
    pub fn publish_by<T: LaneItem>(
        self: &Arc<Self>,
        pass: &Pass,
        wake: Arc<dyn Wake>,
        now: Instant,
    ) -> Result<Publisher<T>, PublishError> {
        self.seat(&pass.info().key, &pass.info().id, *pass.claim(), wake, now)
    }

    fn seat<T: LaneItem>(
        self: &Arc<Self>,
        key: &StreamKey,
        client: &str,
        claim: Claim,
        wake: Arc<dyn Wake>,
        now: Instant,
    ) -> Result<Publisher<T>, PublishError> {
        let entry = self.sources.entry(key.clone()).or_insert_with(|| Arc::new(Source::new(key.clone(), now)));
        let source = Arc::clone(&entry);
        let mut control = source.control.lock();
        if control.seat.as_ref().is_some_and(|seat| seat.is_held(&source, &claim, now)) {
            return Err(PublishError::StreamBusy);
        }
        source.last_media_ms.store(source.millis(now), Ordering::Relaxed);
        control.seats_taken += 1;
        let number = control.seats_taken;
        let (lane, client) = (T::LANE, client.to_owned());
        let seat = Seat { number, lane, client, claim, wake, since: now };
        let former = control.seat.replace(seat);
        stop_remux(&mut control.remux);
        drop(control);
        drop(entry);
        let publisher = Publisher::new(Arc::clone(self), &source, number);
        if let Some(former) = former {
            former.wake.wake();
        }
        self.start_remux_if_wanted(&source);
        source.wake_readers();
        Ok(publisher)
    }

    /// Whether somebody with this claim would be refused now.
    ///
    /// # Errors
    ///
    /// [`PublishError::StreamBusy`].
    pub fn is_free(&self, key: &StreamKey, claim: &Claim, now: Instant) -> Result<(), PublishError> {
        let Some(source) = self.get(key) else { return Ok(()) };
        let control = source.control.lock();
        match &control.seat {
            Some(seat) if seat.is_held(&source, claim, now) => Err(PublishError::StreamBusy),
            _ => Ok(()),
        }
    }

    /// Reads packets, from the last keyframe on, whether or not somebody publishes yet.
    pub fn subscribe_packets(self: &Arc<Self>, key: &StreamKey, now: Instant) -> PacketSubscriber {
        self.subscribe(key, now)
    }

    /// Reads frames, from the last keyframe on, whether or not somebody publishes yet.
    pub fn subscribe_frames(self: &Arc<Self>, key: &StreamKey, now: Instant) -> FrameSubscriber {
        self.subscribe(key, now)
    }

    fn subscribe<T: LaneItem>(self: &Arc<Self>, key: &StreamKey, now: Instant) -> Subscriber<T> {
        let entry = self.sources.entry(key.clone()).or_insert_with(|| Arc::new(Source::new(key.clone(), now)));
        let source = Arc::clone(&entry);
        source.control.lock().readers[T::LANE.index()] += 1;
        drop(entry);
        let subscriber = Subscriber::new(Some(Arc::clone(self)), Arc::clone(&source));
        self.start_remux_if_wanted(&source);
        subscriber
    }

    /// Asks the bridge anew what it allows: remuxers that it no longer allows end, and those that it
    /// now does start for whoever waits. For settings that change while streams are live.
    pub fn review_remuxers(self: &Arc<Self>) {
        let Some(bridge) = self.bridge.get() else { return };
        for source in self.list() {
            {
                let mut control = source.control.lock();
                if control.remux.as_ref().is_some_and(|remux| !bridge.allows(&source.key, remux.lane)) {
                    stop_remux(&mut control.remux);
                }
            }
            source.wake_readers();
            self.start_remux_if_wanted(&source);
        }
    }

    fn start_remux_if_wanted(self: &Arc<Self>, source: &Arc<Source>) {
        let Some(bridge) = self.bridge.get() else { return };
        let seat = {
            let mut control = source.control.lock();
            let Some(lane) = control.seat.as_ref().map(|seat| seat.lane.other()) else { return };
            if control.readers[lane.index()] == 0 || control.remux.is_some() || !bridge.allows(&source.key, lane) {
                return;
            }
            let seat = Arc::new(RemuxSeat { lane, stop: AtomicBool::new(false) });
            control.remux = Some(Arc::clone(&seat));
            seat
        };
        bridge.remux(RemuxJob::new(Arc::clone(self), source, seat));
    }

    pub(crate) fn release_publisher(self: &Arc<Self>, source: &Arc<Source>, number: u64) {
        {
            let mut control = source.control.lock();
            if control.seat.as_ref().is_none_or(|seat| seat.number != number) {
                return;
            }
            control.seat = None;
            stop_remux(&mut control.remux);
        }
        source.wake_readers();
        self.forget_if_idle(source);
    }

    pub(crate) fn release_reader(self: &Arc<Self>, source: &Arc<Source>, lane: Lane) {
        {
            let mut control = source.control.lock();
            let count = &mut control.readers[lane.index()];
            *count = count.saturating_sub(1);
            if *count == 0 && control.remux.as_ref().is_some_and(|remux| remux.lane == lane) {
                stop_remux(&mut control.remux);
            }
        }
        source.wake_readers();
        self.forget_if_idle(source);
    }

    pub(crate) fn release_remux(self: &Arc<Self>, source: &Arc<Source>, seat: &Arc<RemuxSeat>) {
        {
            let mut control = source.control.lock();
            if control.remux.as_ref().is_some_and(|held| Arc::ptr_eq(held, seat)) {
                control.remux = None;
            }
        }
        self.forget_if_idle(source);
    }

    /// Under the map's shard lock, so that nobody can take the source up meanwhile.
    fn forget_if_idle(&self, source: &Arc<Source>) {
        self.sources.remove_if(&source.key, |_, held| Arc::ptr_eq(held, source) && held.is_idle());
    }
}

impl Seat {
    fn is_held(&self, source: &Source, against: &Claim, now: Instant) -> bool {
        let last = Duration::from_millis(source.last_media_ms.load(Ordering::Relaxed));
        let silent = now.saturating_duration_since(source.made).saturating_sub(last);
        against.must_yield(&self.claim, silent >= SILENCE_BEFORE_TAKEOVER)
    }
}

/// The job sees it at its next wake; its place is free at once for the next.
fn stop_remux(remux: &mut Option<Arc<RemuxSeat>>) {
    if let Some(seat) = remux.take() {
        seat.stop.store(true, Ordering::Release);
    }
}
