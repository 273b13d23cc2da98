//! Figures of the counted time, and how they are shown.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::Cores;
use crate::{
    clients::Cipher,
    http,
    proc::{self, Usage},
    yardstick,
};

/// The length of the yardstick's datagrams.
const YARD_BYTES: usize = 1_200;

/// One run: the server's usage and its own counters at both ends of the counted time.
pub(super) struct Run {
    idle: Usage,
    before: Usage,
    after: Usage,
    pub(super) wall: Duration,
    counters: [Value; 2],
}

impl Run {
    /// Counts for `seconds`. `idle` is the usage before the clients came.
    pub(super) fn count(pid: u32, api: SocketAddr, idle: Usage, seconds: u64) -> anyhow::Result<Self> {
        let earlier = http::counters(api)?;
        let start = Instant::now();
        let before = proc::usage(pid)?;
        thread::sleep(Duration::from_secs(seconds));
        let (after, wall) = (proc::usage(pid)?, start.elapsed());
        Ok(Self { idle, before, after, wall, counters: [earlier, http::counters(api)?] })
    }

    pub(super) fn cpu(&self) -> Duration {
        self.after.cpu.saturating_sub(self.before.cpu)
    }

    pub(super) fn micros_per(&self, packets: u64) -> f64 {
        self.cpu().as_secs_f64() * 1e6 / packets.max(1) as f64
    }

    /// CPU milliseconds of one client's second.
    pub(super) fn millis_per_second(&self, clients: usize) -> f64 {
        self.cpu().as_secs_f64() * 1e3 / clients as f64 / self.wall.as_secs_f64()
    }

    /// Resident memory of one client in KB.
    pub(super) fn kb_each(&self, clients: usize) -> f64 {
        self.after.rss_bytes.saturating_sub(self.idle.rss_bytes) as f64 / 1024.0 / clients as f64
    }

    /// Datagrams by message sent.
    pub(super) fn segments(&self) -> f64 {
        self.grown("/send/datagrams") as f64 / self.grown("/send/messages").max(1) as f64
    }

    /// Writes to RTMP players, if the server counts them.
    pub(super) fn rtmp_writes(&self) -> Option<u64> {
        let [earlier, later] = &self.counters;
        let of = |counters: &Value| counters.pointer("/rtmp/writes").and_then(Value::as_u64);
        Some(of(later)?.saturating_sub(of(earlier)?))
    }

    pub(super) fn print_usage(&self, clients: usize, what: &str) {
        let core = self.cpu().as_secs_f64() / self.wall.as_secs_f64() * 100.0;
        println!(
            "  server    {:.2} CPU-s in {:.1} s ({core:.0} % of a core), {:.3} CPU-ms per {what}-second",
            self.cpu().as_secs_f64(),
            self.wall.as_secs_f64(),
            self.millis_per_second(clients)
        );
        let share = |(kind, cpu): (&String, &Duration)| {
            let grown = cpu.saturating_sub(self.before.threads.get(kind).copied().unwrap_or_default());
            format!("{kind} {:.2}", grown.as_secs_f64())
        };
        println!("  threads   {}", self.after.threads.iter().map(share).collect::<Vec<_>>().join(", "));
        println!(
            "  memory    {:.1} MB idle, {:.1} MB after {:.0} s: {:.1} KB per {what}",
            mb(self.idle.rss_bytes),
            mb(self.after.rss_bytes),
            self.wall.as_secs_f64(),
            self.kb_each(clients)
        );
    }

    /// What the server says of the counted time. It publishes once a second.
    pub(super) fn print_counters(&self) {
        println!(
            "  sending   {} datagrams in {} messages ({:.2} segments per send) and {} calls, {} unsegmented",
            self.grown("/send/datagrams"),
            self.grown("/send/messages"),
            self.segments(),
            self.grown("/send/calls"),
            self.grown("/send/unsegmented")
        );
        println!(
            "  receiving {} datagrams in {} messages and {} calls",
            self.grown("/recv/datagrams"),
            self.grown("/recv/messages"),
            self.grown("/recv/calls")
        );
        println!(
            "  gathering {} batches, {:.1} ms on average, {:.1} ms at most since the start; busiest worker at {:.0} %",
            self.grown("/gathered/batches"),
            self.grown("/gathered/waited_us") as f64 / 1e3 / self.grown("/gathered/batches").max(1) as f64,
            self.last("/gathered/longest_us") as f64 / 1e3,
            self.last("/load_permille") as f64 / 10.0
        );
        println!("  dropped   {}", self.drops());
    }

    /// Drops by reason.
    fn drops(&self) -> String {
        let reasons = self.counters[1].pointer("/rtc/dropped").and_then(Value::as_object);
        let grown = reasons.into_iter().flatten().map(|(reason, _)| (reason, self.grown(&format!("/dropped/{reason}"))));
        let some: Vec<String> = grown.filter(|(_, n)| *n > 0).map(|(reason, n)| format!("{reason} {n}")).collect();
        if some.is_empty() { "nothing".to_owned() } else { some.join(", ") }
    }

