//! Stream names: one validator for every protocol.

use std::{fmt, sync::Arc};

use crate::DEFAULT_VHOST;

/// The longest part (vhost, app or stream) of a name, in bytes. Long enough for a stream key with
/// a UUID in it, short enough for log lines and file names.
const PART_BYTES_MAX: usize = 64;

/// The name of a source: vhost, app and stream, each of `[A-Za-z0-9_.-]`, 1 to 64 bytes, and not
/// `.` or `..`. A valid name is its own percent-decoding, is safe to log and stays under any
/// directory it is joined to.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamKey(Arc<Parts>);

#[derive(PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Parts {
    vhost: Box<str>,
    app: Box<str>,
    stream: Box<str>,
}

/// Why a name was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone, Copy)]
#[non_exhaustive]
pub enum NameError {
    /// A part is empty.
    #[error("the {0} name is empty")]
    Empty(&'static str),
    /// A part is longer than 64 bytes.
    #[error("the {0} name is longer than {PART_BYTES_MAX} bytes")]
    TooLong(&'static str),
    /// A part has a character that is not allowed, or is `.` or `..`.
    #[error("the {0} name may only hold letters, digits, '_', '-' and '.'")]
    BadCharacter(&'static str),
}

impl StreamKey {
    /// A name in the default vhost.
    pub fn new(app: &str, stream: &str) -> Result<Self, NameError> {
        Self::with_vhost(DEFAULT_VHOST, app, stream)
    }

    /// A name in `vhost`.
    pub fn with_vhost(vhost: &str, app: &str, stream: &str) -> Result<Self, NameError> {
        check("vhost", vhost)?;
        check("app", app)?;
        check("stream", stream)?;
        Ok(Self(Arc::new(Parts { vhost: vhost.into(), app: app.into(), stream: stream.into() })))
    }

    /// The vhost, `__defaultVhost__` unless given.
    pub fn vhost(&self) -> &str {
        &self.0.vhost
    }

    /// The app, `live` by custom.
    pub fn app(&self) -> &str {
        &self.0.app
    }

    /// The stream within the app.
    pub fn stream(&self) -> &str {
        &self.0.stream
    }
}

fn check(what: &'static str, part: &str) -> Result<(), NameError> {
    if part.is_empty() {
        return Err(NameError::Empty(what));
    }
    if part.len() > PART_BYTES_MAX {
        return Err(NameError::TooLong(what));
    }
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    if !part.bytes().all(legal) || part == "." || part == ".." {
        return Err(NameError::BadCharacter(what));
    }
    Ok(())
}

impl fmt::Display for StreamKey {
    /// `/app/stream`, with the vhost before it where it is not the default.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.vhost() != DEFAULT_VHOST {
            f.write_str(self.vhost())?;
        }
        write!(f, "/{}/{}", self.app(), self.stream())
    }
}

impl fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamKey({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_could_leave_a_directory_or_a_log_line() {
        for bad in ["", ".", "..", "a/b", "a\\b", "a%2e", "a\n", "a\0", "a b", "\u{202e}x", "ä", &"x".repeat(65)] {
            assert!(StreamKey::new("live", bad).is_err(), "{bad:?}");
            assert!(StreamKey::new(bad, "s").is_err(), "{bad:?}");
        }
        assert_eq!(StreamKey::new("live", "").unwrap_err(), NameError::Empty("stream"));
    }

    #[test]
    fn prints_as_a_path() {
        assert_eq!(StreamKey::new("live", "cam-1.a_b").unwrap().to_string(), "/live/cam-1.a_b");
        assert_eq!(StreamKey::with_vhost("v.example", "live", "s").unwrap().to_string(), "v.example/live/s");
    }
}
