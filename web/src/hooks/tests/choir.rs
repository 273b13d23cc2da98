//! Many clients on many streams, a server that fails at random, and clients that go at random: what
//! was told is complete and in order, whatever happened (I11).

use std::collections::{HashMap, HashSet};

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;

const STREAMS: usize = 6;
const PUBLISHERS: usize = 12;

/// How the server decides about a client: the same at each try.
fn agrees(client: &str) -> bool {
    client.bytes().map(usize::from).sum::<usize>() % 4 != 0
}

async fn run(seed: u64) -> (Vec<Heard>, Vec<super::super::HookStats>) {
    let rng = Mutex::new(StdRng::seed_from_u64(seed));
    let bed = Bed::new(all("http://h/x"), move |_, fields| {
        let mut rng = rng.lock();
        let time = Duration::from_millis(rng.random_range(0..60));
        let action = fields["action"].as_str().unwrap();
        let decides = matches!(action, "on_publish" | "on_play");
        let said = match decides {
            true if agrees(fields["client_id"].as_str().unwrap()) => Ok("0"),
            true => Ok(r#"{"code":1}"#),
            false if rng.random_bool(0.2) => Err([0, 500, 503][rng.random_range(0..3)]),
            false => Ok("0"),
        };
        (time, said)
    });
    let mut streams = tokio::task::JoinSet::new();
    for stream in 0..STREAMS {
        let hub = Arc::clone(&bed.hub);
        let mut rng = StdRng::seed_from_u64(seed * 1_000 + stream as u64);
        streams.spawn(async move {
            let name = format!("s{stream}");
            for number in 0..PUBLISHERS {
                let kind = if number % 3 == 2 { ClientKind::FlvPlay } else { ClientKind::RtmpPublish };
                let admission = hub.admit(info(&format!("{name}-{number}"), kind, &name), None);
                let patience = Duration::from_millis(rng.random_range(0..200));
                let pass = tokio::time::timeout(patience, admission).await;
                tokio::time::sleep(Duration::from_millis(rng.random_range(0..40))).await;
                drop(pass);
            }
        });
    }
    while let Some(ended) = streams.join_next().await {
        ended.unwrap();
    }
    assert_eq!(bed.hooks.drain(Duration::from_secs(120)).await, 0);
    let heard = bed.stage.heard.lock().clone();
    assert_eq!(bed.hooks.0.order.lanes(), 0, "no place is left");
    assert!(bed.hooks.0.present.is_empty(), "nobody is thought to be there");
    (heard, bed.hooks.stats().hooks)
}

fn check(seed: u64, heard: &[Heard]) {
    let mut told: HashMap<(&str, &str), usize> = HashMap::new();
    for heard in heard.iter().filter(|heard| heard.well) {
        *told.entry((&heard.action, &heard.client)).or_default() += 1;
    }
    let count = |action, client| told.get(&(action, client)).copied().unwrap_or(0);
    let clients: HashSet<_> = heard.iter().map(|heard| heard.client.as_str()).collect();
    for client in clients {
        for (begin, end) in [("on_publish", "on_unpublish"), ("on_play", "on_stop")] {
            let begun = count(begin, client);
            assert!(begun <= 1, "seed {seed}: {client} was asked about {begun} times");
            let ended = if agrees(client) { begun } else { 0 };
            assert_eq!(count(end, client), ended, "seed {seed}: {end} of {client}");
        }
    }
    for stream in 0..STREAMS {
        let name = format!("s{stream}");
        let mut of: Vec<_> = heard.iter().filter(|heard| heard.stream == name && heard.action.ends_with("publish")).collect();
        of.sort_by_key(|heard| heard.began);
        for pair in of.windows(2) {
            let [one, next] = pair else { unreachable!() };
            assert!(one.ended <= next.began, "seed {seed}: {one:?} and {next:?} were under way at once");
            let number = |heard: &Heard| heard.client.rsplit_once('-').unwrap().1.parse::<usize>().unwrap();
            assert!(number(one) <= number(next), "seed {seed}: {one:?} came before {next:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn i11_each_publish_has_one_unpublish_in_order_under_random_interleavings() {
    for seed in 0..40 {
        let (heard, stats) = run(seed).await;
        check(seed, &heard);
        let dropped: u64 = stats.iter().map(|hook| hook.dropped).sum();
        assert_eq!(dropped, 0, "seed {seed}: each was received in the end");
        assert!(stats[Hook::Unpublish.index()].retries > 0, "seed {seed}: the server failed at times");
    }
}
