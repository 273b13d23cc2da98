//! Text that must not be shown.

use std::fmt;

/// A token, a password, or a query that may hold one. It prints as dots, so that it gets into no log
/// line by way of a struct that holds it. In the end it is compared by whoever checks it, or handed
/// to a callback server.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Secret(Box<str>);

impl Secret {
    /// Hides `text`.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The text. Not for logs, lists or metrics.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// There is nothing to hide.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "" } else { "…" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_not_printed() {
        let secret = Secret::new("?token=abc");
        assert_eq!((format!("{secret:?}"), secret.expose()), ("…".to_owned(), "?token=abc"));
    }
}
