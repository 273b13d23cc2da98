//! The program: reads the command line, runs what it says, and ends with a status.
//!
//! 0: all well; 1: an expectation was not met, or a group had no media at all; 2: the command line makes no
//! sense.

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use crate::{
    compare, cost,
    plan::{
        Plan,
        args::{self, ChurnArgs, ClientArgs, MediaArgs, RunArgs},
        compat,
    },
    run::{self, Screen},
};

const USAGE: u8 = 2;

/// In texts that clap prints a stream's number is `[s]`: clap makes the end of a line of `{n}`.
const EXAMPLES: &str = "\
Examples:
  srs-bench publish -n 10 'http://127.0.0.1:1985/rtc/v1/whip/?app=live&stream=s[s]' -d 1m
  srs-bench play -n 500 --ramp 30s 'http://127.0.0.1:1985/rtc/v1/whep/?app=live&stream=s0' --pid $(pidof weir)
  srs-bench play -n 300 --sample 2 'http://127.0.0.1:1985/rtc/v1/whep/?app=live&stream=s0' -d 1m
  srs-bench play -n 1000 --threads 2 rtmp://127.0.0.1/live/s0 http://127.0.0.1:8080/live/s0.flv -d 5m
  srs-bench play http://127.0.0.1:8080/live/s0.m3u8 --expect connected=100% --expect 'p99-latency<10s' -d 1m
  srs-bench churn -n 100 --stay 2s webrtc://127.0.0.1/live/s0 --expect failed=0 -d 10m
  srs-bench run evening.toml --json evening.json

The URL says which client comes: webrtc:// and other http(s):// WebRTC (WHIP, WHEP, SRS's API), rtmp(s):// RTMP,
http(s)://….flv HTTP-FLV, http(s)://….m3u8 HLS. [s] in it is the number of the stream.

The flags of SRS's tools work too, without a sub-command:
  srs-bench -sr webrtc://127.0.0.1/live/livestream -nn 100
  srs-bench -pr webrtc://127.0.0.1/live/livestream_%d -sn 10 -sa avatar.ogg -sv avatar.h264 -fps 25
  srs-bench -c 1000 -r rtmp://127.0.0.1:1935/live/livestream";

const RUN_EXAMPLE: &str = "\
A scenario:
  duration = \"10m\"
  expect = [\"loss<0.1%\", \"connected=100%\"]

  [[publish]]
  url = \"http://127.0.0.1:1985/rtc/v1/whip/?app=live&stream=s[s]\"
  clients = { count = 3 }
  media = { kbps = 1200, fps = 30, size = \"1280x720\" }

  [[play]]
  url = \"http://127.0.0.1:1985/rtc/v1/whep/?app=live&stream=s[s]\"
  clients = { count = 300, streams = 3, ramp = \"30s\", sample = 2 }

  [[play]]
  url = \"http://127.0.0.1:8080/live/s0.flv\"
  after = \"10s\"
  clients = { count = 50 }
  churn = { stay = \"5s\", pause = \"1s\" }

The words of clients, media and churn are those of the options of play, publish and churn.
Viewers without an `after` come when the publishers send.";

/// Load and measuring tool for live servers.
#[derive(Debug, Parser)]
#[command(name = "srs-bench", version, after_help = EXAMPLES)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Viewers of one or several URLs.
    #[command(after_help = EXAMPLES)]
    Play {
        /// What to play.
        #[arg(required = true)]
        urls: Vec<String>,
        #[command(flatten)]
        clients: Box<ClientArgs>,
        #[command(flatten)]
        run: Box<RunArgs>,
    },
    /// Publishers of a synthetic stream or of files.
    #[command(after_help = EXAMPLES)]
    Publish {
        /// Where to; with [s] for the stream's number where there are several publishers.
        #[arg(required = true)]
        urls: Vec<String>,
        #[command(flatten)]
        clients: Box<ClientArgs>,
        #[command(flatten)]
        media: Box<MediaArgs>,
        #[command(flatten)]
        run: Box<RunArgs>,
    },
    /// Viewers, or publishers, that connect, see media, leave, and come again.
    #[command(after_help = EXAMPLES)]
    Churn {
        /// What to play.
        #[arg(required = true)]
        urls: Vec<String>,
        /// They publish.
        #[arg(long)]
        publish: bool,
        #[command(flatten)]
        churn: ChurnArgs,
        #[command(flatten)]
        clients: Box<ClientArgs>,
        #[command(flatten)]
        media: Box<MediaArgs>,
        #[command(flatten)]
        run: Box<RunArgs>,
    },
    /// Publishers and viewers as a file says.
    #[command(after_help = RUN_EXAMPLE)]
    Run {
        /// The scenario.
        scenario: PathBuf,
        #[command(flatten)]
        run: Box<RunArgs>,
    },
    /// Start a Weir beside this program and measure what WHEP viewers, WHIP publishers and RTMP players cost it.
    Cost(Box<cost::CostArgs>),
    /// Measure servers side by side under the same load and write BENCHMARKS.md.
    Compare(Box<compare::CompareArgs>),
}

/// The program, from its arguments to its status.
pub fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    let words: Vec<String> = args.iter().skip(1).filter_map(|arg| arg.clone().into_string().ok()).collect();
    if compat::is_theirs(&words) {
        return carry_out(compat::plan(&words));
    }
    let made = match Args::parse_from(args).command {
        Command::Play { urls, clients, run } => plan(&urls, false, &clients, None, None, *run),
        Command::Publish { urls, clients, media, run } => plan(&urls, true, &clients, Some(&media), None, *run),
        Command::Churn { urls, publish, churn, clients, media, run } => {
            plan(&urls, publish, &clients, publish.then_some(&media), Some(churn), *run)
        }
        Command::Run { scenario, run } => Plan::open(&scenario).map(|plan| merged(plan, *run)),
        Command::Cost(args) => return done(cost::run(&args)),
        Command::Compare(args) => return done(compare::run(&args)),
    };
    carry_out(made)
}

fn done(outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error:?}");
            ExitCode::FAILURE
        }
    }
}

