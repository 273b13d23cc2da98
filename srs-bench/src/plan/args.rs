//! The command line's words, and what they mean.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;

use super::{Group, Plan, Span};
use crate::{
    clients::{Churn, Cipher, Feedback, Kind, Options, Prompt, READ_EVERY_MAX, Verify},
    expect::Expect,
    media::{Codec, Shape, Studio, Wish},
};

/// What concerns the whole run.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct RunArgs {
    /// How long, once all clients are started: 30s, 5m, 12h; else until Ctrl-C.
    #[arg(short, long)]
    pub(crate) duration: Option<Span>,
    /// The server's process on this machine: its CPU time, memory and drops are measured.
    #[arg(long)]
    pub(crate) pid: Option<u32>,
    /// Write all figures to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// End with status 1 unless this holds, e.g. 'loss<0.1%', connected=100%, 'p99-latency<200ms'.
    #[arg(long, value_name = "FIGURE<BOUND")]
    pub(crate) expect: Vec<Expect>,
    /// kb/s that each viewer should get, to tell whether all was delivered.
    #[arg(long, value_name = "KBPS")]
    pub(crate) expected_kbps: Option<u32>,
}

impl RunArgs {
    pub(crate) fn plan(self, groups: Vec<Group>) -> Plan {
        Plan {
            groups,
            duration: self.duration.map(|span| span.0),
            pid: self.pid,
            json: self.json,
            expects: self.expect,
            expected_kbps: self.expected_kbps,
            notes: Vec::new(),
        }
    }
}

/// How many clients come and how they behave; the same words as in a scenario.
#[derive(Clone, Debug, Default, clap::Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ClientArgs {
    /// So many WebRTC viewers more, at most 16, on an independent stack: their figures are set beside the others'.
    #[arg(long, value_name = "N")]
    pub(crate) sample: Option<usize>,
    /// Clients for each URL.
    #[arg(short = 'n', long)]
    pub(crate) count: Option<usize>,
    /// Streams that they spread over, as [s] in the URL; without this, and with [s], each has its own.
    #[arg(long)]
    pub(crate) streams: Option<usize>,
    /// The first number that [s] becomes.
    #[arg(long)]
    pub(crate) first: Option<usize>,
    /// The time over which they are started; else 50 ms for each.
    #[arg(long)]
    pub(crate) ramp: Option<Span>,
    /// Threads that drive them.
    #[arg(long)]
    pub(crate) threads: Option<usize>,
    /// Sessions being set up at a time.
    #[arg(long)]
    pub(crate) setups: Option<usize>,
    /// A session must be set up, and then have media, within this.
    #[arg(long)]
    pub(crate) patience: Option<Span>,
    /// A session without media for so long has failed.
    #[arg(long)]
    pub(crate) stall: Option<Span>,
    /// Token of "Authorization: Bearer".
    #[arg(long)]
    pub(crate) bearer: Option<String>,
    /// Accept any certificate of a TLS server.
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Which packets of WebRTC are decrypted and checked: all, 1/N, none.
    #[arg(long)]
    pub(crate) verify: Option<String>,
    /// Which RTMP and FLV players are read as soon as something comes: all, 1/N, none; else all of up to 250, and of more
    /// every so-manieth. Latency and freezes are of these only.
    #[arg(long)]
    pub(crate) prompt: Option<String>,
    /// How often the other RTMP and FLV players are read, at most 500ms; else 200ms.
    #[arg(long)]
    pub(crate) read_every: Option<Span>,
    /// Which SRTP profile is offered: any, gcm, cm80.
    #[arg(long)]
    pub(crate) cipher: Option<String>,
    /// Do not send these back (WebRTC): reports, nack, pli, twcc, rtx, all.
    #[arg(long, value_delimiter = ',')]
    pub(crate) without: Vec<String>,
    /// Bytes of each WebRTC viewer's receive buffer.
    #[arg(long)]
    pub(crate) recv_buffer: Option<usize>,
    /// A source address of 127.0.0.0/8 for each client.
    #[arg(long)]
    pub(crate) spread: bool,
}