    fn last(&self, path: &str) -> u64 {
        value(&self.counters[1], path)
    }

    fn grown(&self, path: &str) -> u64 {
        self.last(path).saturating_sub(value(&self.counters[0], path))
    }
}

fn value(counters: &Value, path: &str) -> u64 {
    counters.pointer(&format!("/rtc{path}")).and_then(Value::as_u64).unwrap_or(0)
}

pub(super) fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// A bare `sendto` before and after a run, in microseconds.
pub(super) struct Yard {
    before: f64,
    after: f64,
}

impl Yard {
    /// The first of the two, to as many peers in turn.
    pub(super) fn begin(peers: usize, cores: Cores) -> anyhow::Result<Self> {
        Ok(Self { before: sendto(peers, cores)?, after: 0.0 })
    }

    pub(super) fn end(&mut self, peers: usize, cores: Cores) -> anyhow::Result<()> {
        self.after = sendto(peers, cores)?;
        Ok(())
    }

    fn mean(&self) -> f64 {
        f64::midpoint(self.before, self.after)
    }

    pub(super) fn print(&self, micros: f64) {
        println!(
            "  per packet {micros:.2} µs = {:.2} × a bare sendto of {YARD_BYTES} bytes ({:.2} µs before, {:.2} µs after)",
            micros / self.mean(),
            self.before,
            self.after
        );
    }
}

fn sendto(peers: usize, cores: Cores) -> anyhow::Result<f64> {
    Ok(yardstick::sendto(YARD_BYTES, peers, cores.pin)?.as_secs_f64() * 1e6)
}

/// A line of the table.
pub(super) struct Row {
    pub(super) clients: usize,
    /// What they are, in words.
    pub(super) what: &'static str,
    pub(super) workers: usize,
    pub(super) cipher: Cipher,
    /// By RTP packet.
    pub(super) micros: f64,
    pub(super) yard: f64,
    /// Datagrams by message sent; `None` where hardly anything is.
    pub(super) segments: Option<f64>,
    pub(super) millis_per_second: f64,
    pub(super) kb_each: f64,
    pub(super) lost_percent: f64,
}

impl Row {
    pub(super) fn new(
        what: &'static str,
        (workers, cipher): (usize, Cipher),
        yard: &Yard,
        run: &Run,
        work: (u64, u64, usize),
    ) -> Self {
        let (packets, lost, clients) = work;
        Self {
            clients,
            what,
            workers,
            cipher,
            micros: run.micros_per(packets),
            yard: yard.mean(),
            segments: None,
            millis_per_second: run.millis_per_second(clients),
            kb_each: run.kb_each(clients),
            lost_percent: lost as f64 * 100.0 / packets.max(1) as f64,
        }
    }

    fn ratio(&self) -> f64 {
        self.micros / self.yard
    }

    /// All runs as a table for a README, and what a second worker brings.
    pub(super) fn print_all(rows: &[Self]) {
        if rows.is_empty() {
            return;
        }
        println!(
            "\n| | cipher | workers | µs per packet | `sendto`, µs | ratio | segments per send | CPU-ms per second | KB each | lost |"
        );
        println!("|---|---|---|---|---|---|---|---|---|---|");
        for row in rows {
            let segments = row.segments.map_or_else(|| "–".to_owned(), |segments| format!("{segments:.2}"));
            println!(
                "| {} {} | {:?} | {} | {:.2} | {:.2} | **{:.2}** | {segments} | {:.3} | {:.1} | {:.2} % |",
                row.clients,
                row.what,
                row.cipher,
                row.workers,
                row.micros,
                row.yard,
                row.ratio(),
                row.millis_per_second,
                row.kb_each,
                row.lost_percent
            );
        }
        Self::print_scaling(rows);
    }

    /// So many workers carry so many times what one does, as far as CPU time goes, each with as many
    /// clients. Not what a wall clock would show: with as many cores as workers the clients have none
    /// of their own here.
    fn print_scaling(rows: &[Self]) {
        for many in rows.iter().filter(|row| row.workers > 1) {
            let is_alike = |row: &&Self| {
                let same_share = row.clients * many.workers == many.clients;
                row.workers == 1 && row.what == many.what && row.cipher == many.cipher && same_share
            };
            let Some(one) = rows.iter().find(is_alike) else { continue };
            println!(
                "\n{} workers with {} {} ({:?}) spend {:.2} × on a packet what one spends with {}, by the yardsticks: they carry {:.2} × one",
                many.workers,
                many.clients,
                many.what,
                many.cipher,
                many.ratio() / one.ratio(),
                one.clients,
                many.workers as f64 * one.ratio() / many.ratio()
            );
        }
    }
}
