//! Who has a port that we want: for the one message that saves an operator a search.

use std::{fs, net::SocketAddr, path::Path};

/// What to add to the failure to listen at an address in use.
pub(crate) fn in_use(addr: SocketAddr) -> String {
    let port = addr.port();
    match holder(port) {
        Some((pid, name)) => format!("it is in use by process {pid} ({name})"),
        None => format!("it is in use by another process: `ss -lntup 'sport = :{port}'` run as root names it"),
    }
}

/// The process and its name, if we may see it.
fn holder(port: u16) -> Option<(u32, String)> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6", "/proc/net/udp", "/proc/net/udp6"];
    let sockets: Vec<String> =
        tables.iter().filter_map(|table| fs::read_to_string(table).ok()).flat_map(|text| sockets_at(&text, port)).collect();
    if sockets.is_empty() {
        return None;
    }
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let holds = fs::read_dir(entry.path().join("fd")).ok()?.flatten().any(|fd| {
            fs::read_link(fd.path()).is_ok_and(|target| sockets.iter().any(|socket| target == Path::new(socket.as_str())))
        });
        let name = || fs::read_to_string(entry.path().join("comm")).unwrap_or_default().trim().to_owned();
        holds.then(|| (pid, name()))
    })
}

/// The names of sockets that wait at `port`, as `/proc/PID/fd` shows them. A connection's other end
/// is never that of a listener or of an unconnected UDP socket: all zero.
fn sockets_at(table: &str, port: u16) -> Vec<String> {
    let ours = format!(":{port:04X}");
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter_map(|row| {
        let (local, remote, inode) = (row.get(1)?, row.get(2)?, row.get(9)?);
        (local.ends_with(&ours) && remote.ends_with(":0000")).then(|| format!("socket:[{inode}]"))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_port_is_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let hint = in_use(listener.local_addr().unwrap());
        assert!(hint.starts_with(&format!("it is in use by process {} (", std::process::id())), "{hint}");
    }

    #[test]
    fn a_connection_through_the_port_is_no_holder() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:078F 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1 0 100 0 0 10 0\n\
             1: 0100007F:078F 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 12 1 0 20 4 30 10 -1\n";
        assert_eq!(sockets_at(table, 1935), ["socket:[11]"]);
        assert!(sockets_at(table, 1936).is_empty());
        assert!(sockets_at("", 1935).is_empty());
    }
}
