//! The picture and the tone that the tests publish, and the programs that do so.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::process::Client;

/// A picture that is cheap to make and to encode.
pub const SMALL: &str = "320x180";
/// One of a usual size, for what measures.
pub const USUAL: &str = "640x360";

/// What a publisher of H.264 offers. Nobody is behind it.
pub const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendonly\r\na=rtcp-mux\r\n\
    a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n\
    a=fingerprint:sha-256 19:E2:1C:3B:4B:9F:81:E6:B8:5C:F4:A5:A8:D8:73:04:BB:05:2F:70:9F:04:A9:0E:05:E9:26:33:E8:70:88:A2\r\n\
    a=setup:actpass\r\na=rtpmap:96 H264/90000\r\n\
    a=fmtp:96 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n";

/// H.264 as a browser takes it, a keyframe each second.
const ENCODED: [&str; 16] = [
    "-pix_fmt",
    "yuv420p",
    "-c:v",
    "libx264",
    "-profile:v",
    "baseline",
    "-preset",
    "ultrafast",
    "-tune",
    "zerolatency",
    "-g",
    "25",
    "-bf",
    "0",
    "-b:v",
    "400k",
];

/// ffmpeg publishes by RTMP, with AAC, until it is dropped.
pub fn publish_rtmp(url: &str, size: &str) -> Client {
    let mut command = Command::new("ffmpeg");
    publish(&mut command, size).args(["-c:a", "aac", "-ar", "44100", "-ac", "2", "-f", "flv", url]);
    Client::start("the publisher by RTMP", &mut command)
}

/// The newer ffmpeg of the test environment publishes by WHIP, with Opus, until it is dropped.
pub fn publish_whip(url: &str, size: &str) -> Client {
    let find = ["-c", "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())"];
    let found = Command::new(interpreter()).args(find).output().expect("Python runs");
    let mut command = Command::new(String::from_utf8_lossy(&found.stdout).trim());
    publish(&mut command, size).args(["-c:a", "libopus", "-ar", "48000", "-ac", "2", "-f", "whip", url]);
    Client::start("the publisher by WHIP", &mut command)
}

fn publish<'a>(command: &'a mut Command, size: &str) -> &'a mut Command {
    command.args(["-hide_banner", "-nostdin", "-loglevel", "error"]);
    command.args(["-re", "-f", "lavfi", "-i", &format!("testsrc2=size={size}:rate=25")]);
    command.args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"]).args(ENCODED)
}

/// The Python that has what `tests/requirements.txt` names.
pub fn interpreter() -> PathBuf {
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-venv/bin/python");
    match std::env::var_os("WEIR_TEST_PYTHON") {
        Some(path) => path.into(),
        None if venv.exists() => venv,
        None => "python3".into(),
    }
}

/// A program of `tests/clients`.
pub fn python(script: &str) -> Command {
    let mut command = Command::new(interpreter());
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script));
    command
}
