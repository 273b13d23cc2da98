//! What a WHEP viewer costs.

use std::{thread, time::Duration};

use super::{
    Published, Setup,
    figures::{Row, Run, Yard},
    load::{self, Load, STREAM},
    server::Server,
};
use crate::{clients::Kind, measure::Count, proc};

pub(super) fn measure(setup: &Setup<'_>, count: usize, published: Published) -> anyhow::Result<Row> {
    let mut yard = Yard::begin(count, setup.cores)?;
    let server = Server::start(setup)?;
    let (kind, url) = match published {
        Published::Rtmp => (Kind::RtmpPublish, server.rtmp(STREAM)),
        Published::Whip => (Kind::WebrtcPublish, server.whip(STREAM)),
    };
    let source = Load::start(setup, kind, &url, 1)?;
    let connect = |count| Load::start(setup, Kind::WebrtcPlay, &server.whep(STREAM), count);
    // The first viewer starts the bridge, whose rings and threads are the stream's, not its own.
    let first = connect(1)?;
    let idle = proc::usage(server.pid())?;
    let viewers = connect(count)?;
    drop(first);
    thread::sleep(Duration::from_secs(1));
    let earlier = viewers.seen();
    let run = Run::count(server.pid(), server.ports.api, idle, setup.args.seconds)?;
    let seen = viewers.seen();
    drop(source);
    yard.end(count, setup.cores)?;
    let grown = |count| seen.grown(count, &earlier);
    let (packets, bytes, lost) = (grown(Count::Packets), grown(Count::Bytes), grown(Count::Lost));
    println!("\nWHEP, {count} viewers from {}", published.name());
    println!(
        "  work      {packets} RTP packets delivered ({:.0} a second and viewer, {:.0} bytes each), {lost} lost on the way",
        packets as f64 / count as f64 / run.wall.as_secs_f64(),
        bytes as f64 / packets.max(1) as f64
    );
    println!("  cipher    {}", viewers.cipher());
    let gro =
        if load::receivers_coalesce()? { "UDP_GRO" } else { "no UDP_GRO: the sender is charged for the receivers' segments" };
    println!("  receivers use {gro}");
    run.print_usage(count, "viewer");
    run.print_counters();
    let what = match published {
        Published::Rtmp => "WHEP from RTMP",
        Published::Whip => "WHEP from WHIP",
    };
    let mut row = Row::new(what, (setup.workers, setup.cipher), &yard, &run, (packets, lost, count));
    row.segments = Some(run.segments());
    yard.print(row.micros);
    if lost * 1_000 > packets {
        println!("  WARNING   more than 0.1 % was lost: the clients were too slow, the figure does not count");
    }
    Ok(row)
}
