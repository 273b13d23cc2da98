//! Publishers of the flash-and-beep source: once a second the picture is white for 100 ms while a
//! 1 kHz tone sounds.

use std::{fs, path::PathBuf, process::Stdio, time::Duration};

use tokio::{
    io::AsyncWriteExt as _,
    process::{Child, Command},
};

use super::{
    process::{self, ffmpeg, scratch},
    server::Server,
};

/// The source's picture rate.
pub const FPS: f64 = 25.0;
/// The source's picture size.
pub const SIZE: (u64, u64) = (640, 360);
/// The size of the best of its simulcast layers. The next is half as wide, the last a quarter.
pub const SIZE_SIMULCAST: (f64, f64) = (960.0, 540.0);

/// What publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// ffmpeg by RTMP: H.264 baseline and AAC.
    FfmpegRtmp,
    /// The same with three B-frames in a row.
    FfmpegRtmpBFrames,
    /// ffmpeg by RTMP with a keyframe every ten seconds.
    FfmpegRtmpLongGop,
    /// A newer ffmpeg by WHIP: H.264 baseline and Opus.
    FfmpegWhip,
    /// Chromium by WHIP: a canvas in H.264, and Opus.
    ChromiumWhip,
    /// Chromium by WHIP: a larger canvas in three layers of this codec, and Opus.
    ChromiumSimulcast(&'static str),
    /// The same, restarting ICE after so many seconds.
    ChromiumWhipRestarts(u32),
}

impl Kind {
    const fn is_browser(self) -> bool {
        matches!(self, Self::ChromiumWhip | Self::ChromiumSimulcast(_) | Self::ChromiumWhipRestarts(_))
    }
}

/// A running publisher; killed when dropped.
pub struct Publisher {
    child: Child,
    kind: Kind,
}

impl Publisher {
    /// Starts it and waits until the server knows of it.
    pub async fn start(kind: Kind, server: &Server, stream: &str) -> Self {
        Self::start_at(kind, server, stream, &server.whip_url(stream)).await
    }

    /// As above; one that publishes by WHIP does so at `whip_url`.
    pub async fn start_at(kind: Kind, server: &Server, stream: &str, whip_url: &str) -> Self {
        let what = format!("{stream}-publisher");
        let child = match kind {
            Kind::FfmpegRtmp => rtmp(&what, server, stream, fixture("baseline", BASELINE, AAC).await),
            Kind::FfmpegRtmpBFrames => rtmp(&what, server, stream, fixture("bframes", BFRAMES, AAC).await),
            Kind::FfmpegRtmpLongGop => rtmp(&what, server, stream, fixture("long-gop", LONG_GOP, AAC).await),
            Kind::FfmpegWhip => {
                let mut command = process::newer_ffmpeg().await;
                let file = fixture("opus", BASELINE, OPUS).await;
                command.arg("-re").arg("-i").arg(file).args(["-c", "copy", "-f", "whip"]).arg(whip_url);
                process::spawn(&what, command)
            }
            Kind::ChromiumWhip | Kind::ChromiumSimulcast(_) | Kind::ChromiumWhipRestarts(_) => {
                let mut command = process::browser();
                command.arg("publish").arg(whip_url);
                match kind {
                    Kind::ChromiumSimulcast(codec) => command.args([codec, "simulcast"]),
                    Kind::ChromiumWhipRestarts(seconds) => command.arg(format!("restart={seconds}")),
                    _ => &mut command,
                };
                let mut child = process::spawn(&what, command);
                process::wait_for_line(&what, &mut child, "publishing", Duration::from_secs(30)).await;
                child
            }
        };
        let mut publisher = Self { child, kind };
        server.wait_for_publisher(stream).await;
        assert!(publisher.is_alive(), "{kind:?} ended");
        publisher
    }

    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends only these layers from now on, given as `m,l`.
    pub async fn keep_layers(&mut self, rids: &str) {
        let stdin = self.child.stdin.as_mut().expect("it is open until the end");
        stdin.write_all(format!("layers {rids}\n").as_bytes()).await.expect("the page listens");
    }

    /// Ends it as its user would: ffmpeg by SIGINT, the page by closing. Returns how many pictures
    /// a second it sent: a busy browser skips some, which no viewer can have.
    pub async fn stop(mut self) -> f64 {
        if self.kind.is_browser() {
            drop(self.child.stdin.take());
        } else if let Some(pid) = self.child.id() {
            let mut kill = Command::new("kill");
            kill.args(["-INT", &pid.to_string()]);
            process::run("kill", kill, Duration::from_secs(5)).await;
        }
        let ended = tokio::time::timeout(Duration::from_secs(10), self.child.wait_with_output()).await;
        let Ok(Ok(output)) = ended else { panic!("{:?} did not end", self.kind) };
        if !self.kind.is_browser() {
            return FPS;
        }
        let said: serde_json::Value = serde_json::from_slice(&output.stdout).expect("the page says what it sent");
        said["fps"].as_f64().expect("a picture rate")
    }
}

fn rtmp(what: &str, server: &Server, stream: &str, file: PathBuf) -> Child {
    let mut command = ffmpeg();
    command.arg("-re").arg("-i").arg(file).args(["-c", "copy", "-f", "flv", "-flvflags", "no_duration_filesize"]);
    command.arg(server.rtmp_url(stream));
    process::spawn(what, command)
}

const BASELINE: &[&str] = &["-profile:v", "baseline", "-bf", "0"];
const BFRAMES: &[&str] = &["-profile:v", "main", "-bf", "3", "-b_strategy", "0"];
/// Ten seconds; the options that come last win.
const LONG_GOP: &[&str] = &["-profile:v", "baseline", "-bf", "0", "-g", "250", "-keyint_min", "250"];
const AAC: &[&str] = &["-c:a", "aac", "-b:a", "96k"];
const OPUS: &[&str] = &["-c:a", "libopus", "-b:a", "64k"];
/// Longer than any test plays.
const SECONDS: &str = "150";

/// The source encoded once, to be sent by copying: encoding would take the cores from the test.
async fn fixture(name: &str, video: &[&str], audio: &[&str]) -> PathBuf {
    let file = scratch(&format!("source-1-{name}.mkv"));
    if file.exists() {
        return file;
    }
    let picture = format!(
        "testsrc2=size={}x{}:rate={FPS},lutyuv=y=16+(val-16)*0.5,drawbox=enable='lt(mod(t+0.001,1),0.1)':color=white:t=fill",
        SIZE.0, SIZE.1
    );
    let sound = "aevalsrc=exprs='0.5*sin(2*PI*1000*t)*lt(mod(t,1),0.1)':s=48000:c=stereo";
    let partial = scratch(&format!("source-1-{name}.partial"));
    let mut command = ffmpeg();
    command.args(["-f", "lavfi", "-i", &picture, "-f", "lavfi", "-i", sound, "-t", SECONDS]);
    command.args(["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]);
    command.args(["-g", "25", "-keyint_min", "25", "-sc_threshold", "0"]).args(video);
    command.args(["-b:v", "600k", "-maxrate", "600k", "-bufsize", "300k"]).args(audio);
    command.args(["-f", "matroska"]).arg(&partial).stderr(Stdio::inherit());
    let made = process::run("making the source", command, Duration::from_secs(120)).await;
    assert!(made.status.success(), "making the source: {}", String::from_utf8_lossy(&made.stderr));
    fs::rename(&partial, &file).expect("the scratch folder is writable");
    file
}