fn plan(
    urls: &[String],
    publish: bool,
    clients: &ClientArgs,
    media: Option<&MediaArgs>,
    churn: Option<ChurnArgs>,
    run: RunArgs,
) -> anyhow::Result<Plan> {
    let studio = media.map(MediaArgs::studio).transpose()?;
    let group = |url: &String| args::group(url, publish, clients, studio.clone(), churn);
    let groups: anyhow::Result<Vec<_>> = urls.iter().map(group).collect();
    Ok(run.plan(groups?))
}

/// What the command line says has the last word; expectations add up.
fn merged(mut plan: Plan, run: RunArgs) -> Plan {
    plan.duration = run.duration.map(|span| span.0).or(plan.duration);
    plan.pid = run.pid.or(plan.pid);
    plan.json = run.json.or(plan.json);
    plan.expected_kbps = run.expected_kbps.or(plan.expected_kbps);
    plan.expects.extend(run.expect);
    plan
}

fn carry_out(plan: anyhow::Result<Plan>) -> ExitCode {
    let plan = match plan {
        Ok(plan) => plan,
        Err(error) => {
            eprintln!("error: {error:#}\n\nFor more information, try '--help'.");
            return ExitCode::from(USAGE);
        }
    };
    match measure(&plan) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs, prints, writes; whether all is well.
fn measure(plan: &Plan) -> anyhow::Result<bool> {
    plan.notes.iter().for_each(|note| eprintln!("note: {note}"));
    run::heed_interrupts()?;
    let outcome = run::run(plan, &mut Screen::new())?;
    print!("{outcome}");
    if let Some(path) = &plan.json {
        let text = serde_json::to_string_pretty(&outcome.json())?;
        std::fs::write(path, text + "\n").with_context(|| format!("{}", path.display()))?;
    }
    Ok(outcome.is_good())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    /// All that `--help` says, as it stands before clap fills it in.
    fn texts(command: &clap::Command) -> Vec<String> {
        let own = [command.get_about(), command.get_long_about(), command.get_after_help()];
        let arguments = command.get_arguments().flat_map(|argument| [argument.get_help(), argument.get_long_help()]);
        let own = own.into_iter().chain(arguments).flatten().map(ToString::to_string);
        own.chain(command.get_subcommands().flat_map(texts)).collect()
    }

    #[test]
    fn help_is_printed_as_it_was_written() {
        let texts = texts(&Args::command());
        assert!(texts.iter().any(|text| text.contains("stream=s[s]")));
        let cut: Vec<_> = texts.iter().filter(|text| text.contains("{n}")).collect();
        assert!(cut.is_empty(), "clap makes the end of a line of it: {cut:#?}");
    }
}
