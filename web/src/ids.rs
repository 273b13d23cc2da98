//! Names that the server gives: to itself, to a start of it, to clients and to streams.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::{Instant, SystemTime},
};

use rand::Rng;
use weir_source::StreamKey;

const LETTERS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
/// As long as SRS makes its `vid-` names: 36^7 is 78 billion.
const SHORT: usize = 7;
/// As long as SRS makes its context ids.
const TRACE: usize = 8;

/// What the envelope of every API answer says about this server.
#[derive(Clone, Debug)]
pub struct ServerIds {
    /// The server, `vid-xxxxxxx`.
    pub server: String,
    /// This start of it, 8 characters.
    pub service: String,
    /// Its process id in decimal.
    pub pid: String,
    /// When this start was.
    pub started: Instant,
}

impl ServerIds {
    /// Fresh ones for this start.
    pub fn new() -> Self {
        Self {
            server: format!("vid-{}", random(SHORT)),
            service: random(TRACE),
            pid: std::process::id().to_string(),
            started: Instant::now(),
        }
    }

    /// The API's id of a stream: the same for the same name as long as this server runs.
    pub(crate) fn stream(&self, key: &StreamKey) -> String {
        self.named(&(key.vhost(), key.app(), key.stream()))
    }

    /// The API's id of a vhost.
    pub(crate) fn vhost(&self, vhost: &str) -> String {
        self.named(&vhost)
    }

    fn named(&self, name: &impl Hash) -> String {
        let mut hasher = DefaultHasher::new();
        (&self.service, name).hash(&mut hasher);
        let mut rest = hasher.finish();
        let mut id = String::from("vid-");
        for _ in 0..SHORT {
            id.push(letter(rest));
            rest /= LETTERS.len() as u64;
        }
        id
    }
}

impl Default for ServerIds {
    fn default() -> Self {
        Self::new()
    }
}

/// Milliseconds of Unix time.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A fresh trace id: 8 lower-case letters and digits.
pub fn trace_id() -> String {
    random(TRACE)
}

/// `len` random letters and digits.
pub(crate) fn random(len: usize) -> String {
    let mut rng = rand::rng();
    (0..len).map(|_| letter(rng.random())).collect()
}

fn letter(number: u64) -> char {
    let index = usize::try_from(number % LETTERS.len() as u64).unwrap_or(0);
    char::from(LETTERS.get(index).copied().unwrap_or(b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_keeps_its_id_and_two_streams_differ() {
        let ids = ServerIds::new();
        let (a, b) = (StreamKey::new("live", "a").unwrap(), StreamKey::new("live", "b").unwrap());
        assert_eq!(ids.stream(&a), ids.stream(&a));
        assert_ne!(ids.stream(&a), ids.stream(&b));
        assert!(ids.stream(&a).starts_with("vid-") && ids.stream(&a).len() == 11);
        assert!(ids.server.starts_with("vid-") && ids.server.len() == 11);
    }

    #[test]
    fn trace_ids_are_eight_lower_case_letters_or_digits() {
        let id = trace_id();
        assert_eq!(id.len(), 8);
        assert!(id.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase()));
        assert_ne!(id, trace_id());
    }
}
