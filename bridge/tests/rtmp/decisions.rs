//! Connections and clients that wait for somebody's decision.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{Arc, Mutex},
    time::Duration,
};

use weir_bridge::rtmp::RtmpConfig;
use weir_source::{Caller, ClientInfo, Gatekeeper, Traffic, Verdict, Visit};

use super::client::{Client, Server, until};

/// Decides when it is told to, and writes down what it hears.
#[derive(Default)]
struct Keeper {
    decides: tokio::sync::Notify,
    heard: Arc<Mutex<Vec<String>>>,
}

/// A decision; dropped before it is made, it says so.
struct Deciding(Option<(Arc<Mutex<Vec<String>>>, String)>);

impl Drop for Deciding {
    fn drop(&mut self) {
        if let Some((heard, what)) = self.0.take() {
            heard.lock().unwrap().push(format!("{what} forgotten"));
        }
    }
}

impl Keeper {
    fn decide(self: Arc<Self>, what: &str) -> Verdict {
        self.heard.lock().unwrap().push(what.to_owned());
        let mut deciding = Deciding(Some((Arc::clone(&self.heard), what.to_owned())));
        Box::pin(async move {
            self.decides.notified().await;
            drop(deciding.0.take());
            Ok(())
        })
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

struct Gate(Arc<Keeper>);

impl Gatekeeper for Gate {
    fn admit(&self, _visit: Visit) -> Verdict {
        Arc::clone(&self.0).decide("publish")
    }

    fn left(&self, _info: &Arc<ClientInfo>, _traffic: &Traffic) {
        self.0.heard.lock().unwrap().push("left".to_owned());
    }

    fn admit_connection(&self, _caller: Arc<Caller>) -> Verdict {
        Arc::clone(&self.0).decide("connect")
    }

    fn closed(&self, _caller: &Arc<Caller>, traffic: &Traffic) {
        let (sent, received) = traffic.totals();
        self.0.heard.lock().unwrap().push(format!("closed {}", sent > 3_073 && received > 3_073));
    }
}

fn gated(config: RtmpConfig) -> (Server, Arc<Keeper>) {
    let (server, keeper) = (Server::start(config), Arc::<Keeper>::default());
    server.hub.set_gatekeeper(Arc::new(Gate(Arc::clone(&keeper))));
    (server, keeper)
}

#[test]
fn a_connection_and_a_client_are_decided_about_before_they_are_answered() {
    let (server, keeper) = gated(RtmpConfig::default());
    std::thread::scope(|scope| {
        let publishing = scope.spawn(|| Client::publish(&server, "live", "s"));
        until("the connection is asked about", || keeper.heard() == ["connect"]);
        keeper.decides.notify_one();
        until("the client is asked about", || keeper.heard() == ["connect", "publish"]);
        assert_eq!((server.hub.clients().count(), server.hub.list().len()), (0, 0), "nothing of it exists yet");
        keeper.decides.notify_one();
        drop(publishing.join().unwrap());
    });
    until("its end is told, the client's first", || keeper.heard()[2..] == ["left", "closed true"]);
    server.end();
}

/// A client that has said `connect` with the app "live", and hears what comes.
fn connecting(server: &Server) -> TcpStream {
    let mut stream = server.raw();
    let mut handshake = vec![3];
    handshake.resize(1 + 1_536 + 1_536, 0);
    let object = [&[3, 0, 3][..], b"app", &[2, 0, 4], b"live", &[0, 0, 9]].concat();
    let body = [&[2, 0, 7][..], b"connect", &[0, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0], &object].concat();
    let length = u8::try_from(body.len()).unwrap();
    stream.write_all(&[&handshake, &[3, 0, 0, 0, 0, 0, length, 20, 0, 0, 0, 0][..], &body].concat()).unwrap();
    stream
}

#[test]
fn a_client_that_goes_while_it_is_decided_about_is_noticed() {
    let (server, keeper) = gated(RtmpConfig::default());
    let stream = connecting(&server);
    until("the connection is asked about", || keeper.heard() == ["connect"]);
    drop(stream);
    until("nobody waits for the decision", || keeper.heard() == ["connect", "connect forgotten"]);
    server.end();
}

#[test]
fn a_decision_that_never_comes_is_a_refusal() {
    let (server, keeper) = gated(RtmpConfig { decision_timeout: Duration::from_millis(50), ..RtmpConfig::default() });
    let mut said = Vec::new();
    let _closed_or_reset = connecting(&server).read_to_end(&mut said);
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(said.contains("NetConnection.Connect.Rejected") && said.contains("it was not decided in time"));
    assert_eq!(keeper.heard(), ["connect", "connect forgotten"]);
    server.end();
}
