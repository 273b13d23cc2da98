//! What an RTMP player costs.

use anyhow::Context as _;

use super::{
    Setup,
    figures::{Run, mb},
    load::{Load, STREAM},
    server::Server,
};
use crate::{clients::Kind, measure::Count, proc, yardstick};

/// Before each message: the header of its first chunk. There is one chunk to a message here.
const HEADER_BYTES: u64 = 12;

pub(super) fn measure(setup: &Setup<'_>) -> anyhow::Result<()> {
    let (args, pin) = (setup.args, setup.cores.pin);
    let server = Server::start(setup)?;
    let publisher = Load::start(setup, Kind::RtmpPublish, &server.rtmp(STREAM), 1)?;
    let idle = proc::usage(server.pid())?;
    let players = Load::start(setup, Kind::RtmpPlay, &server.rtmp(STREAM), args.rtmp)?;
    let (sent, seen) = (publisher.seen(), players.seen());
    let run = Run::count(server.pid(), server.ports.api, idle, args.seconds)?;
    let (sent_end, seen_end) = (publisher.seen(), players.seen());
    drop((players, publisher));
    let (messages, payload) = (sent_end.grown(Count::SentPackets, &sent), sent_end.grown(Count::SentBytes, &sent));
    let (received, bytes) = (seen_end.grown(Count::Packets, &seen), seen_end.grown(Count::Bytes, &seen));
    let writes = run.rtmp_writes().context("the server does not count its RTMP writes")?;
    let delivered = messages * args.rtmp as u64;
    let size = usize::try_from((bytes + received * HEADER_BYTES) / writes.max(1)).unwrap_or(0).max(64);
    let yard = yardstick::writev(size, args.rtmp, pin)?;
    let gathered = yardstick::writev_back_to_back(size, pin)?;
    let per_write = run.cpu().as_secs_f64() * 1e6 / writes.max(1) as f64;
    println!("\nRTMP, {} players", args.rtmp);
    println!(
        "  work      {messages} messages published, {delivered} delivered in {writes} writes of {size} bytes; {:.1} MB received of {:.1} MB expected",
        mb(bytes),
        mb(payload * args.rtmp as u64)
    );
    run.print_usage(args.rtmp, "player");
    println!(
        "  per write {per_write:.2} µs = {:.2} × a bare writev of {size} bytes to as many players ({:.2} µs); per message {:.2} µs",
        per_write / yard.as_secs_f64() / 1e6,
        yard.as_secs_f64() * 1e6,
        run.cpu().as_secs_f64() * 1e6 / delivered.max(1) as f64
    );
    println!(
        "            = {:.2} × a writev into one connection, which the kernel gathers ({:.2} µs)",
        per_write / gathered.as_secs_f64() / 1e6,
        gathered.as_secs_f64() * 1e6,
    );
    if (bytes as f64) < payload as f64 * args.rtmp as f64 * 0.98 {
        println!("  WARNING   less than 98 % arrived: the clients were too slow, the figure does not count");
    }
    Ok(())
}
