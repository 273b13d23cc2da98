//! When a publisher may take the place of another.

/// When a publisher may take the place of one that has not left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Takeover {
    /// Once that one has been silent for two seconds: an encoder that crashed comes back, and
    /// nobody is hijacked.
    #[default]
    Silent,
    /// Besides, at once if both are the same by their [`Identity`].
    Identity,
    /// At once, whoever it is: the last one to come publishes.
    Always,
    /// Not before it has left, as with SRS.
    Never,
}

/// Who publishes, as a digest of what proves it. Equal ones are the same publisher; nothing of the
/// proof can be got back from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity([u8; 32]);

impl Identity {
    /// From a cryptographic digest.
    pub const fn of_digest(digest: [u8; 32]) -> Self {
        Self(digest)
    }
}

/// What a publisher that was let in may do to one that is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// The rule of its vhost.
    pub takeover: Takeover,
    /// Who it is, where that is known.
    pub identity: Option<Identity>,
}

impl Claim {
    /// Whether this one must yield to the holder of a seat, who has been silent too long or not.
    pub(crate) fn must_yield(&self, holder: &Self, is_silent: bool) -> bool {
        match self.takeover {
            Takeover::Silent => !is_silent,
            Takeover::Identity => !is_silent && (self.identity.is_none() || self.identity != holder.identity),
            Takeover::Always => false,
            Takeover::Never => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(takeover: Takeover, identity: Option<u8>) -> Claim {
        Claim { takeover, identity: identity.map(|n| Identity::of_digest([n; 32])) }
    }

    #[test]
    fn who_must_yield_to_whom() {
        use Takeover::{Always, Identity, Never, Silent};
        // The newcomer, the holder's identity; must it yield to one that sends, to one that is silent?
        let table = [
            (Silent, Some(1), Some(1), true, false),
            (Silent, None, None, true, false),
            (Identity, Some(1), Some(1), false, false),
            (Identity, Some(1), Some(2), true, false),
            (Identity, Some(1), None, true, false),
            (Identity, None, None, true, false),
            (Always, None, Some(1), false, false),
            (Never, Some(1), Some(1), true, true),
        ];
        for (takeover, ours, theirs, to_sending, to_silent) in table {
            let (new, holder) = (claim(takeover, ours), claim(Silent, theirs));
            assert_eq!(new.must_yield(&holder, false), to_sending, "{takeover:?} {ours:?} {theirs:?}");
            assert_eq!(new.must_yield(&holder, true), to_silent, "{takeover:?} {ours:?} {theirs:?}, silent");
        }
    }
}
