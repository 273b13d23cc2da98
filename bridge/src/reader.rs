//! A hub subscriber that a task can await.

use std::sync::Arc;

use tokio::sync::Notify;
use weir_source::{Frame, LaneItem, Packet, Read, Subscriber, Wake};

/// A [`Wake`] that a task awaits. Wakes coalesce; one that comes while nobody waits is kept.
#[derive(Debug, Default)]
pub struct NotifyWake(Notify);

impl NotifyWake {
    /// A new one, shared.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Completes at the next wake, at once if one came since the last.
    pub async fn wait(&self) {
        self.0.notified().await;
    }
}

impl Wake for NotifyWake {
    fn wake(&self) {
        self.0.notify_one();
    }
}

/// A subscriber of one lane and the wake it waits on.
pub struct LaneReader<T: LaneItem> {
    subscriber: Subscriber<T>,
    wake: Arc<NotifyWake>,
}

/// Reads frames.
pub type FrameReader = LaneReader<Frame>;
/// Reads packets.
pub type PacketReader = LaneReader<Packet>;

impl<T: LaneItem> LaneReader<T> {
    /// Reads through `subscriber`, woken by `wake` too (which others may share, say for a kick).
    pub fn new(mut subscriber: Subscriber<T>, wake: Arc<NotifyWake>) -> Self {
        subscriber.watch(wake.clone());
        Self { subscriber, wake }
    }

    /// The subscriber, to read at once without waiting or to move its cursor.
    pub fn subscriber(&mut self) -> &mut Subscriber<T> {
        &mut self.subscriber
    }

    /// Appends what is there, up to `max` items; waits only if there is nothing. It may return
    /// without items: then the tracks or the publisher changed, or another use of the wake fired.
    /// Dropping the future loses nothing.
    pub async fn read(&mut self, out: &mut Vec<T>, max: usize) -> Read {
        let before = out.len();
        let read = self.subscriber.read(out, max);
        if out.len() > before || read != Read::Ok {
            return read;
        }
        self.wake.wait().await;
        self.subscriber.read(out, max)
    }
}
