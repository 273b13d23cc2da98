//! The environment's say: `SRS_` and a directive's path in capitals stands for the directive, before
//! what a file says. Directives of vhosts are named without the vhost and hold for all of them.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Mistake, Origin,
    settings::{Setting, Settings},
    suggest, table,
    table::{Kind, Row},
    value,
};

/// Names that SRS has beside the rule's, and the directives they mean.
const ALIASES: &[(&str, &str)] = &[
    ("SRS_LOG_TANK", "srs_log_tank"),
    ("SRS_LOG_LEVEL", "srs_log_level"),
    ("SRS_LOG_LEVEL_V2", "srs_log_level_v2"),
    ("SRS_LOG_FILE", "srs_log_file"),
    ("SRS_RTMP_LISTEN", "listen"),
    ("SRS_RTMP_CHUNK_SIZE", "chunk_size"),
    ("SRS_VHOST_SRT_TO_RTMP", "vhost.srt.srt_to_rtmp"),
];

/// Run without a file, as `-e` does.
const ENV_ONLY: &str = "SRS_ENV_ONLY";
/// The file to read, before the one of the command line.
const CONFIG_FILE: &str = "SRS_CONFIG_FILE";

/// A snapshot of the environment's variables.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
}

impl Environment {
    /// That of this process. What is not UTF-8 is left out.
    pub fn of_process() -> Self {
        let text = |text: std::ffi::OsString| text.into_string().ok();
        Self { variables: std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?))).collect() }
    }

    /// Of names and values.
    pub fn of<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self { variables: pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect() }
    }

    /// A variable's value; an empty one is none, as in SRS.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// It asks to run without a file.
    pub(crate) fn is_alone(&self) -> bool {
        self.get(ENV_ONLY).is_some()
    }

    /// The file that it names.
    pub(crate) fn config_file(&self) -> Option<&str> {
        self.get(CONFIG_FILE)
    }

    /// What it says of a directive, and by which name.
    fn find(&self, row: &Row) -> Option<(String, &str)> {
        let named = std::iter::once(row.variable());
        let aliases = ALIASES.iter().filter(|(_, path)| *path == row.path).map(|(name, _)| (*name).to_owned());
        named.chain(aliases).find_map(|name| self.get(&name).map(|value| (name, value)))
    }

    /// Replaces words that are `$NAME`. A candidate that is not set is left out, as in SRS; for any
    /// other directive it is an error.
    pub(super) fn expand(&self, row: &Row, words: &[String]) -> Result<Vec<String>, String> {
        let mut all = Vec::with_capacity(words.len());
        for word in words {
            let Some(name) = reference(word) else {
                all.push(word.clone());
                continue;
            };
            match self.get(name) {
                Some(value) => all.extend(words_of(row.kind, value)),
                None if row.path == super::rtc_server::CANDIDATE => {}
                None => return Err(format!("the environment has no {name}")),
            }
        }
        Ok(all)
    }

    /// Lays what it says over the settings.
    pub(super) fn overlay(&self, settings: &mut Settings, mistakes: &mut Vec<Mistake>) {
        for row in table::rows().filter(|row| row.is_setting()) {
            let Some((name, text)) = self.find(row) else { continue };
            let origin = Origin::Environment(name);
            match self.entries(row, text) {
                Ok(entries) => settings.set_everywhere(row, Setting { entries, origin }),
                Err(reason) => mistakes.push(Mistake { origin, text: format!("{}: {reason}", row.path) }),
            }
        }
    }

    fn entries(&self, row: &Row, text: &str) -> Result<Vec<Vec<String>>, String> {
        let parts: Vec<&str> = match row.kind {
            Kind::Rules(_) => text.split(';').filter(|part| !part.trim().is_empty()).collect(),
            _ => vec![text],
        };
        let read = |part: &str| {
            let words = self.expand(row, &words_of(row.kind, part))?;
            value::check(row.kind, &words).map(|()| words)
        };
        parts.into_iter().map(read).collect()
    }

    /// Names of the family that mean nothing. One that is nearly right is a mistake, as it is in a
    /// file; the others are warned of.
    pub(super) fn strangers(&self, notes: &mut Vec<String>, mistakes: &mut Vec<Mistake>) {
        let mut known: BTreeSet<String> = table::rows().filter(|row| row.is_setting()).map(Row::variable).collect();
        known.extend(ALIASES.iter().map(|(name, _)| (*name).to_owned()));
        known.extend([ENV_ONLY, CONFIG_FILE].map(str::to_owned));
        let ours = |name: &&String| name.starts_with("SRS_") && !known.contains(*name) && !is_of_kubernetes(name);
        for name in self.variables.keys().filter(ours) {
            match suggest::near(name, known.iter().map(String::as_str)) {
                Some(near) => mistakes.push(Mistake {
                    origin: Origin::Environment(name.clone()),
                    text: format!("no directive has this name; did you mean {near}?"),
                }),
                None => notes.push(format!("{name}: no directive has this name")),
            }
        }
    }
}

/// Kubernetes tells containers of each service: of one called `srs` by names that begin as ours.
fn is_of_kubernetes(name: &str) -> bool {
    name.contains("_SERVICE_HOST") || name.contains("_SERVICE_PORT") || name.ends_with("_PORT") || name.contains("_PORT_")
}

/// The name in `$NAME`.
fn reference(word: &str) -> Option<&str> {
    let name = word.strip_prefix('$')?;
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (!name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(fits)).then_some(name)
}

/// A variable's value as words: text is one, spaces and all.
fn words_of(kind: Kind, value: &str) -> Vec<String> {
    match kind {
        Kind::Text | Kind::Path => vec![value.to_owned()],
        Kind::Words => value.split([' ', '\t', '\n', ',']).filter(|word| !word.is_empty()).map(str::to_owned).collect(),
        _ => value.split_whitespace().map(str::to_owned).collect(),
    }
}
