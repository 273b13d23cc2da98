//! Listen addresses as SRS writes them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// `1935`, `127.0.0.1:1935`, `[::1]:1935` or `:1935`. A bare port means all IPv4 addresses.
pub(crate) fn parse(text: &str) -> Result<SocketAddr, String> {
    let bare = text.strip_prefix(':').unwrap_or(text);
    let parsed = if bare.bytes().all(|b| b.is_ascii_digit()) {
        bare.parse().ok().map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port))
    } else {
        text.parse().ok()
    };
    match parsed {
        Some(addr) if addr.port() != 0 => Ok(addr),
        _ => Err(format!("'{text}' is neither a port (1 to 65535) nor ADDRESS:PORT")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_ports_and_addresses() {
        for (text, want) in
            [("1935", "0.0.0.0:1935"), (":1935", "0.0.0.0:1935"), ("127.0.0.1:80", "127.0.0.1:80"), ("[::]:80", "[::]:80")]
        {
            assert_eq!(parse(text).unwrap(), want.parse::<SocketAddr>().unwrap());
        }
        for bad in ["", ":", "65536", "-1", "host:80", "1.2.3.4", "0", "127.0.0.1:0"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
