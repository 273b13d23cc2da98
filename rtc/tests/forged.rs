//! Floods from people without keys cost no memory and are not answered.
//!
//! Alone in its program: the allocator counts what all threads take.

use std::{alloc::System, net::SocketAddr, time::Duration};

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use weir_rtc::wire::stun::{IntegrityKey, Request, Role, TransactionId};

use crate::parts::{netem::Weather, world::World};

#[path = "link/parts.rs"]
#[allow(dead_code, reason = "shared with the tests of the link")]
mod parts;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const ROUNDS: u16 = 3_000;

/// A check under the session's names, signed with another password, cut and spoilt.
fn checks() -> Vec<Vec<u8>> {
    let emit = |username: &str, pwd: &str| {
        let request = Request {
            transaction: TransactionId([7; 12]),
            username,
            priority: 1,
            role: Role::Controlling(1),
            use_candidate: true,
        };
        let mut out = vec![0; 600];
        let len = request.emit(&IntegrityKey::new(pwd), &mut out).expect("it fits");
        out.truncate(len);
        out
    };
    let mut all = vec![emit("weir:client", "somebody else's password, long"), emit("nobody:at-all", "x"), vec![0; 20]];
    let whole = all[0].clone();
    all.extend((1..60).map(|cut| whole[..cut].to_vec()));
    all
}

#[test]
fn forged_checks_handshakes_and_media_from_anywhere_take_no_memory_and_get_no_answer() {
    let mut world = World::new();
    world.publish(Weather::FINE);
    world.run(Duration::from_secs(3));
    let now = world.now;
    let session = &mut world.publisher.as_mut().expect("it publishes").wire.session;
    while session.poll_output().is_some() {}
    let (place, checks) = (session.path(), checks());
    let hello = [&[22_u8, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 80][..], &[1; 80]].concat();
    let mut media = vec![0x80, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1];
    media.extend([9; 60]);
    let mut buffer = [0; 1_500];
    let mut strange = |round: u16, data: &[u8]| {
        let from = SocketAddr::from(([203, 0, 113, (round % 250) as u8], 1_024 + round));
        let copy = &mut buffer[..data.len()];
        copy.copy_from_slice(data);
        session.handle_datagram(now, from, parts::client::SERVER, copy);
        assert!(session.poll_output().is_none(), "nothing is said to {from}");
    };
    // What is made once: tables that grow to their size.
    for data in checks.iter().chain([&hello, &media]) {
        strange(0, data);
    }
    let region = Region::new(ALLOCATOR);
    for round in 0..ROUNDS {
        strange(round, &checks[usize::from(round) % checks.len()]);
        strange(round, &hello);
        for len in [0, 1, 11, 12, 30, media.len()] {
            strange(round, &media[..len]);
        }
    }
    let taken = region.change();
    assert_eq!((taken.allocations, taken.bytes_allocated), (0, 0));
    assert_eq!(session.path(), place);
    world.run(Duration::from_secs(1));
    assert!(world.publisher.expect("it publishes").wire.session.is_connected());
}
