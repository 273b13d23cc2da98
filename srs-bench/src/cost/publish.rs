//! What a WHIP publisher costs that nobody watches.

use std::time::Duration;

use super::{
    Setup,
    figures::{Row, Run, Yard},
    server::Server,
};
use crate::{proc, webrtc::publishers::Publishers};

const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn measure(setup: &Setup<'_>, count: usize) -> anyhow::Result<Row> {
    let mut yard = Yard::begin(count, setup.cores)?;
    let server = Server::start(setup)?;
    let api = server.ports.api;
    // The first one brings what the server makes once.
    let first = Publishers::start(api, "live", &["first".to_owned()], setup.shape, setup.cipher)?;
    first.wait_until_all_send(PATIENCE)?;
    drop(first);
    let idle = proc::usage(server.pid())?;
    let streams: Vec<String> = (0..count).map(|n| format!("bench{n}")).collect();
    let publishers = Publishers::start(api, "live", &streams, setup.shape, setup.cipher)?;
    publishers.wait_until_all_send(PATIENCE)?;
    let earlier = publishers.counted();
    let run = Run::count(server.pid(), api, idle, setup.args.seconds)?;
    let sent = publishers.counted().since(&earlier);
    let cipher = publishers.cipher();
    drop(publishers);
    yard.end(count, setup.cores)?;
    let lost = u64::try_from(sent.lost).unwrap_or(0);
    let received = sent.packets.saturating_sub(lost);
    println!("\nWHIP, {count} publishers without viewers");
    println!(
        "  work      {received} RTP packets received ({:.0} a second and publisher, {:.0} bytes each); {lost} lost, {} asked for again, {} keyframes asked for",
        received as f64 / count as f64 / run.wall.as_secs_f64(),
        sent.bytes as f64 / sent.packets.max(1) as f64,
        sent.nacked,
        sent.plis
    );
    println!("  cipher    {cipher}");
    run.print_usage(count, "publisher");
    run.print_counters();
    let row = Row::new("WHIP publishers", (setup.workers, setup.cipher), &yard, &run, (received, lost, count));
    yard.print(row.micros);
    if lost * 1_000 > received {
        println!("  WARNING   more than 0.1 % was lost: the figure does not count");
    }
    Ok(row)
}
