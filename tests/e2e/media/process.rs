//! Child processes with a time bound, and where the tools are.

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

/// Files of the tests: recordings, logs, the sources. Kept after the run, to look into a failure.
pub fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// A file of the repository's `tests` folder.
pub fn asset(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(path)
}

/// Debian's ffmpeg.
pub fn ffmpeg() -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-nostdin", "-v", "error", "-y"]);
    command
}

/// The Python that has what `tests/requirements.txt` names.
pub fn python(script: &str) -> Command {
    let mut command = Command::new(python_path());
    command.arg(asset("clients").join(script));
    command
}

fn python_path() -> PathBuf {
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-venv/bin/python");
    match std::env::var_os("WEIR_TEST_PYTHON") {
        Some(path) => path.into(),
        None if venv.exists() => venv,
        None => "python3".into(),
    }
}

/// The newer FFmpeg that imageio-ffmpeg brings: it has a WHIP muxer.
pub async fn newer_ffmpeg() -> Command {
    let mut find = Command::new(python_path());
    find.args(["-c", "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())"]);
    let found = run("find the newer ffmpeg", find, Duration::from_secs(20)).await;
    let mut command = Command::new(String::from_utf8_lossy(&found.stdout).trim());
    command.args(["-hide_banner", "-nostdin", "-v", "error", "-y"]);
    command
}

/// Chromium's driver.
pub fn browser() -> Command {
    let mut command = Command::new("node");
    command.arg(asset("browser/driver.mjs"));
    command
}

/// Runs to the end, or panics at `limit`.
pub async fn run(what: &str, mut command: Command, limit: Duration) -> Output {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(limit, command.output()).await;
    let output = output.unwrap_or_else(|_| panic!("{what} took more than {limit:?}: {command:?}"));
    output.unwrap_or_else(|error| panic!("{what} could not start: {error}: {command:?}"))
}

/// Starts in the background; ends when dropped. Its errors go to a file of this name.
pub fn spawn(what: &str, mut command: Command) -> Child {
    let log = std::fs::File::create(scratch(&format!("{what}.log"))).expect("the scratch folder is writable");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
    command.spawn().unwrap_or_else(|error| panic!("{what} could not start: {error}: {command:?}"))
}

/// Waits for a line on its output.
pub async fn wait_for_line(what: &str, child: &mut Child, wanted: &str, limit: Duration) {
    let mut lines = BufReader::new(child.stdout.as_mut().expect("its output is piped")).lines();
    let found = timeout(limit, async {
        while let Ok(Some(line)) = lines.next_line().await {
            if line == wanted {
                return true;
            }
        }
        false
    });
    let log = || std::fs::read_to_string(scratch(&format!("{what}.log"))).unwrap_or_default();
    assert_eq!(found.await, Ok(true), "{what} never said {wanted}: {}", log());
}
