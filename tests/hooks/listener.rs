//! A callback server in the test: it remembers what it was told, and answers as the test wants.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::Value;

use super::support::eventually;

/// All hooks that there are.
const HOOKS: [&str; 7] = ["on_connect", "on_close", "on_publish", "on_unpublish", "on_play", "on_stop", "on_hls"];
/// Longer than any client takes to be missed.
const PATIENCE: Duration = Duration::from_secs(60);

type Act = Box<dyn Fn(&Value) -> &'static str + Send + Sync>;

/// Listens until it is dropped.
pub struct Listener {
    pub address: SocketAddr,
    heard: Arc<Mutex<Vec<Value>>>,
    over: Arc<AtomicBool>,
}

impl Listener {
    /// Agrees to everything.
    pub fn agreeing() -> Self {
        Self::start(|_| "0")
    }

    /// Answers with what `act` makes of the fields, in its time.
    pub fn start(act: impl Fn(&Value) -> &'static str + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (heard, over, act) = (Arc::default(), Arc::<AtomicBool>::default(), Arc::<Act>::new(Box::new(act)));
        let server = Self { address, heard, over };
        let (heard, over) = (Arc::clone(&server.heard), Arc::clone(&server.over));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let (heard, act, over) = (Arc::clone(&heard), Arc::clone(&act), Arc::clone(&over));
                std::thread::spawn(move || serve(stream, &heard, &act, &over));
            }
        });
        server
    }

    /// The section of a vhost that has all hooks sent here.
    pub fn directives(&self) -> String {
        let lines = HOOKS.map(|hook| format!("{hook} http://{}/hooks;", self.address));
        format!("http_hooks {{ enabled on; {} }}", lines.join(" "))
    }

    /// All that was told, in its order.
    pub fn heard(&self) -> Vec<Value> {
        self.heard.lock().expect("no listener panics").clone()
    }

    /// The actions of one client.
    pub fn of(&self, client: &str) -> Vec<String> {
        let heard = self.heard();
        heard.iter().filter(|fields| fields["client_id"] == client).map(action).collect()
    }

    /// Waits for what `is_it` accepts.
    pub fn wait_for(&self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        eventually(what, PATIENCE, || self.heard().into_iter().find(|fields| is_it(fields)))
    }

    /// Waits until `action` was told of this stream for the `times`th time; the last one.
    pub fn wait_for_nth(&self, wanted: &str, stream: &str, times: usize) -> Value {
        eventually(&format!("{wanted} of {stream} number {times}"), PATIENCE, || {
            self.heard().into_iter().filter(|fields| action(fields) == wanted && fields["stream"] == stream).nth(times - 1)
        })
    }

    /// Nobody listens there any more.
    pub fn stop(&self) {
        self.over.store(true, Ordering::Relaxed);
        let _woken = TcpStream::connect(self.address);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            eprintln!("---- the callbacks ----");
            self.heard().iter().for_each(|fields| eprintln!("{fields}"));
        }
    }
}

pub fn action(fields: &Value) -> String {
    fields["action"].as_str().unwrap_or_default().to_owned()
}

fn serve(mut stream: TcpStream, heard: &Mutex<Vec<Value>>, act: &Act, over: &AtomicBool) {
    let Ok(reading) = stream.try_clone() else { return };
    let mut reading = BufReader::new(reading);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            match reading.read_line(&mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        if reading.read_exact(&mut body).is_err() {
            return;
        }
        if over.load(Ordering::Relaxed) {
            return;
        }
        let fields: Value = serde_json::from_slice(&body).expect("callbacks are JSON");
        heard.lock().expect("no listener panics").push(fields.clone());
        let said = act(&fields);
        let _sent = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{said}", said.len());
    }
}
