//! The stream next to the attacks: an ffmpeg that publishes and an ffmpeg that plays, both keeping
//! a record, so that afterwards every packet can be compared.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use crate::support::{Weir, eventually, process::Client};

/// Pictures per second.
const RATE: u32 = 15;
/// What may be missing at the end of the player's record: what was on its way or in a buffer when
/// it was stopped.
const TAIL: Duration = Duration::from_secs(3);

pub(crate) struct Canary {
    publisher: Client,
    player: Client,
    sent: PathBuf,
    got: PathBuf,
    started: Instant,
}

/// One packet as ffprobe tells it.
#[derive(Debug, PartialEq)]
struct Packet {
    dts_ms: i64,
    keyframe: bool,
    hash: String,
}

impl Canary {
    /// Publishes `live/canary` and plays it until pictures are on the player's disk.
    pub(crate) fn start(server: &Weir) -> Self {
        let (sent, got) = (server.dir().join("sent.flv"), server.dir().join("got.flv"));
        let outputs = format!("[f=flv]{}|[f=flv:flush_packets=1]{}", server.rtmp_url("canary"), sent.display());
        let mut publish: Vec<&str> = "-re -f lavfi -i testsrc2=size=320x180:rate=15 \
            -f lavfi -i anoisesrc=sample_rate=48000:amplitude=0.1:seed=7 -map 0:v -map 1:a \
            -c:v libx264 -preset ultrafast -tune zerolatency -g 15 -pix_fmt yuv420p \
            -c:a aac -b:a 64k -flags +global_header -f tee"
            .split_whitespace()
            .collect();
        publish.push(&outputs);
        let publisher = Client::ffmpeg("the canary's publisher", &publish);
        server.wait_for_publisher("canary");
        let (url, file) = (server.rtmp_url("canary"), got.to_string_lossy().into_owned());
        let play = ["-i", &url, "-map", "0", "-c", "copy", "-flush_packets", "1", "-f", "flv", &file];
        let player = Client::ffmpeg("the canary's player", &play);
        let length = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
        eventually("the canary is seen", Duration::from_secs(20), || (length(&got) > 20_000).then_some(()));
        Self { publisher, player, sent, got, started: Instant::now() }
    }

    /// Stops both and compares: the player must have every packet that the publisher sent since it
    /// joined, in order, unchanged and on the publisher's clock.
    pub(crate) fn finish(mut self) {
        assert!(self.publisher.is_running(), "the canary's publisher ended early");
        assert!(self.player.is_running(), "the canary's player ended early");
        let lasted = self.started.elapsed();
        for (client, name) in [(self.player, "player"), (self.publisher, "publisher")] {
            let outcome = client.interrupt(Duration::from_secs(10));
            assert!(outcome.stderr.trim().is_empty(), "the canary's {name} complains:\n{}", outcome.stderr);
        }
        let pictures = compare("video", &self.sent, &self.got);
        let sounds = compare("audio", &self.sent, &self.got);
        println!("the canary: {pictures} pictures and {sounds} sound frames in {:.1} s", lasted.as_secs_f64());
        let wanted = lasted.saturating_sub(TAIL).as_secs() * u64::from(RATE);
        assert!(pictures as u64 >= wanted, "{pictures} pictures in {lasted:?}");
        assert!(sounds > pictures, "{sounds} sound frames to {pictures} pictures");
        decode(&self.got);
    }
}

/// How many packets of `kind` both files have, after checking that they are the same.
fn compare(kind: &str, sent: &Path, got: &Path) -> usize {
    let (sent, got) = (packets(kind, sent), packets(kind, got));
    let first = got.first().unwrap_or_else(|| panic!("the player got no {kind}"));
    assert!(first.keyframe, "{kind} starts at a keyframe");
    let start = sent.iter().position(|packet| packet.hash == first.hash);
    let start = start.unwrap_or_else(|| panic!("the first {kind} packet is none of the publisher's: {first:?}"));
    let shift = sent[start].dts_ms - first.dts_ms;
    for (n, (sent, got)) in sent[start..].iter().zip(&got).enumerate() {
        assert_eq!(sent.hash, got.hash, "{kind} packet {n} after the start: {sent:?} was sent, {got:?} came");
        let drift = (sent.dts_ms - got.dts_ms - shift).abs();
        assert!(drift <= 2, "{kind} packet {n} came {drift} ms off: {sent:?} {got:?}");
    }
    let behind = sent.last().map_or(0, |last| last.dts_ms) - got.last().map_or(0, |last| last.dts_ms) - shift;
    assert!(behind <= TAIL.as_millis() as i64, "the player's {kind} ends {behind} ms before the publisher's");
    got.len()
}

fn packets(kind: &str, file: &Path) -> Vec<Packet> {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-show_data_hash", "crc32", "-select_streams", &kind[..1], "-of", "csv=p=0"])
        .args(["-show_entries", "packet=dts_time,flags,data_hash"])
        .arg(file)
        .output()
        .expect("ffprobe runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let rows = text.lines().map(|line| line.split(',').collect::<Vec<_>>()).filter(|row| row.len() >= 3);
    rows.map(|row| Packet {
        dts_ms: row[0].parse::<f64>().map_or(0, |seconds| (seconds * 1_000.0).round() as i64),
        keyframe: row[1].starts_with('K'),
        hash: row[2].to_owned(),
    })
    .collect()
}

fn decode(file: &Path) {
    let file = file.to_string_lossy();
    let outcome = Client::ffmpeg("the decoder", &["-i", &file, "-f", "null", "-"]).finish(Duration::from_secs(20));
    assert!(outcome.status.success() && outcome.stderr.trim().is_empty(), "the record does not decode:\n{}", outcome.stderr);
}
