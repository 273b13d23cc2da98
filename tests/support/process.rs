//! A client program: started, bounded in time, its output kept, ended when dropped.

use std::{
    io::Read as _,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, SyncSender},
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// A child process whose output is collected while it runs.
pub struct Client {
    name: String,
    child: Child,
    stdout: Option<JoinHandle<String>>,
    stderr: Option<JoinHandle<String>>,
}

/// What a client said when it had ended.
#[derive(Debug)]
pub struct Outcome {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Client {
    /// Starts `command`; `name` stands in messages.
    pub fn start(name: &str, command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{name} did not start (tests/run install): {error}"));
        let stdout = child.stdout.take().map(collect);
        let stderr = child.stderr.take().map(collect);
        Self { name: name.to_owned(), child, stdout, stderr }
    }

    /// ffmpeg with `args`, quiet but for errors.
    pub fn ffmpeg(name: &str, args: &[&str]) -> Self {
        Self::start(name, Command::new("ffmpeg").args(["-hide_banner", "-nostdin", "-loglevel", "error"]).args(args))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_none()
    }

    /// Asks it to end (SIGINT: ffmpeg finishes its files) and waits.
    pub fn interrupt(self, patience: Duration) -> Outcome {
        let sent = Command::new("kill").args(["-s", "INT", &self.child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success(), "{} is gone", self.name);
        self.finish(patience)
    }

    /// Waits for its end; one that takes longer than `patience` is killed and fails the test.
    pub fn finish(mut self, patience: Duration) -> Outcome {
        let deadline = Instant::now() + patience;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                break status;
            }
            if Instant::now() > deadline {
                let _gone = self.child.kill();
                let outcome = self.outcome(None);
                panic!("{} did not end in {patience:?}\n{}\n{}", self.name, outcome.0, outcome.1);
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let (stdout, stderr) = self.outcome(Some(()));
        Outcome { status, stdout, stderr }
    }

    /// Tells of its end, which is when nobody can write to its output any more.
    fn when_ended(&mut self, turns: SyncSender<Turn>) {
        let output = self.stdout.take();
        std::thread::spawn(move || {
            let _output = output.map(JoinHandle::join);
            let _nobody_waits = turns.send(Turn::Ended);
        });
    }

    fn outcome(&mut self, _ended: Option<()>) -> (String, String) {
        let text = |thread: Option<JoinHandle<String>>| thread.and_then(|t| t.join().ok()).unwrap_or_default();
        (text(self.stdout.take()), text(self.stderr.take()))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A client that comes back when it ends, as encoders and players do, until this is dropped.
pub struct Persistent {
    turns: SyncSender<Turn>,
    thread: Option<JoinHandle<()>>,
}

/// Told and not read yet: one client's end, and that it is over.
const TURNS_MAX: usize = 2;

/// What a persistent client waits for.
enum Turn {
    Ended,
    Over,
}

impl Persistent {
    /// Starts what `make` makes, again and again.
    pub fn start(make: impl Fn() -> Client + Send + 'static) -> Self {
        let (turns, next) = mpsc::sync_channel(TURNS_MAX);
        let ended = turns.clone();
        let thread = std::thread::spawn(move || {
            loop {
                let mut client = make();
                client.when_ended(ended.clone());
                if !matches!(next.recv(), Ok(Turn::Ended)) {
                    return;
                }
            }
        });
        Self { turns, thread: Some(thread) }
    }
}

impl Drop for Persistent {
    fn drop(&mut self) {
        let _gone = self.turns.send(Turn::Over);
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}

/// The last this many bytes of a client's output are kept.
const OUTPUT_BYTES_MAX: usize = 4 << 20;

fn collect(mut from: impl std::io::Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        let mut buffer = [0; 16 << 10];
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            kept.extend_from_slice(&buffer[..n]);
            if kept.len() > OUTPUT_BYTES_MAX {
                kept.drain(..OUTPUT_BYTES_MAX / 2);
            }
        }
        String::from_utf8_lossy(&kept).into_owned()
    })
}

/// The output so far cannot be read while the process runs; this reads a whole file instead.
pub fn read_file(path: &std::path::Path) -> String {
    let mut text = String::new();
    if let Ok(mut file) = std::fs::File::open(path) {
        let _length = file.read_to_string(&mut text);
    }
    text
}
