//! Listen addresses as SRS writes them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// `1935`, `127.0.0.1:1935`, `[::1]:1935` or `:1935`. A bare port means all IPv4 addresses.
pub(crate) fn parse(text: &str) -> Result<SocketAddr, String> {
    let port = text.strip_prefix(':').unwrap_or(text);
    if port.bytes().all(|b| b.is_ascii_digit()) {
        let port = port.parse::<u16>().map_err(|_| format!("'{text}' is no port (1 to 65535)"))?;
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port));
    }
    text.parse().map_err(|_| format!("'{text}' is neither a port nor ADDRESS:PORT"))
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
        for bad in ["", ":", "65536", "-1", "host:80", "1.2.3.4"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
