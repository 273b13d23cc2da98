//! `net::Sender`: sendmmsg over loopback, each message cut up by the kernel (UDP_SEGMENT).

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use weir_rtc::net::{Receiver, Sender, Socket, SocketOptions, Target};

use super::{Scale, best_of, thread_cpu};

const SEGMENTS: [usize; 5] = [1, 2, 4, 8, 16];
const SEGMENT_BYTES: usize = 1_000;

pub(super) fn table(scale: Scale) {
    println!("net::Sender over loopback, segments of {SEGMENT_BYTES} bytes, to {} receivers in turn, ns of CPU\n", scale.viewers);
    println!(
        "| segments | a message | a packet | a packet, address left to the kernel | a packet, receivers without UDP_GRO |\n\
         |---|---|---|---|---|"
    );
    let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
    for segments in SEGMENTS {
        let named = Course::new(scale, true, local).measure(scale, segments);
        let free = Course::new(scale, true, IpAddr::V4(Ipv4Addr::UNSPECIFIED)).measure(scale, segments);
        let single = Course::new(scale, false, local).measure(scale, segments);
        let packets = segments as f64;
        println!("| {segments} | {named:.0} | {:.0} | {:.0} | {:.0} |", named / packets, free / packets, single / packets);
    }
}

/// A sender and those it sends to.
struct Course {
    socket: Socket,
    sender: Sender,
    sinks: Sinks,
    local: IpAddr,
}

enum Sinks {
    Coalescing(Vec<Socket>, Box<Receiver>),
    Plain(Vec<UdpSocket>),
}

impl Course {
    fn new(scale: Scale, coalesce: bool, local: IpAddr) -> Self {
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let open = |buffer| {
            let options = SocketOptions { reuse_port: false, recv_buffer: buffer, send_buffer: buffer };
            Socket::bind(loopback, &options).expect("a free port")
        };
        let sinks = if coalesce {
            Sinks::Coalescing((0..scale.viewers).map(|_| open(1 << 20)).collect(), Box::new(Receiver::new()))
        } else {
            let sink = || {
                let sink = UdpSocket::bind(loopback).expect("a free port");
                sink.set_nonblocking(true).expect("a socket's option");
                sink
            };
            Sinks::Plain((0..scale.viewers).map(|_| sink()).collect())
        };
        Self { socket: open(16 << 20), sender: Sender::new(), sinks, local }
    }

    /// Nanoseconds a message.
    fn measure(mut self, scale: Scale, segments: usize) -> f64 {
        let targets: Vec<Target> = self.sinks.addresses().map(|remote| Target { remote, local: self.local }).collect();
        let packet = [7; SEGMENT_BYTES];
        best_of(scale.rounds, scale.passes * targets.len(), || {
            let mut spent = Duration::ZERO;
            for _ in 0..scale.passes {
                let before = thread_cpu();
                for target in &targets {
                    for _ in 0..segments {
                        self.sender.push(&self.socket, *target, &packet);
                    }
                }
                self.sender.flush(&self.socket);
                spent += thread_cpu().saturating_sub(before);
                self.sinks.drain();
            }
            spent
        })
    }
}

impl Sinks {
    fn addresses(&self) -> Box<dyn Iterator<Item = SocketAddr> + '_> {
        match self {
            Self::Coalescing(sinks, _) => Box::new(sinks.iter().map(Socket::local_addr)),
            Self::Plain(sinks) => Box::new(sinks.iter().map(|sink| sink.local_addr().expect("it is bound"))),
        }
    }

    fn drain(&mut self) {
        match self {
            Self::Coalescing(sinks, receiver) => sinks.iter().for_each(|sink| while receiver.recv(sink) {}),
            Self::Plain(sinks) => sinks.iter().for_each(|sink| while sink.recv(&mut [0; 2_048]).is_ok() {}),
        }
    }
}
