//! Hostile input on every port at once, next to a stream that must not notice.
//!
//! One server, one canary, and all attacks side by side, because that is how they meet a server.
//! Each attack checks its own answers; what only shows on the whole (memory, gauges, the log, the
//! canary's packets) is checked when all are over. Random bytes are seeded. The numbers in brackets
//! are rows of the threat catalogue.

mod support;
mod hostile {
    pub(crate) mod bombs;
    pub(crate) mod canary;
    pub(crate) mod chunks;
    pub(crate) mod http;
    pub(crate) mod names;
    pub(crate) mod noise;
    pub(crate) mod offers;
    pub(crate) mod rtc;
    pub(crate) mod rtmp;
    pub(crate) mod udp;
    pub(crate) mod vitals;
    pub(crate) mod web;

    use std::time::{Duration, Instant};

    /// What an attack needs to know.
    pub(crate) struct Arena<'a> {
        pub server: &'a crate::support::Weir,
    }

    /// Repeats `step` until it says that the connection is closed; how long that took since `began`.
    pub(crate) fn drip<T>(connection: &mut T, began: Instant, mut step: impl FnMut(&mut T) -> bool) -> Duration {
        let patience = Duration::from_secs(20);
        while !step(connection) {
            assert!(began.elapsed() < patience, "a slow client was suffered for {patience:?}");
        }
        began.elapsed()
    }
}

use std::panic::{AssertUnwindSafe, catch_unwind};

use hostile::{Arena, bombs, canary::Canary, chunks, names, offers, udp, vitals::Vitals, web};
use support::Weir;

type Attack = (&'static str, fn(&Arena<'_>));

macro_rules! attacks {
    ($($room:ident :: $name:ident,)*) => { &[$((stringify!($name), $room::$name)),*] };
}

const ATTACKS: &[Attack] = attacks![
    udp::noise_on_the_media_port_is_not_answered,
    udp::strangers_are_not_answered,
    udp::stun_of_nobody_is_not_answered,
    udp::a_session_survives_forged_checks_media_and_handshakes,
    udp::a_wrong_fingerprint_gets_no_media,
    udp::broken_handshakes_end_their_own_session,
    web::noise_on_the_http_ports_ends_its_connection,
    web::cut_requests_open_nothing,
    web::odd_heads_are_refused,
    web::slow_requests_are_closed,
    offers::bad_offers_are_refused_with_a_reason,
    offers::cut_offers_are_answered,
    offers::large_bodies_are_413,
    offers::bad_json_has_a_code,
    names::bad_names_are_400_on_whip_and_whep,
    names::paths_that_leave_the_root_are_as_absent_as_any,
    names::bad_names_are_refused_by_rtmp,
    chunks::other_protocols_on_the_rtmp_port_are_closed,
    chunks::noise_on_the_rtmp_port_ends_its_connection,
    chunks::cut_sessions_end_cleanly,
    chunks::interleaved_chunks_are_read,
    chunks::lying_chunk_headers_end_their_connection,
    chunks::announced_messages_cost_what_was_sent,
    chunks::slow_handshakes_are_closed,
    bombs::amf_bombs_in_commands_are_ignored,
    bombs::amf_bombs_in_metadata_are_ignored,
    bombs::tampered_media_costs_its_own_stream_only,
];

#[test]
fn hostile_input_is_refused_or_ignored_and_disturbs_nobody() {
    let mut server = Weir::start();
    let canary = Canary::start(&server);
    let before = Vitals::of(&server);
    let failed = run(&Arena { server: &server });
    names::none_is_a_stream(&server.get("/api/v1/streams/?count=1000"));
    before.check(&mut server);
    canary.finish();
    assert!(failed.is_empty(), "these attacks were not met as they should be: {failed:#?}");
}

/// Runs all attacks side by side; the names of those whose checks failed. Their reasons are on the
/// standard error output.
fn run(arena: &Arena<'_>) -> Vec<&'static str> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = ATTACKS
            .iter()
            .map(|(name, attack)| {
                let thread = std::thread::Builder::new().name((*name).to_owned());
                let body = move || {
                    let began = std::time::Instant::now();
                    let held = catch_unwind(AssertUnwindSafe(|| attack(arena))).is_ok();
                    println!("{:5.1} s  {name}: {}", began.elapsed().as_secs_f64(), if held { "held" } else { "FAILED" });
                    held
                };
                (*name, thread.spawn_scoped(scope, body).expect("a thread"))
            })
            .collect();
        threads.into_iter().filter_map(|(name, thread)| (!thread.join().unwrap_or(false)).then_some(name)).collect()
    })
}
