//! The thread that writes lines. Nobody waits for it: a line that finds its queue full is lost and
//! counted.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::Duration,
};

use anyhow::Context as _;

use super::Tank;

/// Lines that may wait. At 200 bytes each, a megabyte and a half: some seconds of the busiest log
/// while a disk thinks.
const QUEUE_LINES: usize = 8_192;
/// Bytes that are written at once.
const BATCH_BYTES: usize = 64 << 10;
/// How long somebody waits for the thread who has to.
const PATIENCE: Duration = Duration::from_secs(1);

/// All that the thread can be told.
enum Order {
    Line(String),
    Open(Tank, SyncSender<io::Result<()>>),
    Flush(SyncSender<()>),
}

/// To the thread. Cloning shares it.
#[derive(Clone)]
pub(super) struct Writer {
    orders: SyncSender<Order>,
    lost: Arc<AtomicU64>,
}

impl Writer {
    pub(super) fn start(tank: &Tank) -> anyhow::Result<Self> {
        let sink = Sink::open(tank).with_context(|| tank_name(tank))?;
        let (orders, inbox) = sync_channel(QUEUE_LINES);
        let lost = Arc::<AtomicU64>::default();
        let counted = Arc::clone(&lost);
        std::thread::Builder::new().name("weir-log".to_owned()).spawn(move || run(sink, &inbox, &counted))?;
        Ok(Self { orders, lost })
    }

    pub(super) fn write(&self, line: String) {
        if self.orders.try_send(Order::Line(line)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lines lost since the last call.
    pub(super) fn take_lost(&self) -> u64 {
        if self.lost.load(Ordering::Relaxed) == 0 { 0 } else { self.lost.swap(0, Ordering::Relaxed) }
    }

    /// Goes on with this tank; a file is opened anew even if it is the one that is open. Where it
    /// fails the old one stays.
    pub(super) fn open(&self, tank: &Tank) -> anyhow::Result<()> {
        let (answer, opened) = sync_channel(1);
        let sent = self.orders.try_send(Order::Open(tank.clone(), answer)).ok();
        sent.and_then(|()| opened.recv_timeout(PATIENCE).ok()).context("the log is stuck")?.with_context(|| tank_name(tank))
    }

    pub(super) fn flush(&self) {
        let (answer, flushed) = sync_channel(1);
        if self.orders.try_send(Order::Flush(answer)).is_ok() {
            let _done_or_stuck = flushed.recv_timeout(PATIENCE);
        }
    }
}

fn tank_name(tank: &Tank) -> String {
    match tank {
        Tank::Console => "the console cannot be written to".to_owned(),
        Tank::File(path) => format!("the log file {} cannot be opened (srs_log_file names another)", path.display()),
    }
}

/// What is open.
enum Sink {
    Console,
    File(File),
}

impl Sink {
    fn open(tank: &Tank) -> io::Result<Self> {
        let Tank::File(path) = tank else { return Ok(Self::Console) };
        if let Some(folder) = path.parent().filter(|folder| *folder != Path::new("")) {
            fs::create_dir_all(folder)?;
        }
        Ok(Self::File(File::options().append(true).create(true).open(path)?))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Console => {
                let mut out = io::stdout().lock();
                out.write_all(bytes)?;
                out.flush()
            }
            Self::File(file) => file.write_all(bytes),
        }
    }
}

fn run(mut sink: Sink, inbox: &Receiver<Order>, lost: &AtomicU64) {
    let mut batch = Batch::default();
    while let Ok(order) = inbox.recv() {
        let mut next = Some(order);
        while let Some(order) = next.take() {
            match order {
                Order::Line(line) => batch.push(&line),
                Order::Open(tank, answer) => {
                    batch.write(&mut sink, lost);
                    let opened = Sink::open(&tank).map(|opened| sink = opened);
                    let _asker_gone = answer.send(opened);
                }
                Order::Flush(answer) => {
                    batch.write(&mut sink, lost);
                    let _asker_gone = answer.send(());
                }
            }
            if batch.bytes.len() < BATCH_BYTES {
                next = inbox.try_recv().ok();
            }
        }
        batch.write(&mut sink, lost);
    }
}

/// Lines that are written together.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    lines: u64,
    /// The last write failed, perhaps within a line.
    broken: bool,
}

impl Batch {
    fn push(&mut self, line: &str) {
        self.bytes.extend_from_slice(line.as_bytes());
        self.lines += 1;
    }

    fn write(&mut self, sink: &mut Sink, lost: &AtomicU64) {
        if self.lines == 0 {
            return;
        }
        if self.broken {
            self.bytes.insert(0, b'\n');
        }
        self.broken = sink.write(&self.bytes).is_err();
        if self.broken {
            lost.fetch_add(self.lines, Ordering::Relaxed);
        }
        self.bytes.clear();
        self.lines = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_moved_away_is_made_anew_on_request() {
        let dir = tempfile::tempdir().unwrap();
        let (path, moved) = (dir.path().join("objs/weir.log"), dir.path().join("weir.log.1"));
        let tank = Tank::File(path.clone());
        let writer = Writer::start(&tank).unwrap();
        writer.write("one\n".to_owned());
        writer.flush();
        fs::rename(&path, &moved).unwrap();
        writer.write("two\n".to_owned());
        writer.open(&tank).unwrap();
        writer.write("three\n".to_owned());
        writer.flush();
        assert_eq!(fs::read_to_string(&moved).unwrap(), "one\ntwo\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
        assert!(writer.open(&Tank::File("/proc/nothing/weir.log".into())).is_err());
        writer.write("four\n".to_owned());
        writer.flush();
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\nfour\n", "the old one stays");
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_nobody_waits() {
        let writer = Writer::start(&Tank::File("/dev/full".into())).unwrap();
        for _ in 0..3 * QUEUE_LINES {
            writer.write("a line\n".to_owned());
        }
        writer.flush();
        let mut lost = 0;
        while lost < 3 * QUEUE_LINES as u64 {
            writer.flush();
            lost += writer.take_lost();
        }
        assert_eq!(lost, 3 * QUEUE_LINES as u64);
    }
}
