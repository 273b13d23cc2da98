//! What a server that is slow, dead or away costs, and what it does not.

use super::*;

fn viewer(id: usize) -> ClientInfo {
    info(&format!("v{id}"), ClientKind::FlvPlay, "s")
}

/// Decides at once; what tells is up to `said`.
fn deciding(url: &str) -> HooksConfig {
    HooksConfig {
        on_play: vec!["http://decide/x".parse().unwrap()],
        on_publish: vec!["http://decide/x".parse().unwrap()],
        ..all(url)
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_delays_nobody_elses_callbacks() {
    let mut config = PerVhost::all(deciding("http://well/x"));
    config.insert("a", deciding("http://hangs/x"));
    let bed = Bed::with(config, |url, _| {
        (if url.contains("hangs") { Duration::from_secs(3_600) } else { Duration::from_millis(20) }, Ok("0"))
    });
    let mut passes = Vec::new();
    for number in 0..200 {
        let key = StreamKey::with_vhost("a", "live", "s").unwrap();
        passes.push(bed.hub.admit(info_at(&format!("a{number}"), ClientKind::FlvPlay, key), None).await.unwrap());
    }
    drop(passes);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(bed.stage.under_way.load(Ordering::Relaxed) <= 16, "a hanging server holds few connections");
    let pass = bed.hub.admit(viewer(1), None).await.unwrap();
    let began = Instant::now();
    drop(pass);
    while !bed.heard().contains(&"on_stop v1".to_owned()) {
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(began.elapsed() < Duration::from_millis(100), "vhost a's server delays others");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_back_gets_all_that_waited() {
    let back = Instant::now() + Duration::from_secs(10);
    let bed = Bed::new(deciding("http://h/x"), move |url, _| {
        let is_there = url.contains("decide") || Instant::now() >= back;
        (Duration::from_millis(5), if is_there { Ok("0") } else { Err(0) })
    });
    let mut passes = Vec::new();
    for number in 0..300 {
        passes.push(bed.hub.admit(viewer(number), None).await.unwrap());
    }
    drop(passes);
    bed.settle().await;
    let stopped = bed.heard().iter().filter(|heard| heard.starts_with("on_stop")).count();
    assert_eq!((stopped, bed.count(Hook::Stop).dropped), (300, 0));
    let failures = bed.count(Hook::Stop).failures;
    assert!(failures < 60, "a dead server is left alone: {failures} calls failed");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stays_away_is_given_up_and_everything_is_counted() {
    let bed = Bed::new(deciding("http://h/x"), |url, _| {
        (Duration::from_millis(5), if url.contains("decide") { Ok("0") } else { Err(0) })
    });
    let began = Instant::now();
    drop(bed.hub.admit(viewer(1), None).await.unwrap());
    bed.settle().await;
    let stats = bed.count(Hook::Stop);
    assert_eq!((stats.calls, stats.retries, stats.dropped), (8, 7, 1));
    assert!(began.elapsed() < Duration::from_secs(75), "{:?}", began.elapsed());
    assert_eq!(bed.hooks.stats().pending, 0);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_will_not_take_it_is_not_asked_again() {
    let bed =
        Bed::new(deciding("http://h/x"), |url, _| (Duration::ZERO, if url.contains("decide") { Ok("0") } else { Err(404) }));
    drop(bed.hub.admit(viewer(1), None).await.unwrap());
    bed.settle().await;
    let stats = bed.count(Hook::Stop);
    assert_eq!((stats.calls, stats.refusals, stats.dropped), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_thousand_may_wait_and_places_are_kept_for_what_matters_most() {
    let bed = Bed::new(deciding("http://h/x"), |url, _| {
        (if url.contains("decide") { Duration::ZERO } else { Duration::from_secs(3_600) }, Ok("0"))
    });
    let mut passes = Vec::new();
    for number in 0..1_200 {
        passes.push(bed.hub.admit(viewer(number), None).await.unwrap());
    }
    let publisher = bed.hub.admit(info("p", ClientKind::RtmpPublish, "s"), None).await.unwrap();
    drop(passes);
    assert_eq!((bed.hooks.stats().pending, bed.count(Hook::Stop).dropped), (900, 300));
    drop(publisher);
    assert_eq!((bed.hooks.stats().pending, bed.count(Hook::Unpublish).dropped), (901, 0));
}

#[tokio::test(start_paused = true)]
async fn decisions_at_one_url_are_bounded_and_wait_within_their_time() {
    let bed = Bed::new(all("http://h/x"), |_, _| (Duration::from_millis(1_200), Ok("0")));
    let mut admissions = tokio::task::JoinSet::new();
    for number in 0..600 {
        let hub = Arc::clone(&bed.hub);
        admissions.spawn(async move { hub.admit(viewer(number), None).await.map(drop) });
    }
    let mut let_in = 0;
    while let Some(verdict) = admissions.join_next().await {
        let_in += usize::from(verdict.unwrap().is_ok());
    }
    assert_eq!(bed.stage.most.load(Ordering::Relaxed).min(256 + 16), bed.stage.most.load(Ordering::Relaxed));
    assert_eq!(let_in, 512, "two rounds of 1.2 s fit into 3 s");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_server_waits_for_what_is_still_to_be_told() {
    let tries = AtomicUsize::new(0);
    let bed = Bed::new(all("http://h/x"), move |_, fields| {
        let fails = fields["action"] == "on_unpublish" && tries.fetch_add(1, Ordering::Relaxed) < 4;
        (Duration::from_millis(20), if fails { Err(0) } else { Ok("0") })
    });
    let pass = bed.hub.admit(info("p", ClientKind::RtmpPublish, "s"), None).await.unwrap();
    drop(pass);
    let began = Instant::now();
    assert_eq!(bed.hooks.drain(Duration::from_secs(2)).await, 0);
    assert!(began.elapsed() < Duration::from_millis(1_500), "in quick tries: {:?}", began.elapsed());
    assert!(bed.heard().contains(&"on_unpublish p".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_server_does_not_wait_for_ever() {
    let bed = Bed::new(deciding("http://h/x"), |url, _| {
        (if url.contains("decide") { Duration::ZERO } else { Duration::from_secs(3_600) }, Ok("0"))
    });
    let passes = [bed.hub.admit(viewer(1), None).await.unwrap(), bed.hub.admit(viewer(2), None).await.unwrap()];
    drop(passes);
    let began = Instant::now();
    assert_eq!(bed.hooks.drain(Duration::from_secs(2)).await, 2);
    assert_eq!(began.elapsed(), Duration::from_secs(2));
}
