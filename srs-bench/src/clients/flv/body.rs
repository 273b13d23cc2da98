//! The body of an HTTP answer, as it comes: whole or in chunks (RFC 9112 sections 6 and 7.1).

/// What a head says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) reason: String,
    pub(super) location: Option<String>,
    chunked: bool,
    len: Option<u64>,
}

impl Head {
    /// Reads a head with its empty line.
    pub(super) fn parse(data: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(data);
        let mut lines = text.lines();
        let (version, status) = lines.next()?.split_once(' ')?;
        let (status, reason) = status.split_once(' ').unwrap_or((status, ""));
        if !version.starts_with("HTTP/1.") {
            return None;
        }
        let (mut location, mut chunked, mut len) = (None, false, None);
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "location" => location = Some(value.to_owned()),
                "transfer-encoding" => chunked = value.to_ascii_lowercase().contains("chunked"),
                "content-length" => len = value.parse().ok(),
                _ => {}
            }
        }
        Some(Self { status: status.parse().ok()?, reason: reason.trim().to_owned(), location, chunked, len })
    }
}

/// Digits of a chunk's size with its extensions: nobody has use for more.
const SIZE_LINE_MAX: usize = 256;

/// Cuts the body out of what comes.
#[derive(Debug)]
pub(super) enum Body {
    /// To the end of the connection, or of so many bytes.
    Plain { left: Option<u64> },
    /// In chunks: bytes left of this one, or the line that says so.
    Chunked { left: u64, line: Vec<u8> },
}

impl Body {
    pub(super) fn new(head: &Head) -> Self {
        if head.chunked { Self::Chunked { left: 0, line: Vec::new() } } else { Self::Plain { left: head.len } }
    }

    /// Gives the body in `data` to `take`. False after its end.
    pub(super) fn feed(&mut self, data: &[u8], mut take: impl FnMut(&[u8])) -> Result<bool, &'static str> {
        match self {
            Self::Plain { left: None } => {
                take(data);
                Ok(true)
            }
            Self::Plain { left: Some(left) } => {
                let len = data.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                take(data.get(..len).unwrap_or_default());
                *left -= len as u64;
                Ok(*left > 0)
            }
            Self::Chunked { left, line } => chunks(data, left, line, take),
        }
    }
}

fn chunks(mut data: &[u8], left: &mut u64, line: &mut Vec<u8>, mut take: impl FnMut(&[u8])) -> Result<bool, &'static str> {
    while !data.is_empty() {
        if *left > 0 {
            let len = data.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
            let (chunk, rest) = data.split_at(len);
            take(chunk);
            *left -= len as u64;
            data = rest;
            continue;
        }
        let end = data.iter().position(|byte| *byte == b'\n');
        let (part, rest) = data.split_at(end.map_or(data.len(), |end| end + 1));
        line.extend_from_slice(part);
        data = rest;
        if line.len() > SIZE_LINE_MAX {
            return Err("an odd chunk in the answer");
        }
        if end.is_some() {
            let text = String::from_utf8_lossy(line).into_owned();
            line.clear();
            let digits = text.split(';').next().unwrap_or_default().trim();
            // The line break behind a chunk.
            if digits.is_empty() {
                continue;
            }
            *left = u64::from_str_radix(digits, 16).map_err(|_| "an odd chunk in the answer")?;
            if *left == 0 {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read() {
        let head = Head::parse(b"HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\nTRANSFER-encoding: Chunked\r\n\r\n").unwrap();
        assert_eq!((head.status, head.chunked, head.reason.as_str()), (200, true, "OK"));
        let head = Head::parse(b"HTTP/1.0 302 Found\r\nLocation: http://b/x\r\n\r\n").unwrap();
        assert_eq!(head.location.as_deref(), Some("http://b/x"));
        assert!(Head::parse(b"RTSP/1.0 200 OK\r\n\r\n").is_none());
        assert!(Head::parse(b"HTTP/1.1 x\r\n\r\n").is_none());
    }

    #[test]
    fn chunks_are_put_together_at_every_split() {
        let wire = b"5\r\nhello\r\n1;x=y\r\n \r\nA\r\n0123456789\r\n0\r\n\r\n";
        for split in 0..wire.len() {
            let mut body = Body::Chunked { left: 0, line: Vec::new() };
            let (mut whole, mut more) = (Vec::new(), true);
            for part in [&wire[..split], &wire[split..]] {
                more = more && body.feed(part, |data| whole.extend_from_slice(data)).unwrap();
            }
            assert_eq!(whole, b"hello 0123456789", "split at {split}");
            assert!(!more);
        }
        let mut body = Body::Chunked { left: 0, line: Vec::new() };
        assert!(body.feed(b"zz\r\n", |_| {}).is_err());
        let mut body = Body::Chunked { left: 0, line: Vec::new() };
        assert!(body.feed(&[b'1'; 300], |_| {}).is_err());
    }

    #[test]
    fn a_length_is_an_end() {
        let mut body = Body::Plain { left: Some(3) };
        let mut whole = Vec::new();
        assert_eq!(body.feed(b"ab", |data| whole.extend_from_slice(data)), Ok(true));
        assert_eq!(body.feed(b"cdef", |data| whole.extend_from_slice(data)), Ok(false));
        assert_eq!(whole, b"abc");
    }
}
