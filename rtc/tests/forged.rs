//! Floods from people without keys cost no memory and are not answered, and peers that stop half way
//! cost little. The names begin with the rows of the threat catalogue.
//!
//! Alone in its program, one test after the other: the allocator counts what all threads take.

use std::{
    alloc::System,
    net::SocketAddr,
    time::{Duration, Instant},
};

use parking_lot::{Mutex, MutexGuard};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use weir_rtc::{
    dtls::{Dtls, Identity},
    sdp::DtlsRole,
    session::{Output, Session},
    wire::stun::{IntegrityKey, Request, Role, TransactionId},
};

use crate::parts::{client::SERVER, netem::Weather, world::World};

#[path = "link/parts.rs"]
#[allow(dead_code, reason = "shared with the tests of the link")]
mod parts;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

static TURN: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    TURN.lock()
}

const ROUNDS: u16 = 3_000;
/// What one that stops half way may hold.
const HELD_MAX: usize = 96 << 10;

fn check(username: &str, pwd: &str) -> Vec<u8> {
    let request =
        Request { transaction: TransactionId([7; 12]), username, priority: 1, role: Role::Controlling(1), use_candidate: true };
    let mut out = vec![0; 600];
    let len = request.emit(&IntegrityKey::new(pwd), &mut out).expect("it fits");
    out.truncate(len);
    out
}

fn with_length(mut data: Vec<u8>, length: usize) -> Vec<u8> {
    data[2..4].copy_from_slice(&(length as u16).to_be_bytes());
    data
}

/// An attribute with a value of `len` bytes that says `told`.
fn attribute(kind: u16, told: usize, len: usize) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &(told as u16).to_be_bytes(), &vec![0xa5; len]].concat()
}

/// A check under the session's names, signed with another password or none; cut at every length, with the
/// header's length as it was and as it should be; with attributes that lie.
fn checks() -> Vec<Vec<u8>> {
    let good = check("weir:client", "somebody else's password, long");
    let mut all = vec![good.clone(), check("nobody:at-all", "x"), vec![0; 20]];
    // As long as a datagram gets, by an attribute that says nothing (SOFTWARE) before those of the check.
    let long = [&good[..20], &attribute(0x8022, 1_476 - good.len(), 1_476 - good.len()), &good[20..]].concat();
    let long = with_length(long.clone(), long.len() - 20);
    all.extend((0..=long.len().min(1_500)).map(|cut| long[..cut].to_vec()));
    all.extend((20..long.len()).map(|cut| with_length(long[..cut].to_vec(), cut - 20)));
    for lie in [-4_isize, -3, -2, -1, 1, 2, 3, 4] {
        all.push(with_length(good.clone(), (good.len() - 20).wrapping_add_signed(lie)));
    }
    // Values past the end, values whose padding is missing, and what must be understood and is not.
    for (kind, told, len) in [(6, 400, 8), (6, 0xffff, 8), (6, 5, 5), (6, 6, 7), (8, 20, 12), (0x7fff, 4, 4), (0x0002, 0, 0)] {
        let with = [&good[..20], &attribute(kind, told, len), &good[20..]].concat();
        all.push(with_length(with.clone(), with.len() - 20));
    }
    all
}

#[test]
fn a01_a04_a05_a10_a19_forged_checks_hellos_and_media_from_anywhere_take_no_memory_and_get_no_answer() {
    let _turn = alone();
    let mut world = World::new();
    world.publish(Weather::FINE);
    world.run(Duration::from_secs(3));
    // One that is connected, and one that nobody has come to yet.
    let (mut fresh, ..) = world.session(99);
    let now = world.now;
    let session = &mut world.publisher.as_mut().expect("it publishes").wire.session;
    while session.poll_output().is_some() {}
    let (place, checks) = (session.path(), checks());
    let hello = [&[22_u8, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 80][..], &[1; 80]].concat();
    let mut media = vec![0x80, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1];
    media.extend([9; 60]);
    let mut buffer = [0; 1_500];
    let mut strange = |session: &mut Session, round: u16, data: &[u8]| {
        let from = SocketAddr::from(([203, 0, 113, (round % 250) as u8], 1_024 + round));
        let copy = &mut buffer[..data.len()];
        copy.copy_from_slice(data);
        session.handle_datagram(now, from, SERVER, copy);
        assert!(session.poll_output().is_none(), "nothing is said to {from}");
    };
    // What is made once: tables that grow to their size.
    for data in checks.iter().chain([&hello, &media]) {
        strange(session, 0, data);
        strange(&mut fresh, 0, data);
    }
    let region = Region::new(ALLOCATOR);
    for round in 0..ROUNDS.max(checks.len() as u16) {
        for session in [&mut *session, &mut fresh] {
            strange(session, round, &checks[usize::from(round) % checks.len()]);
            strange(session, round, &hello);
            for len in [0, 1, 11, 12, 30, media.len()] {
                strange(session, round, &media[..len]);
            }
        }
    }
    let taken = region.change();
    assert_eq!((taken.allocations, taken.bytes_allocated), (0, 0));
    assert_eq!((session.path(), fresh.path()), (place, None));
    assert!(fresh.stats().drops.stun >= u64::from(ROUNDS), "{:?}", fresh.stats().drops);
    world.run(Duration::from_secs(1));
    assert!(world.publisher.expect("it publishes").wire.session.is_connected());
}