/// What publishers send; the same words as in a scenario.
#[derive(Clone, Debug, Default, clap::Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct MediaArgs {
    /// Bitrate of the synthetic stream in kb/s, sound included.
    #[arg(long)]
    pub(crate) kbps: Option<u32>,
    /// Frames a second, of the synthetic stream or of a file of bare H.264.
    #[arg(long)]
    pub(crate) fps: Option<u32>,
    /// Frames from keyframe to keyframe; else two seconds.
    #[arg(long)]
    pub(crate) gop: Option<u32>,
    /// WIDTHxHEIGHT of the synthetic pictures.
    #[arg(long)]
    pub(crate) size: Option<String>,
    /// Send this over and over: .h264, .flv, .mp4, .ivf.
    #[arg(long, value_name = "FILE")]
    pub(crate) video: Option<PathBuf>,
    /// With this sound: .ogg (Opus, for WebRTC), .flv or .mp4 (AAC, for RTMP).
    #[arg(long, value_name = "FILE")]
    pub(crate) audio: Option<PathBuf>,
    /// No stamp in the frames: then there is no latency, and no loss of frames.
    #[arg(long)]
    pub(crate) no_stamp: bool,
}

/// Sessions that come and go.
#[derive(Clone, Copy, Debug, Default, clap::Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ChurnArgs {
    /// How long a client stays after its first media.
    #[arg(long, default_value = "1s")]
    pub(crate) stay: Span,
    /// How long it is away.
    #[arg(long, default_value = "1s")]
    pub(crate) pause: Span,
}

impl ClientArgs {
    /// Started so long one after the other unless a ramp is given.
    const EACH_MS: u64 = 50;

    pub(crate) fn options(&self, url: &str) -> anyhow::Result<Options> {
        let base = Options::default();
        let count = self.count.unwrap_or(1);
        ensure!(count > 0, "no clients: --count is at least 1");
        let verify = self.verify.as_deref().map_or(Ok(Verify::All), str::parse)?;
        let prompt = self.prompt.as_deref().map_or(Ok(Prompt::Some), str::parse)?;
        let read_every = self.read_every.map_or(base.read_every, |span| span.0);
        ensure!((Duration::from_millis(1)..=READ_EVERY_MAX).contains(&read_every), "--read-every {read_every:?}: 1ms to 500ms");
        let cipher = match self.cipher.as_deref() {
            None | Some("any") => Cipher::Any,
            Some("gcm") => Cipher::Gcm,
            Some("cm80") => Cipher::Cm80,
            Some(other) => bail!("no cipher {other:?}: any, gcm or cm80"),
        };
        let each = Duration::from_millis(Self::EACH_MS * count as u64);
        let patience = self.patience.map(|span| span.0);
        Ok(Options {
            count,
            first: self.first.unwrap_or(base.first),
            streams: self.streams.unwrap_or_else(|| usize::from(!numbered(url))),
            ramp: self.ramp.map_or(each, |span| span.0),
            setups_max: self.setups.unwrap_or(base.setups_max).max(1),
            threads: self.threads.unwrap_or(base.threads).max(1),
            setup_patience: patience.unwrap_or(base.setup_patience),
            media_patience: patience.unwrap_or(base.media_patience),
            stall: self.stall.map_or(base.stall, |span| span.0),
            bearer: self.bearer.clone(),
            insecure: self.insecure,
            verify,
            prompt,
            read_every,
            cipher,
            feedback: self.feedback()?,
            recv_buffer: self.recv_buffer.unwrap_or(base.recv_buffer),
            spread_sources: self.spread,
            ..base
        })
    }

