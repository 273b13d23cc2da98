//! What one bare system call costs here and now, to measure the server's work by.
//!
//! These machines drift by tens of per cent from hour to hour, so absolute times say little. Each
//! figure is the CPU time of the sending thread alone, the best of several rounds.

use std::{
    io::{IoSlice, Read as _, Write as _},
    net::{TcpListener, TcpStream, UdpSocket},
    thread,
    time::Duration,
};

use anyhow::Context as _;

use crate::proc::thread_cpu;

const ROUNDS: usize = 7;
const CALLS: u32 = 20_000;

/// One `sendto` of `bytes` to a loopback socket that another thread empties.
pub(crate) fn sendto(bytes: usize) -> anyhow::Result<Duration> {
    let sink = UdpSocket::bind("127.0.0.1:0")?;
    sink.set_read_timeout(Some(Duration::from_millis(200)))?;
    let to = sink.local_addr()?;
    let drain = thread::spawn(move || {
        let mut buffer = vec![0; 2_048];
        while sink.recv(&mut buffer).is_ok() {}
    });
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let packet = vec![7; bytes];
    let best = best_of(|| {
        socket.send_to(&packet, to)?;
        Ok(())
    })?;
    drain.join().ok().context("the draining thread failed")?;
    Ok(best)
}

/// One `writev` of a header and a body of together `bytes` to a loopback connection that another
/// thread empties.
pub(crate) fn writev(bytes: usize) -> anyhow::Result<Duration> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut stream = TcpStream::connect(listener.local_addr()?)?;
    let (mut sink, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    let drain = thread::spawn(move || {
        let mut buffer = vec![0; 256 << 10];
        while sink.read(&mut buffer).is_ok_and(|n| n > 0) {}
    });
    let body = vec![7; bytes.saturating_sub(12)];
    let best = best_of(|| {
        let written = stream.write_vectored(&[IoSlice::new(&[0; 12]), IoSlice::new(&body)])?;
        if let Some(rest) = body.len().checked_add(12).and_then(|all| all.checked_sub(written)).filter(|rest| *rest > 0) {
            stream.write_all(&body[body.len() - rest.min(body.len())..])?;
        }
        Ok(())
    })?;
    drop(stream);
    drain.join().ok().context("the draining thread failed")?;
    Ok(best)
}

fn best_of(mut call: impl FnMut() -> std::io::Result<()>) -> anyhow::Result<Duration> {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let before = thread_cpu();
        for _ in 0..CALLS {
            call()?;
        }
        best = best.min(thread_cpu().saturating_sub(before) / CALLS);
    }
    Ok(best)
}