#[test]
fn a13_a_thousand_that_stop_after_ice_or_in_the_handshake_hold_little_and_are_gone_in_time() {
    let _turn = alone();
    let world = World::new();
    let (began, identity) = (Instant::now(), Identity::generate().expect("a certificate"));
    let mut hello = Dtls::new(&identity, DtlsRole::Active, Vec::new(), began);
    let hello = hello.poll_transmit().expect("a ClientHello");
    let region = Region::new(ALLOCATOR);
    let mut sessions: Vec<Session> = (0..1_000_u16).map(|n| stop_half_way(&world, n, &hello)).collect();
    let taken = region.change();
    let held = taken.bytes_allocated.saturating_sub(taken.bytes_deallocated) / sessions.len();
    println!("{held} bytes each");
    assert!(held <= HELD_MAX, "{held} bytes each");
    for second in 1..=15 {
        let now = world.now + Duration::from_secs(second);
        for session in &mut sessions {
            assert!(!session.is_closed());
            session.handle_timeout(now);
            let ended = std::iter::from_fn(|| session.poll_output()).any(|output| matches!(output, Output::Closed(_)));
            assert_eq!((ended, session.is_closed()), (second == 15, second == 15));
        }
    }
    drop(sessions);
    let kept = region.change();
    let kept = kept.bytes_allocated.saturating_sub(kept.bytes_deallocated);
    assert!(kept < 64 << 10, "{kept} bytes are left of a thousand");
}

/// Where the peer of a session is.
fn place(number: u16) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 7], 1_024 + number))
}

/// A session whose peer has proven its address.
fn half_way(world: &World, number: u16) -> Session {
    let (mut session, remote, local) = world.session(u64::from(number));
    let mut data = check(&format!("{}:{}", local.ufrag, remote.ufrag), &local.pwd);
    session.handle_datagram(world.now, place(number), SERVER, &mut data);
    assert!(session.path().is_some(), "ICE is done");
    session
}

/// The same; every second peer has said hello as well.
fn stop_half_way(world: &World, number: u16, hello: &[u8]) -> Session {
    let mut session = half_way(world, number);
    if number.is_multiple_of(2) {
        session.handle_datagram(world.now, place(number), SERVER, &mut hello.to_vec());
    }
    let mut sent = 0;
    while let Some(output) = session.poll_output() {
        let Output::Transmit { data, .. } = output else { panic!("{output:?}") };
        sent += data.len();
    }
    assert!((40..4_000).contains(&sent), "{sent} bytes");
    session
}

/// Fragments of a handshake that never comes together, from the peer's own address: of no bytes, overlapping, of
/// messages as long as can be said, far ahead, of other epochs and with huge numbers (RFC 6347 section 4.2.2).
#[test]
fn a12_a_flood_of_fragments_holds_little_and_costs_little() {
    let _turn = alone();
    let world = World::new();
    let fragment = |kind: u8, length: u32, message: u16, offset: u32, bytes: usize, epoch: u16| {
        let len = (bytes + 12) as u16;
        let mut data = [&[22, 0xfe, 0xfd][..], &epoch.to_be_bytes(), &[0xff; 6], &len.to_be_bytes(), &[kind]].concat();
        data.extend_from_slice(&length.to_be_bytes()[1..]);
        data.extend_from_slice(&message.to_be_bytes());
        data.extend_from_slice(&offset.to_be_bytes()[1..]);
        data.extend_from_slice(&(bytes as u32).to_be_bytes()[1..]);
        data.extend(std::iter::repeat_n(0xaa, bytes));
        data
    };
    let mut flood = Vec::new();
    for message in 0..500 {
        for kind in [1, 11, 16, 20] {
            flood.push(fragment(kind, 16_000, message, u32::from(message) * 7, 1_000, 0));
            flood.push(fragment(kind, 0xff_ffff, message, 0xff_0000, 1_000, 0));
            flood.push(fragment(kind, 16_000, message, 8_000, 0, 0));
            flood.push(fragment(kind, 1_000, message, 0, 1_000, 1 + message));
        }
    }
    // What the first one takes once for all is not the session's.
    drop(half_way(&world, 0));
    let region = Region::new(ALLOCATOR);
    let mut session = half_way(&world, 1);
    let mut buffer = [0; 1_500];
    let mut most = Duration::ZERO;
    for data in &flood {
        let began = cpu_time();
        let copy = &mut buffer[..data.len()];
        copy.copy_from_slice(data);
        session.handle_datagram(world.now, place(1), SERVER, copy);
        while session.poll_output().is_some() {}
        most = most.max(cpu_time() - began);
    }
    let taken = region.change();
    let held = taken.bytes_allocated.saturating_sub(taken.bytes_deallocated);
    println!("{held} bytes, {most:?} at the most");
    assert!(held <= 128 << 10, "{held} bytes");
    assert!(most <= Duration::from_millis(5), "{most:?}");
    assert!(!session.is_closed(), "it waits for the rest");
}

/// Processor time of this thread.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
