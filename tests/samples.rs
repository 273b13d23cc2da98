//! The sample configurations: the real server with each of them, on free ports of loopback, does what
//! the sample promises and nothing else.
#![allow(dead_code, unreachable_pub, reason = "it uses a part of what the tests share")]

#[path = "hooks/listener.rs"]
mod listener;
mod support;

use std::{
    collections::HashMap,
    fs::File,
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use listener::{Listener, action};
use support::{
    eventually,
    media::{self, SMALL, python},
    process::{Client, read_file},
    server::{free_both, http_get},
};

/// How long a client may take to see something.
const PATIENCE: Duration = Duration::from_secs(40);

/// A server with a sample, its ports on loopback.
struct Sample {
    child: Child,
    dir: tempfile::TempDir,
    /// Where what listens on a port in the sample listens now.
    at: HashMap<u16, SocketAddr>,
}

impl Sample {
    fn start(name: &str) -> Self {
        Self::start_with(name, |text| text)
    }

    /// With another text in the sample's place, its ports apart.
    fn start_with(name: &str, change: impl Fn(String) -> String) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf").join(name);
        let mut at = HashMap::new();
        let text = on_free_ports(&change(std::fs::read_to_string(path).expect("a sample")), &mut at);
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join(name), text).expect("a file");
        let log = File::create(dir.path().join("log")).expect("a file");
        let errors = log.try_clone().expect("a file handle");
        let child = Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(["-c", name])
            .current_dir(dir.path())
            .env("CANDIDATE", "127.0.0.1")
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .expect("the server starts");
        let mut sample = Self { child, dir, at };
        let rtmp = sample.at[&1935];
        eventually("RTMP listens", PATIENCE, || {
            assert!(sample.child.try_wait().expect("a child").is_none(), "the server ended:\n{}", sample.log());
            TcpStream::connect(rtmp).ok()
        });
        sample
    }

    fn log(&self) -> String {
        read_file(&self.dir.path().join("log"))
    }

    fn rtmp(&self) -> String {
        format!("rtmp://{}/live/stream", self.at[&1935])
    }

    fn http(&self, file: &str) -> String {
        format!("http://{}/live/{file}", self.at[&8080])
    }

    fn signalling(&self, what: &str) -> String {
        format!("http://{}/rtc/v1/{what}/?app=live&stream=stream", self.at[&1985])
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
        if std::thread::panicking() {
            eprintln!("---- the server's log ----\n{}", self.log());
        }
    }
}

