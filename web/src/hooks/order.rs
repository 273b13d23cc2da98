//! In which order callbacks are sent.
//!
//! A callback takes its place in one or more lanes and begins when all that stood before it there are
//! done. The lane of a client keeps `on_connect`, `on_publish`, `on_unpublish`, `on_close` in their
//! order; the lane of a stream makes the `on_publish` of the next publisher follow the `on_unpublish`
//! of the last. Nobody waits for anything else, so that one stream's trouble is its own.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use weir_source::StreamKey;

/// What has an order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Lane {
    Client(Box<str>),
    Stream(StreamKey),
    Segments(StreamKey),
}

/// The end of each lane that somebody stands in. Bounded by the callbacks under way.
#[derive(Debug, Default)]
pub(super) struct Order {
    last: Mutex<HashMap<Lane, Arc<Turn>>>,
}

/// What others may know of a callback.
#[derive(Debug, Default)]
pub(super) struct Turn {
    done: CancellationToken,
    hurry: CancellationToken,
    drop: CancellationToken,
}

impl Turn {
    /// Completes once somebody stands behind who cannot wait long.
    pub(super) async fn hurried(&self) {
        self.hurry.cancelled().await;
    }

    /// Completes when it must be given up.
    pub(super) async fn given_up(&self) {
        self.drop.cancelled().await;
    }
}

/// A place in its lanes; left when dropped.
#[derive(Debug)]
pub(super) struct Place {
    order: Arc<Order>,
    lanes: Vec<Lane>,
    before: Vec<Arc<Turn>>,
    turn: Arc<Turn>,
}

impl Order {
    /// Takes the last place in each of `lanes`, behind who is last in any of them or of `behind`.
    pub(super) fn enter(self: &Arc<Self>, lanes: Vec<Lane>, behind: &[Lane]) -> Place {
        let turn = Arc::<Turn>::default();
        let mut last = self.last.lock();
        let mut before: Vec<_> = behind.iter().filter_map(|lane| last.get(lane).cloned()).collect();
        before.extend(lanes.iter().filter_map(|lane| last.insert(lane.clone(), Arc::clone(&turn))));
        drop(last);
        Place { order: Arc::clone(self), lanes, before, turn }
    }

    #[cfg(test)]
    pub(super) fn lanes(&self) -> usize {
        self.last.lock().len()
    }
}

impl Place {
    pub(super) const fn turn(&self) -> &Arc<Turn> {
        &self.turn
    }

    /// Waits for those before it, passing on to them that it is hurried or given up. `false`: it is
    /// given up itself.
    pub(super) async fn wait(&self) -> bool {
        let all = async {
            for turn in &self.before {
                turn.done.cancelled().await;
            }
        };
        let mut all = std::pin::pin!(all);
        let mut hurried = false;
        loop {
            tokio::select! {
                biased;
                () = &mut all => return !self.turn.drop.is_cancelled(),
                () = self.turn.given_up() => {
                    self.give_up_before();
                    all.await;
                    return false;
                }
                () = self.turn.hurried(), if !hurried => {
                    hurried = true;
                    self.hurry_before();
                }
            }
        }
    }

    /// Tells those before it that somebody waits.
    pub(super) fn hurry_before(&self) {
        self.before.iter().for_each(|turn| turn.hurry.cancel());
    }

    /// Has those before it end without having been sent.
    pub(super) fn give_up_before(&self) {
        self.before.iter().for_each(|turn| turn.drop.cancel());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut last = self.order.last.lock();
        for lane in &self.lanes {
            if last.get(lane).is_some_and(|turn| Arc::ptr_eq(turn, &self.turn)) {
                last.remove(lane);
            }
        }
        drop(last);
        self.turn.done.cancel();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn client(id: &str) -> Lane {
        Lane::Client(id.into())
    }

    #[test]
    fn each_waits_for_the_one_before_it_and_for_nobody_else() {
        let order = Arc::<Order>::default();
        let first = order.enter(vec![client("a"), client("s")], &[]);
        let second = order.enter(vec![client("b")], &[client("s")]);
        let other = order.enter(vec![client("c")], &[]);
        assert_eq!(first.wait().now_or_never(), Some(true));
        assert_eq!(second.wait().now_or_never(), None);
        assert_eq!(other.wait().now_or_never(), Some(true));
        drop(first);
        assert_eq!(second.wait().now_or_never(), Some(true));
        drop((second, other));
        assert_eq!(order.lanes(), 0, "nothing is kept");
    }

    #[test]
    fn hurry_and_giving_up_reach_all_that_stand_before() {
        let order = Arc::<Order>::default();
        let [first, second, third] = [(); 3].map(|()| order.enter(vec![client("a")], &[]));
        third.hurry_before();
        assert_eq!(second.wait().now_or_never(), None);
        assert!(first.turn().hurried().now_or_never().is_some());
        third.give_up_before();
        assert_eq!(second.wait().now_or_never(), None, "it waits for the first to end");
        assert!(first.turn().given_up().now_or_never().is_some());
        drop(first);
        assert_eq!(second.wait().now_or_never(), Some(false));
    }
}
