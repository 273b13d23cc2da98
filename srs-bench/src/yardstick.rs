//! What one bare system call costs here and now, to measure the server's work by.
//!
//! These machines drift by tens of per cent from hour to hour, so absolute times say little. The
//! conditions are the server's own: the sender runs on the server's core, the receivers are asleep
//! on the clients' core, and each call is one to another of as many peers. A figure is the CPU time
//! of the sending thread alone, the best of several rounds.

use std::{
    io::{IoSlice, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Context as _;

use crate::proc::{pin_thread, thread_cpu};

const ROUNDS: usize = 7;
const CALLS: usize = 20_000;
/// With few peers there are fewer calls, since each pass has its pause.
const PASSES_MAX: usize = 40;
/// Between two passes over all peers: the time in which the receivers take what has come, as
/// between two frames.
const PAUSE: Duration = Duration::from_millis(10);

/// One `sendto` of `bytes`, to `peers` loopback sockets in turn.
pub(crate) fn sendto(bytes: usize, peers: usize, pin: bool) -> anyhow::Result<Duration> {
    let sinks = (0..peers).map(|_| UdpSocket::bind("127.0.0.1:0")).collect::<Result<Vec<_>, _>>()?;
    let to = sinks.iter().map(UdpSocket::local_addr).collect::<Result<Vec<_>, _>>()?;
    let runtime = runtime()?;
    let drain = thread::spawn(move || -> anyhow::Result<()> {
        runtime.block_on(async {
            let mut tasks = tokio::task::JoinSet::new();
            for sink in sinks {
                sink.set_nonblocking(true)?;
                let sink = tokio::net::UdpSocket::from_std(sink)?;
                tasks.spawn(async move {
                    let mut buffer = [0; 2_048];
                    // An empty datagram is the end.
                    while sink.recv(&mut buffer).await.is_ok_and(|n| n > 0) {}
                });
            }
            while tasks.join_next().await.is_some() {}
            Ok(())
        })
    });
    let packet = vec![7; bytes];
    let best = on_the_servers_core(pin, move || {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let best = best_of(peers, |peer| socket.send_to(&packet, to[peer]).map(drop));
        for peer in &to {
            socket.send_to(&[], peer)?;
        }
        best
    })?;
    drain.join().ok().context("the draining thread failed")??;
    Ok(best)
}

/// One `writev` of a header and a body of together `bytes`, to `peers` loopback connections in
/// turn.
pub(crate) fn writev(bytes: usize, peers: usize, pin: bool) -> anyhow::Result<Duration> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let (mut streams, mut sinks) = (Vec::new(), Vec::new());
    for _ in 0..peers {
        streams.push(connect(listener.local_addr()?)?);
        sinks.push(listener.accept()?.0);
    }
    let runtime = runtime()?;
    let drain = thread::spawn(move || -> anyhow::Result<()> {
        runtime.block_on(async {
            let mut tasks = tokio::task::JoinSet::new();
            for sink in sinks {
                sink.set_nonblocking(true)?;
                let mut sink = tokio::net::TcpStream::from_std(sink)?;
                tasks.spawn(async move {
                    let mut buffer = vec![0; 32 << 10];
                    while tokio::io::AsyncReadExt::read(&mut sink, &mut buffer).await.is_ok_and(|n| n > 0) {}
                });
            }
            while tasks.join_next().await.is_some() {}
            Ok(())
        })
    });
    let best = on_the_servers_core(pin, move || best_of(peers, |peer| write(&mut streams[peer], bytes)))?;
    drain.join().ok().context("the draining thread failed")??;
    Ok(best)
}

/// One `writev` of `bytes` after the other into the same loopback connection: the kernel gathers
/// them, so most never pass the network stack on their own. No server with many players has this.
pub(crate) fn writev_back_to_back(bytes: usize, pin: bool) -> anyhow::Result<Duration> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut stream = connect(listener.local_addr()?)?;
    let (mut sink, _) = listener.accept()?;
    let drain = thread::spawn(move || {
        let mut buffer = vec![0; 256 << 10];
        while sink.read(&mut buffer).is_ok_and(|n| n > 0) {}
    });
    let best = on_the_servers_core(pin, move || best_of(CALLS, |_| write(&mut stream, bytes)))?;
    drain.join().ok().context("the draining thread failed")?;
    Ok(best)
}

fn connect(to: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn write(stream: &mut TcpStream, bytes: usize) -> std::io::Result<()> {
    const HEADER: [u8; 12] = [0; 12];
    static BODY: [u8; 256 << 10] = [7; 256 << 10];
    let body = &BODY[..bytes.saturating_sub(HEADER.len()).min(BODY.len())];
    let written = stream.write_vectored(&[IoSlice::new(&HEADER), IoSlice::new(body)])?;
    stream.write_all(&body[written.saturating_sub(HEADER.len()).min(body.len())..])
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// Runs `work` on a thread of its own, on core 0 if `pin`.
fn on_the_servers_core<T: Send + 'static>(
    pin: bool,
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    let thread: JoinHandle<anyhow::Result<T>> = thread::spawn(move || {
        if pin {
            pin_thread(0)?;
        }
        work()
    });
    thread.join().ok().context("the sending thread failed")?
}

fn best_of(peers: usize, mut call: impl FnMut(usize) -> std::io::Result<()>) -> anyhow::Result<Duration> {
    let peers = peers.max(1);
    let passes = CALLS.div_ceil(peers).min(PASSES_MAX);
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let mut spent = Duration::ZERO;
        for _ in 0..passes {
            let before = thread_cpu();
            for peer in 0..peers {
                call(peer)?;
            }
            spent += thread_cpu().saturating_sub(before);
            thread::sleep(PAUSE);
        }
        best = best.min(spent / u32::try_from(passes * peers)?);
    }
    Ok(best)
}
