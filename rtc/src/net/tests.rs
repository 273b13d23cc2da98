//! The batches over loopback, against the real kernel.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::*;

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn bind(addr: IpAddr) -> Socket {
    let options = SocketOptions { reuse_port: false, recv_buffer: 1 << 20, send_buffer: 1 << 20 };
    Socket::bind(SocketAddr::new(addr, 0), &options).expect("a free port")
}

fn target(socket: &Socket) -> Target {
    Target { remote: socket.local_addr(), local: LOCAL }
}

/// Loopback delivers within the send call, so what was sent is there to be taken.
fn take(receiver: &mut Receiver, socket: &Socket) -> Vec<(SocketAddr, IpAddr, Vec<u8>)> {
    let mut all = Vec::new();
    loop {
        let more = receiver.recv(socket);
        all.extend(receiver.datagrams().map(|d| (d.remote, d.local, d.data.to_vec())));
        if !more {
            return all;
        }
    }
}

fn numbered(number: u8, len: usize) -> Vec<u8> {
    vec![number; len]
}

#[test]
fn equal_packets_to_one_peer_leave_as_one_message_and_arrive_as_they_were() {
    let (a, b) = (bind(LOCAL), bind(LOCAL));
    let (mut sender, mut receiver) = (Sender::new(), Receiver::new());
    for number in 0..10 {
        sender.push(&a, target(&b), &numbered(number, 1_200));
    }
    sender.push(&a, target(&b), &numbered(10, 90));
    sender.push(&a, target(&b), &numbered(11, 1_200));
    sender.flush(&a);
    let sent = sender.counters();
    assert_eq!((sent.calls, sent.messages, sent.datagrams, sent.bytes), (1, 2, 12, 11 * 1_200 + 90));
    assert_eq!((sent.full, sent.refused, sent.unsegmented), (0, 0, 0));

    let got = take(&mut receiver, &b);
    let lengths: Vec<_> = got.iter().map(|(_, _, data)| data.len()).collect();
    assert_eq!(lengths, [vec![1_200; 10], vec![90, 1_200]].concat());
    assert!(got.iter().enumerate().all(|(n, (remote, local, data))| {
        *remote == a.local_addr() && *local == LOCAL && data.iter().all(|byte| usize::from(*byte) == n)
    }));
    assert!(!b.coalesces() || receiver.counters().messages == 2, "one message each way");
}

#[test]
fn a_message_never_exceeds_what_the_kernel_cuts_up() {
    let (a, b) = (bind(LOCAL), bind(LOCAL));
    let (mut sender, mut receiver) = (Sender::new(), Receiver::new());
    for number in 0..130 {
        sender.push(&a, target(&b), &numbered(number, 1_400));
    }
    for number in 130..200 {
        sender.push(&a, target(&b), &numbered(number, 20));
    }
    sender.flush(&a);
    let sent = sender.counters();
    assert_eq!((sent.datagrams, sent.unsegmented, sent.refused), (200, 0, 0));
    // 46 × 1,400 bytes is the most below 65,507; 64 segments the most of 20; the first of these
    // rides on the last long message.
    assert_eq!(sent.messages, 5);
    let got = take(&mut receiver, &b);
    assert!(got.iter().enumerate().all(|(n, (_, _, data))| data.iter().all(|byte| usize::from(*byte) == n)));
    assert_eq!(got.len(), 200);
}

#[test]
fn an_arena_that_is_full_is_flushed_on_the_way() {
    let (a, b) = (bind(LOCAL), bind(LOCAL));
    let (mut sender, mut receiver) = (Sender::new(), Receiver::new());
    let mut received = 0;
    for round in 0..5u32 {
        for _ in 0..100 {
            sender.push(&a, target(&b), &numbered(7, 1_200));
        }
        assert!(round != 4 || sender.counters().calls > 0);
        received += take(&mut receiver, &b).len();
    }
    sender.flush(&a);
    received += take(&mut receiver, &b).len();
    assert_eq!((received, sender.counters().datagrams), (500, 500));
    assert!(sender.is_empty());
}

