//! The result in Markdown. Everything in it was measured in this run; its words are the method's.

use std::{fmt::Write as _, time::Duration};

use super::{
    CompareArgs, Runs,
    measured::Measured,
    peers::Peer,
    workload::{SHAPE, Workload},
};

pub(super) struct Report<'a> {
    pub(super) machine: &'a str,
    pub(super) args: &'a CompareArgs,
    pub(super) peers: &'a [Peer],
    pub(super) workloads: &'a [Workload],
    pub(super) runs: &'a Runs,
}

const METHOD: &str = "\
Written by `srs-bench compare`; nothing in it is typed in by hand. Each server ran alone, on core 0; the load on core 1, over \
loopback. Each figure is the median of the rounds in which nothing failed; the servers took turns within a round, in the \
reverse order in every other one. CPU time is the scheduler's, user and system, of all threads and processes of the server, \
while all clients were there; on loopback it holds the receivers' half of the network stack, too. WebRTC clients do real ICE, \
DTLS and SRTP, check every packet, and report, ask again and give transport-wide feedback as browsers do. \"A packet\" is an RTP packet, \
or over RTMP and FLV a message. Memory is resident memory that the clients added. \"First picture\" is from asking to the first whole \
keyframe; \"latency\" from the making of a frame to its last byte at the client (99 of 100 frames are faster). The ratio is \
to Weir's cost in the same run: 2.0 needs twice the CPU time.\n";

/// The file's text.
pub(super) fn write(report: &Report<'_>) -> String {
    let mut text = String::from("# Benchmarks\n\n");
    text += METHOD;
    let _ = writeln!(text, "\n- Date: {}\n- Machine: {}", httpdate::fmt_http_date(std::time::SystemTime::now()), report.machine);
    let _ = writeln!(
        text,
        "- Stream: H.264 and sound, {} kb/s, {} pictures a second, a keyframe every {} s",
        SHAPE.kbps,
        SHAPE.fps,
        SHAPE.gop / SHAPE.fps
    );
    let _ = writeln!(text, "- {} rounds, {} s counted of each run", report.args.rounds, report.args.seconds);
    for peer in report.peers {
        let _ = writeln!(text, "- {}", peer.describe());
    }
    for (w, workload) in report.workloads.iter().enumerate() {
        table(&mut text, report, w, workload);
    }
    text += "\n## To repeat it\n\n    cargo build --release --workspace\n    \
        apt-get install --no-install-recommends nginx libnginx-mod-rtmp janus\n    target/release/srs-bench compare\n\n\
        `srs-bench compare --help` tells how to add servers that you run yourself.\n";
    text
}

fn table(text: &mut String, report: &Report<'_>, w: usize, workload: &Workload) {
    let _ = writeln!(text, "\n## {}\n", workload.describe());
    let churns = workload.churn.is_some();
    let unit = if churns { "µs a session" } else { "µs a packet" };
    let _ = writeln!(
        text,
        "| server | CPU-ms a client-second | {unit} | ratio | KB a client | set-up | first picture | latency p99 | lost |"
    );
    text.push_str("|---|---|---|---|---|---|---|---|---|\n");
    let figures: Vec<_> = (0..report.peers.len()).map(|p| Figures::of(report.runs.get(&(w, p)))).collect();
    let weir = report.peers.iter().position(Peer::is_weir).and_then(|p| figures.get(p)?.as_ref()?.cpu_ms());
    for (peer, figures) in report.peers.iter().zip(figures) {
        let Some(figures) = figures else { continue };
        let _ = writeln!(text, "| {} |{}", peer.name(), figures.row(weir, churns));
    }
}

/// All runs of one server under one workload.
struct Figures<'a> {
    good: Vec<&'a Measured>,
    /// Why others do not count.
    bad: Vec<String>,
}

impl<'a> Figures<'a> {
    fn of(runs: Option<&'a Vec<Result<Measured, String>>>) -> Option<Self> {
        let mut figures = Self { good: Vec::new(), bad: Vec::new() };
        for run in runs? {
            match run {
                Ok(measured) => match measured.doubt() {
                    None => figures.good.push(measured),
                    Some(doubt) => figures.bad.push(doubt),
                },
                Err(error) => figures.bad.push(error.clone()),
            }
        }
        Some(figures)
    }

    fn median(&self, of: impl Fn(&Measured) -> Option<f64>) -> Option<f64> {
        median(self.good.iter().filter_map(|measured| of(measured)).collect())
    }

    fn cpu_ms(&self) -> Option<f64> {
        self.median(|measured| Some(measured.cpu_ms))
    }

    fn row(&self, weir: Option<f64>, churns: bool) -> String {
        let Some(cpu_ms) = self.cpu_ms() else {
            return format!(" no run counts: {} | | | | | | | |", self.bad.join("; ").replace('|', "/"));
        };
        let number =
            |value: Option<f64>, digits: usize| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"));
        let millis = |of: fn(&Measured) -> Option<Duration>| {
            let value = self.median(|measured| of(measured).map(|time| time.as_secs_f64() * 1e3));
            value.map_or_else(|| "–".to_owned(), |value| format!("{value:.0} ms"))
        };
        let micros = self.median(|measured| if churns { measured.micros_per_session } else { Some(measured.micros) });
        let bad = if self.bad.is_empty() {
            String::new()
        } else {
            format!(" ({} of {} runs do not count)", self.bad.len(), self.bad.len() + self.good.len())
        };
        format!(
            " {}{bad} | {} | {} | {} | {} | {} | {} | {} |",
            number(Some(cpu_ms), 3),
            number(micros, 2),
            number(weir.map(|weir| cpu_ms / weir), 2),
            number(self.median(|measured| Some(measured.memory_kb)), 0),
            millis(|measured| measured.setup),
            millis(|measured| measured.first_keyframe),
            millis(|measured| measured.latency),
            number(self.median(|measured| Some(measured.loss * 100.0)), 3) + " %"
        )
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = values.get(middle).copied()?;
    let lower = if values.len().is_multiple_of(2) { values.get(middle - 1).copied()? } else { upper };
    Some((lower + upper) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(cpu_ms: f64, delivered: f64) -> Measured {
        Measured {
            cpu_ms,
            micros: cpu_ms * 8.0,
            micros_per_session: None,
            memory_kb: 40.0,
            megabits: 100.0,
            delivered: Some(delivered),
            loss: 0.0,
            failed: (0, 200),
            setup: Some(Duration::from_millis(12)),
            first_keyframe: None,
            latency: Some(Duration::from_millis(40)),
            load: 0.3,
        }
    }

    #[test]
    fn medians_are_of_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0]), Some(2.5));
    }

    #[test]
    fn a_row_is_the_median_of_the_runs_that_count() {
        let runs = vec![Ok(measured(1.0, 1.0)), Ok(measured(9.0, 0.5)), Ok(measured(3.0, 0.99))];
        let row = Figures::of(Some(&runs)).unwrap().row(Some(1.0), false);
        assert_eq!(row, " 2.000 (1 of 3 runs do not count) | 16.00 | 2.00 | 40 | 12 ms | – | 40 ms | 0.000 % |");
    }

    #[test]
    fn a_server_none_of_whose_runs_count_says_why() {
        let runs = vec![Ok(measured(9.0, 0.5)), Err("it does not listen: a|b".to_owned())];
        let row = Figures::of(Some(&runs)).unwrap().row(Some(1.0), false);
        assert_eq!(row, " no run counts: 50.0 % delivered; it does not listen: a/b | | | | | | | |");
        assert!(Figures::of(None).is_none(), "what it does not do has no row");
    }
}