    fn feedback(&self) -> anyhow::Result<Feedback> {
        let mut feedback = Feedback::default();
        for word in &self.without {
            match word.as_str() {
                "reports" => feedback.reports = false,
                "nack" => feedback.nack = false,
                "pli" => feedback.pli = false,
                "twcc" => feedback.transport_cc = false,
                "rtx" => feedback.rtx = false,
                "all" => feedback = Feedback::NONE,
                other => bail!("cannot go without {other:?}: reports, nack, pli, twcc, rtx, all"),
            }
        }
        Ok(feedback)
    }
}

/// The URL differs from stream to stream.
pub(crate) fn numbered(url: &str) -> bool {
    url.contains("{n}") || url.contains("[s]")
}

impl MediaArgs {
    pub(crate) fn studio(&self) -> anyhow::Result<Studio> {
        let base = Wish::default();
        let fps = self.fps.unwrap_or(base.shape.fps);
        ensure!((1..=240).contains(&fps), "{fps} frames a second: 1 to 240");
        let (width, height) = match &self.size {
            None => (base.width, base.height),
            Some(text) => {
                let sides = text.split_once('x').and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
                let sides = sides.with_context(|| format!("{text:?} is no size: write 1280x720"))?;
                ensure!((16..=4_096).contains(&sides.0) && (16..=4_096).contains(&sides.1), "{text}: 16 to 4096 each");
                sides
            }
        };
        let shape = Shape { kbps: self.kbps.unwrap_or(base.shape.kbps), fps, gop: self.gop.unwrap_or(fps * 2).max(1) };
        let (video, audio, stamp) = (self.video.clone(), self.audio.clone(), !self.no_stamp);
        Studio::open(Wish { shape, width, height, video, audio, stamp })
    }
}

/// Sampled viewers at most. Two say whether the stacks agree, sixteen whether they do on many streams; more would be
/// a load of their own. Each costs three times what a light one does, so that their one thread has 4 % of its core
/// for sixteen at 650 kb/s, and has room for streams of ten times that.
const SAMPLE_MAX: usize = 16;

/// Whether so many of a group can be sampled.
fn check_sample(sample: usize, kind: Kind, url: &str, options: &Options) -> anyhow::Result<()> {
    ensure!(sample <= SAMPLE_MAX, "--sample {sample}: at most {SAMPLE_MAX}");
    ensure!(sample <= options.count, "--sample {sample}: no more than there are viewers to compare with, {}", options.count);
    ensure!(kind == Kind::WebrtcPlay, "--sample is of WebRTC viewers, and {url} is {}", kind.name());
    ensure!(!url.starts_with("janus:"), "--sample: the independent stack is signalled by WHEP and SRS's API, not by Janus's");
    ensure!(options.churn.is_none(), "--sample: viewers that come and go have no steady time to compare");
    Ok(())
}

/// Clients of one URL.
pub(crate) fn group(
    url: &str,
    publish: bool,
    clients: &ClientArgs,
    studio: Option<Studio>,
    churn: Option<ChurnArgs>,
) -> anyhow::Result<Group> {
    let kind = Kind::of(url, publish)?;
    let mut options = clients.options(url)?;
    options.churn = churn.map(|churn| Churn { stay: churn.stay.0, pause: churn.pause.0 });
    if let Some(studio) = studio {
        let codec = studio.pictures();
        ensure!(codec.is_none_or(|codec| codec == Codec::H264), "{url}: the clients publish H.264 only");
        options.studio = studio;
    }
    if publish && options.count > 1 && !numbered(url) {
        bail!("{} publishers of one stream: write {{n}} where the URL's streams differ", options.count);
    }
    let sample = clients.sample.unwrap_or(0);
    if sample > 0 {
        check_sample(sample, kind, url, &options)?;
    }
    let (name, url) = (kind.name().to_owned(), url.to_owned());
    Ok(Group { name, kind, url, options, sample, after: Duration::ZERO, expects: Vec::new() })
}
