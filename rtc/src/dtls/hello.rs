//! A look into a ClientHello: which SRTP profiles it offers (RFC 5764 section 4.1.1).

use crate::srtp::SrtpProfile;

/// What we want to know of a ClientHello.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ClientHello {
    /// The offered profiles that we speak, in no order.
    pub(super) profiles: Vec<SrtpProfile>,
    /// It wants to resume a session, which we never keep.
    pub(super) resumes: bool,
}

impl ClientHello {
    /// Parses the body of a ClientHello (RFC 6347 section 4.2.1); `None` if it is malformed.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let mut reader = Reader(body);
        reader.take(2 + 32)?; // version and random
        let session_id = reader.vector_u8()?;
        let _cookie = reader.vector_u8()?;
        let suites = reader.vector_u16()?;
        let compressions = reader.vector_u8()?;
        if session_id.len() > 32 || suites.is_empty() || suites.len() % 2 != 0 || compressions.is_empty() {
            return None;
        }
        let mut hello = Self { profiles: Vec::new(), resumes: !session_id.is_empty() };
        let mut extensions = Reader(reader.vector_u16()?);
        if !reader.0.is_empty() {
            return None;
        }
        while !extensions.0.is_empty() {
            let extension_type = extensions.u16()?;
            let data = extensions.vector_u16()?;
            if extension_type == USE_SRTP {
                hello.read_profiles(data)?;
            }
        }
        Some(hello)
    }

    fn read_profiles(&mut self, data: &[u8]) -> Option<()> {
        let mut reader = Reader(data);
        let mut profiles = Reader(reader.vector_u16()?);
        let _mki = reader.vector_u8()?;
        while !profiles.0.is_empty() {
            let profile = SrtpProfile::from_id(profiles.u16()?);
            // Each at most once, so a long list costs nothing.
            self.profiles.extend(profile.filter(|profile| !self.profiles.contains(profile)));
        }
        Some(())
    }
}

/// Takes from the front of a slice and never reads past its end.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    fn vector_u8(&mut self) -> Option<&'a [u8]> {
        let &[length] = self.take(1)? else { return None };
        self.take(usize::from(length))
    }

    fn vector_u16(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }
}

/// RFC 5764 section 9.
const USE_SRTP: u16 = 14;
