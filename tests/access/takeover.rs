//! When a publisher takes the place of another (F20, F22), and that viewers go on.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use serde_json::json;

use super::ask::{SECRET, keep_publishing, now, signed};
use crate::support::{Weir, eventually, process::Client};

const PATIENCE: Duration = Duration::from_secs(20);

fn server(rule: &str) -> Weir {
    let token = format!("token {{ enabled on; publish on; play off; secret {SECRET}; }}");
    Weir::start_with(&format!("{token} publish {{ takeover {rule}; }}"))
}

/// Publishes as somebody, with a fresh token each time.
fn publish_as(server: &Weir, who: &str) -> Client {
    let claims = json!({"sub": who, "stream": "live/cam", "action": "publish", "exp": now() + 600, "jti": rand::random::<u64>()});
    keep_publishing(server, "cam", &format!("?token={}", signed(&claims, SECRET)))
}

/// The id of who publishes now.
fn publisher_id(server: &Weir) -> String {
    let list = server.get("/api/v1/streams/");
    list["streams"][0]["publish"]["cid"].as_str().unwrap_or_default().to_owned()
}

fn has_replaced(server: &Weir, former: &str) {
    eventually("another one publishes", PATIENCE, || {
        let id = publisher_id(server);
        (!id.is_empty() && id != former).then_some(())
    });
}

/// Its end, and what it was told.
fn refused(mut client: Client) -> String {
    eventually("it is sent away", PATIENCE, || (!client.is_running()).then_some(()));
    client.finish(PATIENCE).stderr
}

#[test]
fn f20_the_same_publisher_takes_over_at_once_and_its_viewers_go_on() {
    let server = server("identity");
    let first = publish_as(&server, "alice");
    server.wait_for_publisher("cam");
    let id = publisher_id(&server);
    let url = server.http_url("cam.flv");
    let viewer = Client::ffmpeg("viewer", &["-i", &url, "-frames:v", "80", "-f", "null", "-"]);
    eventually("the viewer is there", PATIENCE, || {
        (server.get("/api/v1/clients/")["clients"].as_array()?.len() >= 2).then_some(())
    });
    let second = publish_as(&server, "alice");
    has_replaced(&server, &id);
    let told = refused(first);
    assert!(told.contains("another publisher has taken over"), "{told}");
    let seen = viewer.finish(Duration::from_secs(40));
    assert!(seen.status.success(), "80 pictures take eight seconds: {}", seen.stderr);
    drop(second);
}

#[test]
fn f22_another_publisher_is_refused_and_the_first_feels_nothing() {
    for rule in ["silent", "identity", "never"] {
        let server = server(rule);
        let mut first = publish_as(&server, "alice");
        server.wait_for_publisher("cam");
        let id = publisher_id(&server);
        let told = refused(publish_as(&server, "bob"));
        assert!(told.contains("StreamBusy"), "{rule}: {told}");
        if rule != "identity" {
            assert!(refused(publish_as(&server, "alice")).contains("StreamBusy"), "{rule}");
        }
        assert!(first.is_running());
        assert_eq!(publisher_id(&server), id);
    }
}

#[test]
fn the_last_one_to_come_publishes_where_that_is_the_rule() {
    let server = server("always");
    let first = publish_as(&server, "alice");
    server.wait_for_publisher("cam");
    let id = publisher_id(&server);
    let mut second = publish_as(&server, "bob");
    has_replaced(&server, &id);
    assert!(refused(first).contains("taken over"));
    assert!(second.is_running());
}

#[test]
fn a_silent_publisher_is_replaced_unless_the_rule_is_never() {
    for (rule, want) in [("silent", true), ("never", false)] {
        let server = server(rule);
        let first = publish_as(&server, "alice");
        server.wait_for_publisher("cam");
        let id = publisher_id(&server);
        signal(&first, "STOP");
        wait_until_silent(&server, &id);
        let second = publish_as(&server, "bob");
        match want {
            true => has_replaced(&server, &id),
            false => assert!(refused(second).contains("StreamBusy")),
        }
        signal(&first, "CONT");
    }
}

/// Waits until the server has had nothing from a client for longer than one may be silent.
fn wait_until_silent(server: &Weir, id: &str) {
    let path = format!("/api/v1/clients/{id}");
    let mut last = (Instant::now(), 0);
    eventually("it has been silent for more than two seconds", PATIENCE, || {
        let received = server.get(&path)["client"]["recv_bytes"].as_u64().expect("it is listed");
        if received != last.1 {
            last = (Instant::now(), received);
        }
        (last.0.elapsed() > Duration::from_millis(2_200)).then_some(())
    });
}

fn signal(client: &Client, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &client.pid().to_string()]).status().expect("kill runs");
    assert!(sent.success());
}
