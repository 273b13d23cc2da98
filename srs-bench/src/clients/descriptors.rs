//! File descriptors: each client has a socket, and shells give programs a thousand.

use anyhow::ensure;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Beside the clients' own sockets: standard streams, polling, HTTP connections of set-up.
const OTHERS: u64 = 256;

/// Raises the limit to what the administrator allows.
///
/// # Errors
///
/// That is too few for so many clients.
pub(super) fn make_room(clients: usize) -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let wanted = OTHERS.saturating_add(clients as u64);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let allowed = limit.maximum.is_none_or(|maximum| maximum >= wanted);
    ensure!(allowed, "{clients} clients need {wanted} file descriptors, {} are allowed (ulimit -Hn)", limit.maximum.unwrap_or(0));
    let more = Rlimit { current: limit.maximum.or(Some(wanted)), maximum: limit.maximum };
    setrlimit(Resource::Nofile, more)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_clients_than_descriptors_are_refused_beforehand() {
        make_room(1).unwrap();
        if getrlimit(Resource::Nofile).maximum.is_some() {
            assert!(format!("{:#}", make_room(usize::MAX >> 2).unwrap_err()).contains("file descriptors"));
        }
    }
}
