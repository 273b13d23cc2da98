//! What a WHEP viewer costs.

use std::{thread, time::Duration};

use super::{
    Published, Setup,
    figures::{Row, Run, Yard},
    server::Server,
};
use crate::{
    media::flv,
    proc, rtmp,
    webrtc::{publishers::Publishers, viewers::Viewers},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// The stream's publisher; it stops when dropped.
enum Source {
    Rtmp { _publisher: rtmp::Publisher },
    Whip { _publishers: Publishers },
}

impl Source {
    fn start(setup: &Setup<'_>, server: &Server, published: Published) -> anyhow::Result<Self> {
        let source = match published {
            Published::Rtmp => {
                let source = flv::Source::new(setup.shape);
                Self::Rtmp { _publisher: rtmp::Publisher::start(server.ports.rtmp, "live", "bench", source)? }
            }
            Published::Whip => {
                let streams = ["bench".to_owned()];
                let publishers = Publishers::start(server.ports.api, "live", &streams, setup.shape, setup.cipher)?;
                publishers.wait_until_all_send(PATIENCE)?;
                Self::Whip { _publishers: publishers }
            }
        };
        thread::sleep(Duration::from_secs(2));
        Ok(source)
    }
}

pub(super) fn measure(setup: &Setup<'_>, count: usize, published: Published) -> anyhow::Result<Row> {
    let mut yard = Yard::begin(count, setup.cores)?;
    let server = Server::start(setup)?;
    let source = Source::start(setup, &server, published)?;
    let connect = |count| Viewers::connect(server.ports.api, "live", "bench", count, setup.cipher);
    // The first viewer starts the bridge, whose rings and threads are the stream's, not its own.
    let first = connect(1)?;
    first.wait_until_all_receive(PATIENCE)?;
    let idle = proc::usage(server.pid())?;
    let viewers = connect(count)?;
    viewers.wait_until_all_receive(PATIENCE)?;
    drop(first);
    thread::sleep(Duration::from_secs(1));
    let earlier = viewers.counted();
    let run = Run::count(server.pid(), server.ports.api, idle, setup.args.seconds)?;
    let received = viewers.counted().since(&earlier);
    drop(source);
    yard.end(count, setup.cores)?;
    let what = match published {
        Published::Rtmp => "WHEP from RTMP",
        Published::Whip => "WHEP from WHIP",
    };
    println!("\nWHEP, {count} viewers from {}", published.name());
    println!(
        "  work      {} RTP packets delivered ({:.0} a second and viewer, {:.0} bytes each), {} lost on the way",
        received.packets,
        received.packets as f64 / count as f64 / run.wall.as_secs_f64(),
        received.bytes as f64 / received.packets.max(1) as f64,
        received.lost
    );
    println!("  cipher    {}", viewers.cipher());
    let gro = if viewers.coalesce() { "UDP_GRO" } else { "no UDP_GRO: the sender is charged for the receivers' segments" };
    println!("  receivers use {gro}");
    run.print_usage(count, "viewer");
    run.print_counters();
    let mut row = Row::new(what, (setup.workers, setup.cipher), &yard, &run, (received.packets, received.lost, count));
    row.segments = Some(run.segments());
    yard.print(row.micros);
    if received.lost * 1_000 > received.packets {
        println!("  WARNING   more than 0.1 % was lost: the clients were too slow, the figure does not count");
    }
    Ok(row)
}
