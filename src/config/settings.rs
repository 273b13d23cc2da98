//! What every directive is set to and who said so: the checked words of file and environment, and the
//! defaults of the table.

use std::{collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf, time::Duration};

use weir_source::Secret;

use super::{
    syntax::{Place, quoted},
    table::{self, Row},
    value,
};

/// Who said it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody.
    Default,
    /// A file.
    File(Place),
    /// A variable of the environment.
    Environment(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(place) => place.fmt(f),
            Self::Environment(name) => f.write_str(name),
        }
    }
}

/// What a directive is set to.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    /// The words of each time that it is written: most may be written once.
    pub(crate) entries: Vec<Vec<String>>,
    pub(crate) origin: Origin,
}

/// The words may be a secret's, so they are not printed.
impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setting").field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl Setting {
    fn words(&self) -> &[String] {
        self.entries.first().map(Vec::as_slice).unwrap_or_default()
    }

    /// As it would be written.
    pub(crate) fn text(&self) -> String {
        let line = |words: &Vec<String>| words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
        self.entries.iter().map(line).collect::<Vec<_>>().join("; ")
    }
}

/// All that was set. What was not has the table's default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    vhosts: Vec<Box<str>>,
    /// By vhost, an empty name for what is the server's.
    written: BTreeMap<Box<str>, BTreeMap<&'static str, Setting>>,
    /// What the environment says, for all vhosts.
    everywhere: BTreeMap<&'static str, Setting>,
}

impl Settings {
    pub(super) fn add_vhost(&mut self, name: &str) {
        self.vhosts.push(name.into());
    }

    /// The vhosts in the order of their writing.
    pub(crate) fn vhosts(&self) -> impl Iterator<Item = &str> {
        self.vhosts.iter().map(AsRef::as_ref)
    }

    /// Sets or, for what may be written several times, adds.
    pub(super) fn write(&mut self, vhost: &str, row: &'static Row, words: Vec<String>, origin: Origin) {
        let of_vhost = self.written.entry(vhost.into()).or_default();
        of_vhost.entry(row.path).or_insert_with(|| Setting { entries: Vec::new(), origin }).entries.push(words);
    }

    pub(super) fn set_everywhere(&mut self, row: &'static Row, setting: Setting) {
        self.everywhere.insert(row.path, setting);
    }

    /// What a directive is set to; `vhost` is empty for one of the server's.
    pub(crate) fn get(&self, vhost: &str, row: &Row) -> Setting {
        let written = || self.written.get(vhost)?.get(row.path);
        self.everywhere.get(row.path).or_else(written).cloned().unwrap_or_else(|| {
            let words = row.default_words();
            Setting { entries: if words.is_empty() { Vec::new() } else { vec![words] }, origin: Origin::Default }
        })
    }

    /// Was it set by anybody?
    pub(crate) fn is_set(&self, vhost: &str, row: &Row) -> bool {
        self.everywhere.contains_key(row.path) || self.written.get(vhost).is_some_and(|of| of.contains_key(row.path))
    }

    /// A flag by its path; what is no flag is off.
    pub(crate) fn is_on(&self, vhost: &str, path: &str) -> bool {
        table::row(path).is_some_and(|row| self.get(vhost, row).words() == ["on"])
    }

    /// The settings of the server's directives in a block; empty: outside of blocks.
    pub(crate) fn server<'a>(&'a self, block: &'static str) -> View<'a> {
        View { settings: self, vhost: "", block }
    }

    /// Those of a vhost; the block's path begins with `vhost`.
    pub(crate) fn vhost<'a>(&'a self, vhost: &'a str, block: &'static str) -> View<'a> {
        View { settings: self, vhost, block }
    }
}

/// One block's settings, typed. All were checked against the table: what cannot be read as the type
/// asked for is a slip of this program's, and gives the type's zero.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    settings: &'a Settings,
    vhost: &'a str,
    block: &'static str,
}

impl View<'_> {
    /// A setting by its name in the block.
    pub(crate) fn setting(&self, name: &str) -> Setting {
        let path = if self.block.is_empty() { name.to_owned() } else { format!("{}.{name}", self.block) };
        let row = table::row(&path);
        debug_assert!(row.is_some(), "{path} has no row");
        row.map_or(Setting { entries: Vec::new(), origin: Origin::Default }, |row| self.settings.get(self.vhost, row))
    }

    /// Who said so.
    pub(crate) fn origin(&self, name: &str) -> Origin {
        self.setting(name).origin
    }

    /// Did anybody?
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.origin(name) != Origin::Default
    }

    pub(crate) fn words(&self, name: &str) -> Vec<String> {
        self.setting(name).entries.into_iter().next().unwrap_or_default()
    }

    /// Those of each time that it is written.
    pub(crate) fn entries(&self, name: &str) -> Vec<Vec<String>> {
        self.setting(name).entries
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.words(name).into_iter().next().unwrap_or_default()
    }

    /// Text that is not to be shown.
    pub(crate) fn secret(&self, name: &str) -> Secret {
        Secret::new(self.text(name))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.text(name).into()
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        self.text(name) == "on"
    }

    /// A number that its range keeps within the type.
    pub(crate) fn number<T: TryFrom<i64> + Default>(&self, name: &str) -> T {
        value::bytes(&self.text(name)).and_then(|number| T::try_from(number).ok()).unwrap_or_default()
    }

    pub(crate) fn decimal(&self, name: &str) -> f64 {
        value::decimal(&self.text(name)).unwrap_or_default()
    }

    pub(crate) fn seconds(&self, name: &str) -> Duration {
        value::seconds(&self.text(name)).unwrap_or_default()
    }

    pub(crate) fn millis(&self, name: &str) -> Duration {
        value::seconds(&self.text(name)).unwrap_or_default() / 1_000
    }

    pub(crate) fn listens(&self, name: &str) -> Vec<SocketAddr> {
        value::listens(&self.words(name))
    }
}
