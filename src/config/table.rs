//! The table of every directive that SRS 7 knows, and of ours: where it belongs, what it takes, its
//! default, whether it works here. Checks, environment names, `config explain` and `conf/full.conf`
//! all come from it.
//!
//! The rows of a section stand in the section's own file; this puts them together.

use std::{collections::HashMap, sync::LazyLock};

use super::{
    acme, exporter, heartbeat, hls, hooks, http_api, http_server, limits, play, process, publish, refer, remux, rtc, rtc_server,
    rtmp, security, stats, token, unbuilt, vhost,
};

/// One directive.
#[derive(Debug)]
pub(crate) struct Row {
    /// The blocks that it stands in and its name, joined by dots: `vhost.hls.hls_fragment`.
    pub(crate) path: &'static str,
    pub(crate) kind: Kind,
    /// What it is where nobody says anything, as it would be written; empty: nothing.
    pub(crate) default: &'static str,
    pub(crate) status: Status,
    /// A line for `conf/full.conf`.
    pub(crate) doc: &'static str,
}

/// What a directive takes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// A block of other rows.
    Block(Label),
    /// A block of anything: options of an external program.
    Free,
    /// `on` or `off`.
    Flag,
    /// A whole number in a range.
    Number(i64, i64),
    /// A number in a range.
    Decimal(f64, f64),
    /// Seconds in a range.
    Seconds(f64, f64),
    /// Milliseconds in a range.
    Millis(f64, f64),
    /// Bytes in a range; `k`, `m` and `g` are multiples of 1024.
    Bytes(i64, i64),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// One word that a function accepts.
    Checked(fn(&str) -> Result<(), String>),
    /// One word of text; it may be empty.
    Text,
    /// An address of a callback or another server: `http://` or `https://`.
    Url,
    /// Several of these.
    Urls,
    /// The same with placeholders in them.
    UrlTemplates,
    /// A file or folder, from the working directory on.
    Path,
    /// Any number of words.
    Words,
    /// Ports or addresses with ports.
    Listen,
    /// Words checked by a function; may be repeated.
    Rules(fn(&[String]) -> Result<(), String>),
}

/// What stands between a block's name and its `{`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Label {
    /// Nothing: there is one such block.
    None,
    /// A name, different for each.
    Name,
    /// A name or nothing, any number of times; read by whoever runs it.
    Many,
}

/// Whether a directive does what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// Yes.
    Works,
    /// There is nothing that it could change, for this reason; another value than the default is
    /// warned of.
    NoEffect(&'static str),
    /// Not built yet: whoever enables it would lose or expose media if it were ignored, so it is
    /// refused.
    NotYet,
}

impl Row {
    pub(crate) const fn new(path: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Self {
        Self { path, kind, default, status: Status::Works, doc }
    }

    /// A block without a label.
    pub(crate) const fn block(path: &'static str, doc: &'static str) -> Self {
        Self::new(path, Kind::Block(Label::None), "", doc)
    }

    /// The same, which has no effect for this reason.
    pub(crate) const fn without_effect(mut self, reason: &'static str) -> Self {
        self.status = Status::NoEffect(reason);
        self
    }

    /// The same, not built yet.
    pub(crate) const fn not_yet(mut self) -> Self {
        self.status = Status::NotYet;
        self
    }

    /// The last part of the path.
    pub(crate) fn name(&self) -> &'static str {
        self.path.rsplit('.').next().unwrap_or(self.path)
    }

    /// The path of the block that it stands in; empty: none.
    pub(crate) fn parent(&self) -> &'static str {
        self.path.rsplit_once('.').map_or("", |(parent, _)| parent)
    }

    /// It differs by vhost.
    pub(crate) fn is_of_vhost(&self) -> bool {
        self.path.starts_with("vhost.")
    }

    /// It stands in a block of which there may be any number.
    pub(crate) fn is_in_many(&self) -> bool {
        ancestors(self.path).any(|path| row(path).is_some_and(|row| matches!(row.kind, Kind::Block(Label::Many))))
    }

    /// It has a value, one for the server or for each vhost.
    pub(crate) fn is_setting(&self) -> bool {
        !matches!(self.kind, Kind::Block(_) | Kind::Free) && !self.is_in_many()
    }

    /// Its name in the environment.
    pub(crate) fn variable(&self) -> String {
        format!("SRS_{}", self.path.to_ascii_uppercase().replace('.', "_"))
    }

    /// The default as words.
    pub(crate) fn default_words(&self) -> Vec<String> {
        self.default.split_whitespace().map(str::to_owned).collect()
    }
}

/// The blocks around a path, the innermost first.
pub(crate) fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(path.rsplit_once('.').map(|(parent, _)| parent), |path| path.rsplit_once('.').map(|(parent, _)| parent))
}

/// The sections in the order of `conf/full.conf`.
const SECTIONS: &[&[Row]] = &[
    rtmp::ROWS,
    process::ROWS,
    heartbeat::ROWS,
    stats::ROWS,
    http_api::ROWS,
    http_server::ROWS,
    acme::ROWS,
    rtc_server::ROWS,
    exporter::ROWS,
    limits::ROWS,
    unbuilt::SERVERS,
    vhost::ROWS,
    play::ROWS,
    publish::ROWS,
    refer::ROWS,
    security::ROWS,
    token::ROWS,
    hooks::ROWS,
    remux::ROWS,
    hls::ROWS,
    rtc::ROWS,
    unbuilt::OF_VHOSTS,
    unbuilt::TRANSCODE_ENGINE,
    unbuilt::INGEST,
    unbuilt::INGEST_ENGINE,
];

/// All rows.
pub(crate) fn rows() -> impl Iterator<Item = &'static Row> {
    SECTIONS.iter().copied().flatten()
}

/// The row of a path.
pub(crate) fn row(path: &str) -> Option<&'static Row> {
    static INDEX: LazyLock<HashMap<&str, &Row>> = LazyLock::new(|| rows().map(|row| (row.path, row)).collect());
    INDEX.get(path).copied()
}

/// The rows of a block; empty: of the file itself.
pub(crate) fn rows_in<'a>(block: &'a str) -> impl Iterator<Item = &'static Row> + 'a {
    rows().filter(move |row| row.parent() == block)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::config::value;

    #[test]
    fn every_row_stands_once_behind_its_block_and_has_a_valid_default() {
        let mut seen = HashSet::new();
        for row in rows() {
            assert!(row.parent().is_empty() || seen.contains(row.parent()), "{} before its block", row.path);
            assert!(seen.insert(row.path), "{} is there twice", row.path);
            assert!(!row.doc.is_empty() && !row.doc.contains('\n') && !row.doc.ends_with('.'), "{}: {}", row.path, row.doc);
            if row.is_setting() && !row.default.is_empty() {
                assert_eq!(value::check(row.kind, &row.default_words()), Ok(()), "{}", row.path);
            }
        }
    }

    #[test]
    fn variables_are_unambiguous() {
        let mut seen = HashSet::new();
        for row in rows().filter(|row| row.is_setting()) {
            assert!(seen.insert(row.variable()), "{}", row.variable());
        }
    }
}
