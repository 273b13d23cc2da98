//! What follows what: decisions, leavings, and clients that go at the wrong moment.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_clients_life_is_told_in_its_order() {
    let bed = Bed::agreeing();
    let connection = bed.hub.admit_connection(caller("c1")).await.unwrap();
    let pass = bed.hub.admit(info("c1", ClientKind::RtmpPublish, "s"), None).await.unwrap();
    let viewer = bed.hub.admit(info("v1", ClientKind::FlvPlay, "s"), None).await.unwrap();
    drop((viewer, pass, connection));
    bed.settle().await;
    let of = |client: &str| bed.heard().into_iter().filter(|heard| heard.ends_with(client)).collect::<Vec<_>>();
    assert_eq!(of("c1"), ["on_connect c1", "on_publish c1", "on_unpublish c1", "on_close c1"]);
    assert_eq!(of("v1"), ["on_play v1", "on_stop v1"]);
}

#[tokio::test(start_paused = true)]
async fn all_urls_of_a_decision_are_asked_in_order_until_one_does_not_agree() {
    let urls = ["http://h/1", "http://h/2", "http://h/3"].map(|url| url.parse().unwrap()).to_vec();
    let config = HooksConfig { on_publish: urls, ..all("http://h/x") };
    let bed = Bed::new(config, |url, _| (Duration::ZERO, if url.ends_with('2') { Ok(r#"{"code":7}"#) } else { Ok("0") }));
    let denied = bed.hub.admit(info("c1", ClientKind::RtmpPublish, "s"), None).await.unwrap_err();
    assert_eq!(denied, Denied::Forbidden("the callback server refused it: it answered code 7".to_owned()));
    bed.settle().await;
    let urls: Vec<_> = bed.stage.heard.lock().iter().map(|heard| heard.url.clone()).collect();
    assert_eq!(urls, ["http://h/1", "http://h/2"], "and nobody is told that it left");
}

#[tokio::test(start_paused = true)]
async fn who_cannot_be_asked_has_not_agreed() {
    for (said, why) in
        [(Err(0), "nobody is there"), (Err(500), "status 500"), (Err(302), "status 302"), (Ok(""), "neither 0 nor JSON")]
    {
        let bed = Bed::new(all("http://h/x"), move |_, _| (Duration::ZERO, said));
        let denied = bed.hub.admit(info("c1", ClientKind::RtcPlay, "s"), None).await.unwrap_err();
        assert!(matches!(denied, Denied::Unavailable(_)) && reason(&denied).contains(why), "{denied}");
        assert_eq!((bed.count(Hook::Play).calls, bed.count(Hook::Play).failures), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn f47_a_decision_that_takes_longer_than_three_seconds_is_a_no() {
    let bed = Bed::new(all("http://h/x"), |_, _| (Duration::from_secs(60), Ok("0")));
    let began = Instant::now();
    let denied = bed.hub.admit(info("c1", ClientKind::RtcPlay, "s"), None).await.unwrap_err();
    assert!(reason(&denied).contains("did not answer in time"), "{denied}");
    assert_eq!(began.elapsed(), Duration::from_secs(3));
    assert_eq!(bed.count(Hook::Play).timeouts, 1);
}

#[tokio::test(start_paused = true)]
async fn one_that_goes_while_it_is_decided_about_has_left_if_the_answer_was_yes() {
    for (answer, expected) in
        [("0", vec!["on_connect c1", "on_publish c1", "on_unpublish c1", "on_close c1"]), ("1", vec!["on_connect c1"])]
    {
        let bed = Bed::new(all("http://h/x"), move |_, fields| {
            let is_decided = fields["action"] == "on_publish";
            (Duration::from_secs(1), if is_decided { if answer == "0" { Ok("0") } else { Err(403) } } else { Ok("0") })
        });
        let connection = bed.hub.admit_connection(caller("c1")).await.unwrap();
        let admission = bed.hub.admit(info("c1", ClientKind::RtmpPublish, "s"), None);
        let waited = tokio::time::timeout(Duration::from_millis(500), admission).await;
        assert!(waited.is_err(), "it is not decided yet");
        drop(connection);
        bed.settle().await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        let heard: Vec<_> = bed.heard().into_iter().filter(|heard| answer == "0" || !heard.contains("close")).collect();
        assert_eq!(heard, expected, "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_goes_while_it_is_decided_about_is_told_closed() {
    let bed = Bed::new(all("http://h/x"), |_, _| (Duration::from_secs(1), Ok("0")));
    let waited = tokio::time::timeout(Duration::from_millis(500), bed.hub.admit_connection(caller("c1"))).await;
    assert!(waited.is_err());
    bed.settle().await;
    assert_eq!(bed.heard(), ["on_connect c1", "on_close c1"]);
}

#[tokio::test(start_paused = true)]
async fn the_next_publisher_is_asked_about_after_the_last_was_told_to_have_left() {
    let tries = AtomicUsize::new(0);
    let bed = Bed::new(all("http://h/x"), move |_, fields| {
        let fails = fields["action"] == "on_unpublish" && tries.fetch_add(1, Ordering::Relaxed) < 2;
        (Duration::from_millis(100), if fails { Err(503) } else { Ok("0") })
    });
    drop(bed.hub.admit(info("c1", ClientKind::RtmpPublish, "s"), None).await.unwrap());
    let pass = bed.hub.admit(info("c2", ClientKind::RtcPublish, "s"), None).await.unwrap();
    assert_eq!(bed.heard(), ["on_publish c1", "on_unpublish c1", "on_publish c2"]);
    drop(pass);
}

#[tokio::test(start_paused = true)]
async fn what_would_be_wrong_once_the_next_publisher_is_there_is_never_told() {
    let config = HooksConfig { on_unpublish: vec!["http://dead/x".parse().unwrap()], ..all("http://h/x") };
    let bed = Bed::new(config, |url, _| (Duration::from_millis(10), if url.contains("dead") { Err(0) } else { Ok("0") }));
    drop(bed.hub.admit(info("c1", ClientKind::RtmpPublish, "s"), None).await.unwrap());
    let began = Instant::now();
    let other = bed.hub.admit(info("v1", ClientKind::RtmpPublish, "other"), None).await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(100), "other streams do not wait");
    let pass = bed.hub.admit(info("c2", ClientKind::RtmpPublish, "s"), None).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!((bed.count(Hook::Unpublish).dropped, bed.hooks.stats().pending), (1, 0));
    drop((pass, other));
}

#[tokio::test(start_paused = true)]
async fn vhosts_are_asked_where_their_settings_say_so_and_settings_may_change() {
    let mut config = PerVhost::all(all("http://default/x"));
    config.insert("quiet", HooksConfig::default());
    let bed = Bed::with(config, |_, _| (Duration::ZERO, Ok("0")));
    let at = |id, vhost| info_at(id, ClientKind::RtcPlay, StreamKey::with_vhost(vhost, "live", "s").unwrap());
    let quiet = bed.hub.admit(at("c1", "quiet"), None).await.unwrap();
    let loud = bed.hub.admit(at("c2", "loud"), None).await.unwrap();
    drop(quiet);
    bed.hooks.set_config(PerVhost::all(all("http://new/x")));
    drop(loud);
    bed.settle().await;
    let heard: Vec<_> = bed.stage.heard.lock().iter().map(|heard| (heard.url.clone(), heard.action.clone())).collect();
    assert_eq!(heard, [("http://default/x".to_owned(), "on_play".to_owned()), ("http://new/x".to_owned(), "on_stop".to_owned())]);
    assert_eq!(bed.hooks.stats().urls.len(), 1, "the old URL is forgotten");
}
