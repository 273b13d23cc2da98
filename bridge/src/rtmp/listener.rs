//! The accept loop: one task per connection, a cap on their number, and an end to all of them.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use rand::Rng;
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, info_span, warn};
use weir_source::Hub;

use super::{
    RtmpConfig,
    connection::{Connection, End, Origin},
    door::{Door, OpenDoor},
    stats::add,
};

/// How long to wait after `accept` failed for want of descriptors or memory: others must end
/// first, and the kernel keeps the waiting ones in its queue.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Serves RTMP on `listener` until `retire` is cancelled, and those who are connected then until
/// they go or `stop` is cancelled, when all connections are closed at once. A connection has the
/// settings of its beginning.
pub async fn serve(
    listener: TcpListener,
    hub: Arc<Hub>,
    settings: Arc<ArcSwap<RtmpConfig>>,
    retire: CancellationToken,
    stop: CancellationToken,
) {
    serve_behind(OpenDoor, listener, hub, settings, retire, stop).await;
}

/// The same behind a door: RTMPS.
pub async fn serve_behind(
    door: impl Door,
    listener: TcpListener,
    hub: Arc<Hub>,
    settings: Arc<ArcSwap<RtmpConfig>>,
    retire: CancellationToken,
    stop: CancellationToken,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = retire.cancelled() => break,
            () = stop.cancelled() => break,
            Some(ended) = connections.join_next(), if !connections.is_empty() => {
                note_panic(&ended, &settings.load());
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let config = settings.load_full();
        match accepted {
            Ok((stream, peer)) if connections.len() < config.connections_max => {
                add(&config.stats.accepted, 1);
                connections.spawn(connection(door.clone(), stream, peer, Arc::clone(&hub), config));
            }
            Ok((_, peer)) => {
                add(&config.stats.refused, 1);
                debug!(%peer, max = config.connections_max, "RTMP connection refused: too many");
            }
            Err(error) => {
                warn!(%error, "cannot accept RTMP connections");
                tokio::select! {
                    () = retire.cancelled() => break,
                    () = stop.cancelled() => break,
                    () = tokio::time::sleep(ACCEPT_PAUSE) => {}
                }
            }
        }
    }
    drop(listener);
    while let Some(Some(ended)) = stop.run_until_cancelled(connections.join_next()).await {
        note_panic(&ended, &settings.load());
    }
    connections.shutdown().await;
}

fn note_panic(ended: &Result<(), JoinError>, config: &RtmpConfig) {
    if ended.as_ref().is_err_and(JoinError::is_panic) {
        add(&config.stats.panics, 1);
        warn!("an RTMP connection ended by a fault of the server");
    }
}

async fn connection<D: Door>(door: D, stream: TcpStream, peer: SocketAddr, hub: Arc<Hub>, config: Arc<RtmpConfig>) {
    let id = trace_id();
    let span = info_span!("rtmp", id);
    async move {
        debug!(%peer, "connected");
        let stats = Arc::clone(&config.stats);
        let opened = match stream.set_nodelay(true) {
            Ok(()) => door.open(stream, peer).await,
            Err(error) => Err(error),
        };
        let stream = match opened {
            Ok(stream) => stream,
            Err(error) => {
                add(&stats.not_opened, 1);
                debug!(%peer, %error, "not let in");
                return;
            }
        };
        let why = Connection::new(stream, Origin { ip: peer.ip(), is_tls: D::IS_TLS }, id, hub, config).run().await;
        match &why {
            End::Session(_) => add(&stats.protocol_errors, 1),
            End::TooSlow => add(&stats.too_slow, 1),
            _ => {}
        }
        debug!(%why, "closed");
    }
    .instrument(span)
    .await;
}

/// Eight lower-case letters and digits.
fn trace_id() -> String {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghijkmnpqrstuvwx";
    let mut random = rand::rng().random::<u64>();
    let mut id = String::with_capacity(8);
    for _ in 0..8 {
        let index = usize::try_from(random % 32).unwrap_or_default();
        id.push(ALPHABET.get(index).map_or('0', |byte| char::from(*byte)));
        random /= 32;
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trace_ids_are_eight_letters_and_digits_and_differ() {
        let (one, other) = (trace_id(), trace_id());
        assert!(one.len() == 8 && one.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()), "{one}");
        assert_ne!(one, other);
    }
}
