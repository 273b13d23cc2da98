//! What the end-to-end tests share: a server of their own, clients as child processes, HTTP.
#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test program uses its own part of it")]

pub mod media;
pub mod process;
pub mod server;

pub use server::Weir;

use std::time::{Duration, Instant};

/// Polls `probe` until it gives a value or `patience` is over. For what has no event to wait on.
pub fn eventually<T>(what: &str, patience: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(Instant::now() < deadline, "in {patience:?} it did not come true: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
