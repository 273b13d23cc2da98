//! Virtual hosts: which there are, and settings by vhost.

use std::{collections::HashMap, sync::Arc};

use crate::{NameError, StreamKey};

/// SRS's name of the vhost that takes whoever names none of the others.
pub const DEFAULT_VHOST: &str = "__defaultVhost__";

/// The vhosts of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vhosts {
    names: Vec<Box<str>>,
    has_default: bool,
    /// Of these, the ones that let nobody in.
    closed: Vec<Box<str>>,
}

impl Default for Vhosts {
    /// Only the default one.
    fn default() -> Self {
        Self { names: Vec::new(), has_default: true, closed: Vec::new() }
    }
}

/// The vhost is not among the configured ones, and there is no default one.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone, Copy)]
#[error("there is no such vhost")]
pub struct UnknownVhost;

/// Why a stream cannot be named.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone, Copy)]
pub enum KeyError {
    /// The vhost is unknown.
    #[error(transparent)]
    Vhost(#[from] UnknownVhost),
    /// The app or the stream is no name.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl Vhosts {
    /// Of configured names, [`DEFAULT_VHOST`] among them or not.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let (mut all, mut has_default) = (Vec::new(), false);
        for name in names {
            match name == DEFAULT_VHOST {
                true => has_default = true,
                false => all.push(name.into()),
            }
        }
        Self { names: all, has_default, closed: Vec::new() }
    }

    /// Nobody gets in to this one any more. Its clients do not become the default one's.
    pub fn close(&mut self, name: &str) {
        self.closed.push(name.into());
    }

    /// The configured vhost for a host that a client named, with or without a port; empty if it
    /// named none. Host names are compared without regard to case (RFC 9110 section 4.2.3).
    pub fn resolve(&self, asked: &str) -> Result<&str, UnknownVhost> {
        let host = match asked.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') && port.bytes().all(|b| b.is_ascii_digit()) => host,
            _ => asked,
        };
        let found = self.names.iter().find(|name| name.eq_ignore_ascii_case(host)).map(AsRef::as_ref);
        let meant = found.or_else(|| self.has_default.then_some(DEFAULT_VHOST)).ok_or(UnknownVhost)?;
        if self.closed.iter().any(|name| **name == *meant) { Err(UnknownVhost) } else { Ok(meant) }
    }

    /// The stream that a client means.
    pub fn key(&self, asked: &str, app: &str, stream: &str) -> Result<StreamKey, KeyError> {
        Ok(StreamKey::with_vhost(self.resolve(asked)?, app, stream)?)
    }

    /// All names, those of closed ones too, the default one first.
    pub fn list(&self) -> impl Iterator<Item = &str> {
        self.has_default.then_some(DEFAULT_VHOST).into_iter().chain(self.names.iter().map(AsRef::as_ref))
    }
}

/// Settings by vhost. A vhost without settings of its own has those of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerVhost<T> {
    all: Arc<T>,
    named: HashMap<Box<str>, Arc<T>>,
}

impl<T> PerVhost<T> {
    /// The same for all.
    pub fn all(settings: T) -> Self {
        Self { all: Arc::new(settings), named: HashMap::new() }
    }

    /// Others for the vhost of this name.
    pub fn insert(&mut self, vhost: &str, settings: T) {
        self.named.insert(vhost.into(), Arc::new(settings));
    }

    /// What a part of the server makes of each.
    pub fn map<U>(&self, of: impl Fn(&T) -> U) -> PerVhost<U> {
        let named = self.named.iter().map(|(name, settings)| (name.clone(), Arc::new(of(settings)))).collect();
        PerVhost { all: Arc::new(of(&self.all)), named }
    }

    /// Those of a vhost.
    pub fn get(&self, vhost: &str) -> &Arc<T> {
        self.named.get(vhost).unwrap_or(&self.all)
    }

    /// All settings that some vhost has.
    pub fn values(&self) -> impl Iterator<Item = &Arc<T>> {
        std::iter::once(&self.all).chain(self.named.values())
    }
}

impl<T: Default> Default for PerVhost<T> {
    fn default() -> Self {
        Self::all(T::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_finds_its_vhost_or_the_default() {
        let vhosts = Vhosts::new(["a.example", DEFAULT_VHOST]);
        for (asked, want) in
            [("a.example", "a.example"), ("A.Example:1935", "a.example"), ("", DEFAULT_VHOST), ("[::1]:80", DEFAULT_VHOST)]
        {
            assert_eq!(vhosts.resolve(asked), Ok(want), "{asked}");
        }
        let strict = Vhosts::new(["a.example"]);
        assert_eq!(strict.resolve("b.example"), Err(UnknownVhost));
        assert_eq!(strict.key("a.example", "live", "s").unwrap().to_string(), "a.example/live/s");
        assert_eq!(vhosts.list().collect::<Vec<_>>(), [DEFAULT_VHOST, "a.example"]);
    }

    #[test]
    fn nobody_gets_in_to_a_closed_vhost() {
        let mut vhosts = Vhosts::new(["a.example", "b.example", DEFAULT_VHOST]);
        vhosts.close("a.example");
        assert_eq!(vhosts.resolve("A.example"), Err(UnknownVhost), "not even as the default one's");
        assert_eq!(vhosts.resolve("b.example"), Ok("b.example"));
        vhosts.close(DEFAULT_VHOST);
        assert_eq!(vhosts.resolve(""), Err(UnknownVhost));
    }

    #[test]
    fn settings_of_a_vhost_go_before_those_of_all() {
        let mut settings = PerVhost::all(1);
        settings.insert("a", 2);
        assert_eq!((**settings.get("a"), **settings.get("b")), (2, 1));
        let doubled = settings.map(|settings| settings * 2);
        assert_eq!((**doubled.get("a"), **doubled.get("b")), (4, 2));
    }
}