#[test]
fn peers_are_told_apart_and_their_order_is_kept() {
    let (a, b, c) = (bind(LOCAL), bind(LOCAL), bind(LOCAL));
    let (mut sender, mut receiver) = (Sender::new(), Receiver::new());
    for number in 0..30 {
        let to = if number % 3 == 0 { &c } else { &b };
        sender.push(&a, target(to), &numbered(number, 300));
    }
    sender.flush(&a);
    let order = |got: Vec<(SocketAddr, IpAddr, Vec<u8>)>| got.iter().map(|(_, _, data)| data[0]).collect::<Vec<_>>();
    assert_eq!(order(take(&mut receiver, &c)), (0..30).filter(|n| n % 3 == 0).collect::<Vec<_>>());
    assert_eq!(order(take(&mut receiver, &b)), (0..30).filter(|n| n % 3 != 0).collect::<Vec<_>>());
}

#[test]
fn without_segmentation_every_packet_still_arrives() {
    let (a, b) = (bind(LOCAL), bind(LOCAL));
    a.refuse_segmentation();
    let (mut sender, mut receiver) = (Sender::new(), Receiver::new());
    for round in 0..20 {
        for number in 0..5 {
            sender.push(&a, target(&b), &numbered(round * 5 + number, 1_000));
        }
        sender.flush(&a);
    }
    let sent = sender.counters();
    assert_eq!((sent.datagrams, sent.messages, sent.unsegmented, sent.refused), (100, 100, 20, 0));
    // Eight refusals cost a call each; after that the kernel is not asked any more.
    assert_eq!(sent.calls, 20 + 8);
    let got = take(&mut receiver, &b);
    assert!(got.iter().enumerate().all(|(n, (_, _, data))| usize::from(data[0]) == n));
    assert_eq!(got.len(), 100);
}

#[test]
fn what_is_too_long_is_dropped_and_counted_on_both_sides() {
    let (a, b) = (bind(LOCAL), bind(LOCAL));
    let (mut sender, mut receiver) = (Sender::new(), Receiver::new());
    sender.push(&a, target(&b), &numbered(1, DATAGRAM_MAX + 1));
    sender.flush(&a);
    assert_eq!((sender.counters().refused, sender.counters().datagrams), (1, 0));

    let plain = std::net::UdpSocket::bind((LOCAL, 0)).expect("a free port");
    for len in [DATAGRAM_MAX, DATAGRAM_MAX + 1, 60_000, 0, 1] {
        plain.send_to(&numbered(2, len), b.local_addr()).expect("loopback takes it");
    }
    let lengths: Vec<_> = take(&mut receiver, &b).iter().map(|(_, _, data)| data.len()).collect();
    assert_eq!(lengths, [DATAGRAM_MAX, 1]);
    assert_eq!(receiver.counters().bad_size, 2);
}

#[test]
fn what_the_kernel_refuses_costs_only_itself() {
    let (a, b) = (bind(LOCAL), bind(LOCAL));
    let (mut sender, mut receiver) = (Sender::new(), Receiver::new());
    let nowhere = Target { remote: SocketAddr::from(([255, 255, 255, 255], 9)), local: LOCAL };
    sender.push(&a, target(&b), &numbered(0, 100));
    sender.push(&a, nowhere, &numbered(1, 100));
    sender.push(&a, nowhere, &numbered(1, 100));
    sender.push(&a, target(&b), &numbered(2, 100));
    sender.flush(&a);
    assert_eq!((sender.counters().datagrams, sender.counters().refused), (2, 2), "broadcast needs a permission");
    assert_eq!(take(&mut receiver, &b).len(), 2);
}

#[test]
fn answers_leave_from_the_address_that_was_asked() {
    let server = bind(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let asked = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    let client = std::net::UdpSocket::bind((LOCAL, 0)).expect("a free port");
    client.send_to(b"ask", (asked, server.local_addr().port())).expect("loopback takes it");
    let mut receiver = Receiver::new();
    let got = take(&mut receiver, &server);
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].1, asked);

    let mut sender = Sender::new();
    sender.push(&server, Target { remote: got[0].0, local: got[0].1 }, b"answer");
    sender.flush(&server);
    let mut buffer = [0; 16];
    let (_, from) = client.recv_from(&mut buffer).expect("an answer");
    assert_eq!(from, SocketAddr::new(asked, server.local_addr().port()));
}

