//! What a WHIP publisher costs that nobody watches.

use super::{
    Setup,
    figures::{Row, Run, Yard},
    load::Load,
    server::Server,
};
use crate::{clients::Kind, measure::Count, proc};

pub(super) fn measure(setup: &Setup<'_>, count: usize) -> anyhow::Result<Row> {
    let mut yard = Yard::begin(count, setup.cores)?;
    let server = Server::start(setup)?;
    // The first one brings what the server makes once.
    drop(Load::start(setup, Kind::WebrtcPublish, &server.whip("first"), 1)?);
    let idle = proc::usage(server.pid())?;
    let publishers = Load::start(setup, Kind::WebrtcPublish, &server.whip("bench{n}"), count)?;
    let earlier = publishers.seen();
    let run = Run::count(server.pid(), server.ports.api, idle, setup.args.seconds)?;
    let seen = publishers.seen();
    let cipher = publishers.cipher();
    drop(publishers);
    yard.end(count, setup.cores)?;
    let grown = |count| seen.grown(count, &earlier);
    let (sent, lost) = (grown(Count::SentPackets), grown(Count::SentLost));
    let received = sent.saturating_sub(lost);
    println!("\nWHIP, {count} publishers without viewers");
    println!(
        "  work      {received} RTP packets received ({:.0} a second and publisher, {:.0} bytes each); {lost} lost, {} asked for again, {} keyframes asked for",
        received as f64 / count as f64 / run.wall.as_secs_f64(),
        grown(Count::SentBytes) as f64 / sent.max(1) as f64,
        grown(Count::Nacked),
        grown(Count::KeyframesAsked)
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
