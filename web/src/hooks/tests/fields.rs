//! The payloads, field for field.

use serde_json::json;
use weir_bridge::hls::{Finished, SegmentWatch};

use super::*;

/// URLs, and what was posted there.
type Posted = Arc<Mutex<Vec<(String, Value)>>>;

/// Collects what is posted and fetched.
fn listening(config: HooksConfig) -> (Bed, Posted) {
    let heard = Posted::default();
    let ear = Arc::clone(&heard);
    let bed = Bed::new(config, move |url, fields| {
        ear.lock().push((url.to_owned(), fields.clone()));
        (Duration::ZERO, Ok("0"))
    });
    (bed, heard)
}

/// The fields that differ from server to server, checked for their form and taken out.
fn without_ids(mut fields: Value) -> Value {
    let object = fields.as_object_mut().unwrap();
    let take = |object: &mut serde_json::Map<String, Value>, name: &str| {
        object.remove(name).map(|value| value.as_str().unwrap().to_owned())
    };
    let (server, service) = (take(object, "server_id").unwrap(), take(object, "service_id").unwrap());
    assert!(server.starts_with("vid-") && server.len() == 11 && service.len() == 8, "{server} {service}");
    if let Some(stream) = take(object, "stream_id") {
        assert!(stream.starts_with("vid-") && stream.len() == 11, "{stream}");
    }
    fields
}

#[tokio::test(start_paused = true)]
async fn clients_are_told_of_in_srs_fields() {
    let (bed, heard) = listening(all("http://h/x"));
    let publisher = bed.hub.admit(info("p1", ClientKind::RtmpPublish, "s"), None).await.unwrap();
    let viewer = bed.hub.admit(info("v1", ClientKind::FlvPlay, "s"), None).await.unwrap();
    drop(viewer);
    bed.settle().await;
    drop(publisher);
    bed.settle().await;
    let heard: Vec<_> = heard.lock().drain(..).map(|(_, fields)| without_ids(fields)).collect();
    let of = |action: &str, id: &str, clients: u32| {
        json!({
            "action": action, "client_id": id, "ip": "192.0.2.7", "vhost": "__defaultVhost__", "app": "live", "stream": "s",
            "param": "?token=1", "tcUrl": "rtmp://h/live", "stream_url": "/live/s", "clients": clients,
        })
    };
    let mut play = of("on_play", "v1", 2);
    play["pageUrl"] = "http://page/".into();
    assert_eq!(heard, [of("on_publish", "p1", 1), play, of("on_stop", "v1", 1), of("on_unpublish", "p1", 0)]);
}

#[tokio::test(start_paused = true)]
async fn connections_are_told_of_in_srs_fields() {
    let (bed, heard) = listening(all("http://h/x"));
    let pass = bed.hub.admit_connection(caller("c1")).await.unwrap();
    pass.traffic().sent.store(7, Ordering::Relaxed);
    pass.traffic().received.store(5_000_000_000, Ordering::Relaxed);
    drop(pass);
    bed.settle().await;
    let heard: Vec<_> = heard.lock().drain(..).map(|(_, fields)| without_ids(fields)).collect();
    let connect = json!({
        "action": "on_connect", "client_id": "c1", "ip": "192.0.2.7", "vhost": "__defaultVhost__", "app": "live", "stream": "",
        "param": "?a=b", "tcUrl": "rtmp://h/live", "pageUrl": "http://page/",
    });
    let close = json!({
        "action": "on_close", "client_id": "c1", "ip": "192.0.2.7", "vhost": "__defaultVhost__", "app": "live",
        "send_bytes": 7, "recv_bytes": 5_000_000_000_u64,
    });
    assert_eq!(heard, [connect, close]);
}

#[tokio::test(start_paused = true)]
async fn webrtc_shows_in_the_param_and_another_vhost_in_the_stream_url() {
    let (bed, heard) = listening(all("http://h/x"));
    let key = StreamKey::with_vhost("v.example", "live", "s").unwrap();
    drop(bed.hub.admit(info_at("c1", ClientKind::RtcPublish, key.clone()), None).await.unwrap());
    let bare = ClientInfo { param: Secret::default(), ..info_at("c2", ClientKind::RtcPlay, key) };
    drop(bed.hub.admit(bare, None).await.unwrap());
    bed.settle().await;
    let heard = heard.lock();
    let of = |id: &str| &heard.iter().find(|(_, fields)| fields["client_id"] == id).unwrap().1;
    assert_eq!((&of("c1")["param"], &of("c2")["param"]), (&"?token=1&upstream=rtc".into(), &"?upstream=rtc".into()));
    assert_eq!((&of("c1")["stream_url"], &of("c1")["vhost"]), (&"v.example/live/s".into(), &"v.example".into()));
}

#[tokio::test(start_paused = true)]
async fn a64_what_a_client_says_stays_a_json_string() {
    let (bed, heard) = listening(all("http://h/x"));
    let evil = "?a=\"},\"code\":0,{\r\nX: y${jndi}\0\u{202e}";
    let info = ClientInfo { param: Secret::new(evil), page_url: evil.to_owned(), ..info("c1", ClientKind::RtmpPlay, "s") };
    drop(bed.hub.admit(info, None).await.unwrap());
    let fields = heard.lock()[0].1.clone();
    assert_eq!((&fields["param"], &fields["pageUrl"]), (&evil.into(), &evil.into()));
    assert!(fields.get("code").is_none());
}

#[tokio::test(start_paused = true)]
async fn segments_are_told_of_in_srs_fields_and_fetched_by_url() {
    let notify = "http://cache/n/[app]/[stream]/[ts_url][param]".parse().unwrap();
    let (bed, heard) = listening(HooksConfig { on_hls_notify: vec![notify], ..all("http://h/x") });
    assert!(bed.hooks.wants_segments());
    let publisher = bed.hub.admit(info("p1", ClientKind::RtmpPublish, "s"), None).await.unwrap();
    let key = StreamKey::new("live", "s").unwrap();
    bed.hooks.finished(&key, Finished { name: "s-ab-7.ts", seq: 7, duration: Duration::from_millis(2_040) });
    bed.settle().await;
    let heard: Vec<_> = heard.lock().drain(1..).collect();
    let (told, fetched) = (without_ids(heard[0].1.clone()), &heard[1].0);
    let cwd = std::env::current_dir().unwrap().display().to_string();
    assert_eq!(
        told,
        json!({
            "action": "on_hls", "client_id": "p1", "ip": "192.0.2.7", "vhost": "__defaultVhost__", "app": "live", "stream": "s",
            "param": "?token=1", "tcUrl": "rtmp://h/live", "stream_url": "/live/s", "duration": 2.04, "cwd": cwd,
            "file": "/live/s-ab-7.ts", "url": "live/s-ab-7.ts", "m3u8": "/live/s.m3u8", "m3u8_url": "live/s.m3u8", "seq_no": 7,
        })
    );
    assert_eq!(fetched, "http://cache/n/live/s/live/s-ab-7.ts?token=1");
    drop(publisher);
    assert_eq!(bed.hooks.0.publisher(&key).map(|info| info.id.clone()), Some("p1".to_owned()), "its last segment is its own");
}