#[test]
fn version_six_works_alike() {
    let local = IpAddr::V6(Ipv6Addr::LOCALHOST);
    if std::net::UdpSocket::bind((local, 0)).is_err() {
        return; // A machine without IPv6.
    }
    let (a, b) = (bind(local), bind(local));
    let (mut sender, mut receiver) = (Sender::new(), Receiver::new());
    for number in 0..4 {
        sender.push(&a, Target { remote: b.local_addr(), local }, &numbered(number, 700));
    }
    sender.flush(&a);
    let got = take(&mut receiver, &b);
    assert_eq!(got.len(), 4);
    assert!(got.iter().all(|(remote, at, _)| *remote == a.local_addr() && *at == local));
}

#[test]
fn a_receive_buffer_that_overflows_is_counted_exactly() {
    let options = SocketOptions { reuse_port: false, recv_buffer: 20_000, send_buffer: 1 << 20 };
    let b = Socket::bind(SocketAddr::new(LOCAL, 0), &options).expect("a free port");
    let plain = std::net::UdpSocket::bind((LOCAL, 0)).expect("a free port");
    for _ in 0..200 {
        plain.send_to(&numbered(1, 1_000), b.local_addr()).expect("loopback takes it");
    }
    let got = take(&mut Receiver::new(), &b).len();
    assert!(got < 200);
    assert_eq!(b.kernel_drops(), Some(200 - got as u32));
}

#[test]
fn datagrams_tell_of_those_dropped_before_them() {
    let options = SocketOptions { reuse_port: false, recv_buffer: 20_000, send_buffer: 1 << 20 };
    let b = Socket::bind(SocketAddr::new(LOCAL, 0), &options).expect("a free port");
    let plain = std::net::UdpSocket::bind((LOCAL, 0)).expect("a free port");
    let mut receiver = Receiver::new();
    let mut drops = DropCount::default();
    let send = |count| (0..count).for_each(|_| drop(plain.send_to(&numbered(1, 1_000), b.local_addr())));
    send(200);
    let lost = 200 - take(&mut receiver, &b).len() as u64;
    assert_eq!(receiver.drops(), None, "the drops came after all that was queued");
    send(1);
    receiver.recv(&b);
    assert_eq!(receiver.drops().map(u64::from), Some(lost));
    for said in [receiver.drops(), b.kernel_drops(), receiver.drops()].into_iter().flatten() {
        drops.note(said);
    }
    assert_eq!(drops.total(), lost, "both accounts are of the same datagrams");
}

#[test]
fn a_waker_ends_the_present_and_the_next_wait() {
    let waker = Arc::new(Waker::new().expect("an eventfd"));
    let socket = bind(LOCAL);
    waker.wake();
    waker.wake();
    wait([&socket].into_iter(), None, &waker, None);

    let other = Arc::clone(&waker);
    let from = thread::spawn(move || other.wake());
    wait([&socket].into_iter(), None, &waker, None);
    from.join().expect("it only wakes");

    let began = Instant::now();
    wait([&socket].into_iter(), None, &waker, Some(Duration::from_millis(5)));
    wait([&socket].into_iter(), None, &waker, Some(Duration::from_millis(5)));
    assert!(began.elapsed() >= Duration::from_millis(5), "wakes coalesce, so at most one of these is early");
}

#[test]
fn a_datagram_ends_the_wait() {
    let waker = Waker::new().expect("an eventfd");
    let socket = bind(LOCAL);
    let plain = std::net::UdpSocket::bind((LOCAL, 0)).expect("a free port");
    plain.send_to(b"x", socket.local_addr()).expect("loopback takes it");
    wait([&socket].into_iter(), None, &waker, None);
    assert_eq!(take(&mut Receiver::new(), &socket).len(), 1);
}
