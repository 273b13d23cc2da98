//! A bad network: a UDP relay in front of the server's media port.
//!
//! Clients are told its address in the place of the server's (`#relay=` of the URL, which never
//! reaches the server). Each client has an upstream port of its own there, as behind a NAT.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::{
    net::UdpSocket,
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep_until},
};

/// What waits for a narrow way out; more is dropped.
const QUEUE: Duration = Duration::from_millis(200);

/// And datagrams on their way, each direction of a client: a second of 50 Mb/s.
const WAITING_MAX: usize = 8_192;

/// What happens to datagrams. Both ways alike unless it says otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// The share that is lost, at random.
    pub loss: f64,
    /// One way.
    pub delay: Duration,
    /// Bits per second towards the client; `None` for as much as comes.
    pub down_rate: Option<u64>,
    /// Nothing passes.
    pub dark: bool,
}

/// The relay; gone when dropped.
pub struct Relay {
    addr: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    weather: Mutex<Weather>,
    rng: Mutex<StdRng>,
    /// Upstream ports of another generation are forgotten.
    generation: AtomicU64,
}

/// One client's upstream port and its two queues.
struct Client {
    generation: u64,
    up: mpsc::Sender<(Instant, Vec<u8>)>,
    down: JoinHandle<()>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.down.abort();
    }
}

impl Relay {
    /// In front of a server's media port.
    pub async fn start(server: SocketAddr, weather: Weather) -> Self {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.expect("a port for the relay"));
        let addr = socket.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            weather: Mutex::new(weather),
            rng: Mutex::new(StdRng::seed_from_u64(1)),
            generation: AtomicU64::new(0),
        });
        let task = tokio::spawn(run(socket, server, Arc::clone(&shared)));
        Self { addr, shared, task }
    }

    /// The URL of one who comes through the relay.
    pub fn through(&self, url: &str) -> String {
        format!("{url}#relay={}", self.addr)
    }

    pub fn set(&self, weather: Weather) {
        *self.shared.weather.lock().expect("nobody panics with it") = weather;
    }

    /// All clients get new upstream ports; what comes to the old ones is lost.
    pub fn rebind(&self) {
        self.shared.generation.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    /// Whether a datagram passes at all, and the weather.
    fn meet(&self) -> Option<Weather> {
        let weather = *self.weather.lock().expect("nobody panics with it");
        let lost = weather.loss > 0.0 && self.rng.lock().expect("nobody panics with it").random::<f64>() < weather.loss;
        (!weather.dark && !lost).then_some(weather)
    }
}

async fn run(socket: Arc<UdpSocket>, server: SocketAddr, shared: Arc<Shared>) {
    let mut clients: HashMap<SocketAddr, Client> = HashMap::new();
    let mut buffer = vec![0; 2_048];
    loop {
        let Ok((len, from)) = socket.recv_from(&mut buffer).await else { continue };
        let generation = shared.generation.load(Ordering::Relaxed);
        if clients.get(&from).is_none_or(|client| client.generation != generation) {
            clients.insert(from, client(Arc::clone(&socket), from, server, Arc::clone(&shared), generation).await);
        }
        if let (Some(weather), Some(client)) = (shared.meet(), clients.get(&from)) {
            let _lost = client.up.try_send((Instant::now() + weather.delay, buffer[..len].to_vec()));
        }
    }
}

async fn client(socket: Arc<UdpSocket>, at: SocketAddr, server: SocketAddr, shared: Arc<Shared>, generation: u64) -> Client {
    let upstream = Arc::new(UdpSocket::bind("127.0.0.1:0").await.expect("a port upstream"));
    upstream.connect(server).await.expect("loopback");
    let (up, mut waiting) = mpsc::channel::<(Instant, Vec<u8>)>(WAITING_MAX);
    let sending = Arc::clone(&upstream);
    tokio::spawn(async move {
        while let Some((due, data)) = waiting.recv().await {
            sleep_until(due).await;
            let _lost = sending.send(&data).await;
        }
    });
    let (down, mut arriving) = mpsc::channel::<(Instant, Vec<u8>)>(WAITING_MAX);
    tokio::spawn(async move {
        while let Some((due, data)) = arriving.recv().await {
            sleep_until(due).await;
            let _lost = socket.send_to(&data, at).await;
        }
    });
    let down = tokio::spawn(async move {
        let mut buffer = vec![0; 2_048];
        let mut free_at = Instant::now();
        loop {
            // A refused port upstream is the server's end, no matter of ours.
            let Ok(len) = upstream.recv(&mut buffer).await else { continue };
            // The NAT has forgotten this port, whether its client has spoken since or not.
            let is_former = shared.generation.load(Ordering::Relaxed) != generation;
            let Some(weather) = shared.meet().filter(|_| !is_former) else { continue };
            let now = Instant::now();
            if let Some(rate) = weather.down_rate {
                free_at = free_at.max(now);
                if free_at - now > QUEUE {
                    continue;
                }
                free_at += Duration::from_secs_f64(len as f64 * 8.0 / rate as f64);
            } else {
                free_at = now;
            }
            let _lost = down.try_send((free_at + weather.delay, buffer[..len].to_vec()));
        }
    });
    Client { generation, up, down }
}