/// The sample with each port replaced by a free one of loopback, the same for TCP and UDP.
fn on_free_ports(text: &str, at: &mut HashMap<u16, SocketAddr>) -> String {
    let line = |line: &str| {
        let port = line.trim_start().strip_prefix("listen").and_then(|rest| rest.trim().trim_end_matches(';').parse().ok());
        match port {
            Some(port) => format!("listen {};", at.entry(port).or_insert_with(free_both)),
            None => line.to_owned(),
        }
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// ffmpeg publishes by RTMP until it is dropped.
fn publish(sample: &Sample) -> Client {
    media::publish_rtmp(&sample.rtmp(), SMALL)
}

/// A newer ffmpeg publishes by WHIP until it is dropped.
fn publish_by_whip(sample: &Sample) -> Client {
    media::publish_whip(&sample.signalling("whip"), SMALL)
}

/// aiortc plays by WHEP until its first picture.
fn plays_by_whep(sample: &Sample) -> bool {
    let mut command = python("whep.py");
    command.args([&sample.signalling("whep"), "--joins", "1", "--patience", "15"]);
    Client::start("aiortc", &mut command).finish(PATIENCE).status.success()
}

/// The codecs that ffprobe finds, sorted; nothing if it finds no stream. It takes metadata for one without a codec.
fn codecs(url: &str) -> Vec<String> {
    let args = ["-v", "error", "-rw_timeout", "15000000", "-show_entries", "stream=codec_name", "-of", "csv=p=0", url];
    let outcome = Client::start("ffprobe", Command::new("ffprobe").args(args)).finish(PATIENCE);
    let mut found: Vec<String> = outcome
        .stdout
        .lines()
        .map(|line| line.trim().to_owned())
        .filter(|line| !matches!(line.as_str(), "" | "unknown"))
        .collect();
    found.sort();
    // Of HLS ffprobe tells the streams of each programme as well.
    found.dedup();
    found
}

/// Both codecs are there, within the time that a publisher needs to begin.
fn plays(url: &str) {
    let both = ["aac", "h264"];
    let mut last = Vec::new();
    eventually(&format!("{url} plays"), PATIENCE, || {
        last = codecs(url);
        (last == both).then_some(())
    });
}

/// The status of a path where the sample serves HTTP.
fn status(sample: &Sample, port: u16, path: &str) -> u16 {
    http_get(sample.at[&port], path).map_or(0, |(status, _)| status)
}

#[test]
fn rtmp_conf_carries_rtmp() {
    let sample = Sample::start("rtmp.conf");
    let _publisher = publish(&sample);
    plays(&sample.rtmp());
}

#[test]
fn realtime_conf_carries_rtmp_to_http_flv() {
    let sample = Sample::start("realtime.conf");
    let _publisher = publish(&sample);
    plays(&sample.rtmp());
    plays(&sample.http("stream.flv"));
}

#[test]
fn hls_conf_carries_rtmp_to_hls() {
    let sample = Sample::start("hls.conf");
    let _publisher = publish(&sample);
    plays(&sample.http("stream.m3u8"));
    assert_eq!(status(&sample, 8080, "/live/stream.flv"), 404, "HTTP-FLV is not promised");
}

#[test]
fn http_flv_live_conf_carries_rtmp_to_http_flv() {
    let sample = Sample::start("http.flv.live.conf");
    let _publisher = publish(&sample);
    plays(&sample.http("stream.flv"));
    assert_eq!(status(&sample, 8080, "/live/stream.m3u8"), 404, "HLS is not promised");
}

#[test]
fn rtc_conf_carries_webrtc_and_does_not_bridge() {
    let sample = Sample::start("rtc.conf");
    let _publisher = publish_by_whip(&sample);
    assert!(plays_by_whep(&sample));
    assert_eq!(codecs(&sample.rtmp()), [""; 0], "nothing goes to RTMP");
}

#[test]
fn rtmp2rtc_conf_carries_rtmp_to_webrtc() {
    let sample = Sample::start("rtmp2rtc.conf");
    let _publisher = publish(&sample);
    plays(&sample.http("stream.flv"));
    assert!(plays_by_whep(&sample));
}

#[test]
fn rtc2rtmp_conf_carries_webrtc_to_all_others() {
    let sample = Sample::start("rtc2rtmp.conf");
    let _publisher = publish_by_whip(&sample);
    plays(&sample.rtmp());
    plays(&sample.http("stream.flv"));
    plays(&sample.http("stream.m3u8"));
}

#[test]
fn weir_conf_and_docker_conf_carry_everything() {
    for name in ["weir.conf", "docker.conf"] {
        let sample = Sample::start(name);
        let _publisher = publish(&sample);
        plays(&sample.http("stream.flv"));
        plays(&sample.http("stream.m3u8"));
        assert!(plays_by_whep(&sample), "{name}");
        assert_eq!(status(&sample, 1985, "/api/v1/versions"), 200);
    }
}

/// The sound of two seconds of the stream as ffmpeg decodes it: in blocks, one a frame of AAC.
fn heard(sample: &Sample) -> usize {
    let url = sample.http("stream.aac");
    let args = ["-f", "aac", "-t", "2", "-i", &url, "-f", "framecrc", "-"];
    let outcome = Client::ffmpeg("a listener", &args).finish(PATIENCE);
    assert!(outcome.status.success() && outcome.stderr.is_empty(), "{outcome:?}");
    outcome.stdout.lines().filter(|line| line.starts_with("0,")).count()
}

#[test]
fn the_sound_of_a_webrtc_publisher_is_had_alone_as_adts() {
    let sample = Sample::start("weir.conf");
    let _publisher = publish_by_whip(&sample);
    plays(&sample.http("stream.flv"));
    assert_eq!(codecs(&sample.http("stream.aac")), ["aac"]);
    assert!(heard(&sample) > 85, "48,000 samples a second in frames of 1,024");
}

#[test]
fn where_sound_is_left_out_it_is_not_had_alone_and_nobody_waits_for_it() {
    let silent = |text: String| text.replace("    http_remux {\n", "    http_remux {\n        has_audio off;\n");
    let sample = Sample::start_with("weir.conf", silent);
    let _publisher = publish(&sample);
    assert_eq!(codecs(&sample.http("stream.flv")), ["h264"]);
    for file in ["/live/stream.aac", "/live/stream.mp3"] {
        let (status, text) = http_get(sample.at[&8080], file).expect("an answer");
        assert!(status == 404 && text.contains("sound is left out here"), "{file}: {status} {text}");
    }
}

#[test]
fn the_sound_of_a_stream_is_had_alone_as_adts() {
    let sample = Sample::start("weir.conf");
    let _publisher = publish(&sample);
    plays(&sample.http("stream.flv"));
    assert_eq!(codecs(&sample.http("stream.aac")), ["aac"]);
    assert!(heard(&sample) > 80, "44,100 samples a second in frames of 1,024");
    let (status_of_mp3, text) = http_get(sample.at[&8080], "/live/stream.mp3").expect("an answer");
    assert!(status_of_mp3 == 404 && text.contains("the sound of the stream is AAC"), "{status_of_mp3} {text}");
}

#[test]
fn full_conf_starts_and_listens_for_rtmp_only() {
    let sample = Sample::start("full.conf");
    assert!(TcpStream::connect(sample.at[&1985]).is_err() && TcpStream::connect(sample.at[&8080]).is_err());
}

#[test]
fn a_vhost_without_rtc_lets_no_webrtc_client_in() {
    let off = |text: String| text.replace("    rtc {\n        enabled     on;", "    rtc {\n        enabled     off;");
    let sample = Sample::start_with("rtmp2rtc.conf", off);
    let _publisher = publish(&sample);
    plays(&sample.http("stream.flv"));
    assert!(!plays_by_whep(&sample));
}

#[test]
fn http_hooks_callback_conf_asks_and_tells() {
    let at = |listener: &Listener| {
        let address = listener.address.to_string();
        move |text: String| text.replace("127.0.0.1:8085", &address)
    };
    let listener = Listener::agreeing();
    let sample = Sample::start_with("http.hooks.callback.conf", at(&listener));
    let publisher = publish(&sample);
    plays(&sample.http("stream.flv"));
    drop(publisher);
    for event in ["on_publish", "on_play", "on_stop", "on_unpublish"] {
        listener.wait_for(event, |fields| action(fields) == event);
    }
    let listener = Listener::start(|_| "403");
    let sample = Sample::start_with("http.hooks.callback.conf", at(&listener));
    let outcome = publish(&sample).finish(PATIENCE);
    assert!(!outcome.status.success(), "who is not let in does not publish");
}
