//! What the end-to-end tests are made of: the real server, real clients, and judges.

pub mod client;
pub mod process;
pub mod publisher;
pub mod relay;
pub mod report;
pub mod server;

use tokio::sync::{Mutex, MutexGuard};

static TURN: Mutex<()> = Mutex::const_new(());

/// The tests measure media in real time on few cores: one at a time.
pub async fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().await
}
